// SPDX-License-Identifier: GPL-2.0
/*
 * An SPI controller that writes down what is sent, with the level that the
 * data/command line of a display has at that moment.
 *
 * Above it are the kernel's own spi-core and spidev, so a program opens
 * /dev/spidevN.0 as on a board; below it, instead of wires, is a buffer.
 *
 * Parameters
 *   busnr    N of /dev/spidevN.0, 0 by default
 *   dc_gpio  the global number of the data/command line; -1: there is none
 *
 * In debugfs, recorded-spi/
 *   log   the transfers: u8 level of the line (0, 1, or 255 if unknown), u8
 *         SPI mode, u16 0, u32 clock in Hz, u32 length (little-endian), the
 *         bytes. Reading takes them out.
 *   lost  transfers that did not fit into the buffer
 *   fail  write Y: every transfer fails with EIO
 */
#include <linux/debugfs.h>
#include <linux/gpio.h>
#include <linux/gpio/consumer.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/spi/spi.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define LOG_SIZE (16 << 20)
#define HEAD 12

static int busnr;
module_param(busnr, int, 0444);
static int dc_gpio = -1;
module_param(dc_gpio, int, 0444);

static struct platform_device *parent;
static struct spi_controller *controller;
static struct dentry *folder;
static DEFINE_MUTEX(log_lock);
static u8 *log_bytes;
static size_t log_used;
static u32 lost;
static bool fail;

static int transfer_one(struct spi_controller *ctl, struct spi_device *device,
			struct spi_transfer *transfer)
{
	struct gpio_desc *dc = dc_gpio < 0 ? NULL : gpio_to_desc(dc_gpio);

	if (fail)
		return -EIO;
	mutex_lock(&log_lock);
	if (transfer->tx_buf && log_used + HEAD + transfer->len <= LOG_SIZE) {
		u8 *to = log_bytes + log_used;

		memset(to, 0, HEAD);
		to[0] = dc ? gpiod_get_raw_value_cansleep(dc) : 255;
		to[1] = device->mode;
		memcpy(to + 4, &transfer->speed_hz, 4);
		memcpy(to + 8, &transfer->len, 4);
		memcpy(to + HEAD, transfer->tx_buf, transfer->len);
		log_used += HEAD + transfer->len;
	} else {
		lost++;
	}
	mutex_unlock(&log_lock);
	if (transfer->rx_buf)
		memset(transfer->rx_buf, 0, transfer->len);
	return 0;
}

static ssize_t take_log(struct file *file, char __user *to, size_t size, loff_t *at)
{
	ssize_t taken;

	mutex_lock(&log_lock);
	taken = min(size, log_used);
	if (taken && copy_to_user(to, log_bytes, taken)) {
		taken = -EFAULT;
	} else {
		memmove(log_bytes, log_bytes + taken, log_used - taken);
		log_used -= taken;
	}
	mutex_unlock(&log_lock);
	return taken;
}

static const struct file_operations log_operations = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = take_log,
	.llseek = no_llseek,
};

static int __init recorded_spi_init(void)
{
	/* spidev binds to names of real chips only; this is one of its list. */
	struct spi_board_info info = {
		.modalias = "dh2228fv",
		.max_speed_hz = 80000000,
		.mode = SPI_MODE_0,
	};
	int error;

	log_bytes = vmalloc(LOG_SIZE);
	if (!log_bytes)
		return -ENOMEM;
	parent = platform_device_register_simple("recorded-spi", -1, NULL, 0);
	if (IS_ERR(parent)) {
		error = PTR_ERR(parent);
		goto free;
	}
	controller = spi_alloc_master(&parent->dev, 0);
	if (!controller) {
		error = -ENOMEM;
		goto unregister;
	}
	controller->bus_num = busnr;
	controller->num_chipselect = 1;
	controller->mode_bits = SPI_CPOL | SPI_CPHA | SPI_NO_CS;
	controller->bits_per_word_mask = SPI_BPW_MASK(8);
	controller->transfer_one = transfer_one;
	error = spi_register_controller(controller);
	if (error) {
		spi_controller_put(controller);
		goto unregister;
	}
	if (!spi_new_device(controller, &info)) {
		error = -ENODEV;
		goto unregister_controller;
	}
	folder = debugfs_create_dir("recorded-spi", NULL);
	debugfs_create_file("log", 0400, folder, NULL, &log_operations);
	debugfs_create_u32("lost", 0400, folder, &lost);
	debugfs_create_bool("fail", 0600, folder, &fail);
	return 0;

unregister_controller:
	spi_unregister_controller(controller);
unregister:
	platform_device_unregister(parent);
free:
	vfree(log_bytes);
	return error;
}

static void __exit recorded_spi_exit(void)
{
	debugfs_remove_recursive(folder);
	spi_unregister_controller(controller);
	platform_device_unregister(parent);
	vfree(log_bytes);
}

module_init(recorded_spi_init);
module_exit(recorded_spi_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("An SPI controller that writes down what is sent");
