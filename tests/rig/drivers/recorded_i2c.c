// SPDX-License-Identifier: GPL-2.0
/*
 * An I2C bus that writes down what is said on it.
 *
 * Above it are the kernel's own i2c-core and i2c-dev, so a program opens
 * /dev/i2c-N as on a board; below it, instead of wires, is a buffer. i2c-stub
 * of the kernel cannot serve: it knows SMBus commands only, and
 * linux-embedded-hal sends I2C_RDWR messages.
 *
 * Parameters
 *   busnr    N of /dev/i2c-N; the next free one by default
 *   address  the one device there is, 0x3c by default; others do not answer
 *
 * In debugfs, recorded-i2c/
 *   log      the messages: u8 address, u8 1 for a read, u16 little-endian
 *            length, the bytes. Reading takes them out.
 *   lost     messages that did not fit into the buffer
 *   present  write N: the device is gone, its address is not acknowledged
 *   hang_ms  each transfer takes so long and then fails with ETIMEDOUT, as a
 *            controller does whose clock line is held down; 0 ends it
 *   asked    how many transfers were asked for, well or not
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/i2c.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define LOG_SIZE (8 << 20)
#define HEAD 4

static int busnr = -1;
module_param(busnr, int, 0444);
static ushort address = 0x3c;
module_param(address, ushort, 0444);

static struct platform_device *parent;
static struct dentry *folder;
static DEFINE_MUTEX(log_lock);
static u8 *log_bytes;
static size_t log_used;
static u32 lost;
static u32 asked;
static u32 hang_ms;
static bool present = true;

static void record(const struct i2c_msg *msg)
{
	mutex_lock(&log_lock);
	if (log_used + HEAD + msg->len <= LOG_SIZE) {
		u8 *to = log_bytes + log_used;

		to[0] = msg->addr;
		to[1] = !!(msg->flags & I2C_M_RD);
		to[2] = msg->len & 0xff;
		to[3] = msg->len >> 8;
		memcpy(to + HEAD, msg->buf, msg->len);
		log_used += HEAD + msg->len;
	} else {
		lost++;
	}
	mutex_unlock(&log_lock);
}

static int transfer(struct i2c_adapter *adapter, struct i2c_msg *msgs, int count)
{
	int i;

	asked++;
	if (hang_ms) {
		msleep(hang_ms);
		return -ETIMEDOUT;
	}
	for (i = 0; i < count; i++) {
		if (!present || msgs[i].addr != address)
			return -ENXIO;
		if (msgs[i].flags & I2C_M_RD)
			memset(msgs[i].buf, 0, msgs[i].len);
		record(&msgs[i]);
	}
	return count;
}

static u32 functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
}

static const struct i2c_algorithm algorithm = {
	.master_xfer = transfer,
	.functionality = functionality,
};

static struct i2c_adapter adapter = {
	.owner = THIS_MODULE,
	.algo = &algorithm,
	.name = "recorded-i2c",
};

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

static int __init recorded_i2c_init(void)
{
	int error;

	log_bytes = vmalloc(LOG_SIZE);
	if (!log_bytes)
		return -ENOMEM;
	parent = platform_device_register_simple("recorded-i2c", -1, NULL, 0);
	if (IS_ERR(parent)) {
		error = PTR_ERR(parent);
		goto free;
	}
	adapter.dev.parent = &parent->dev;
	adapter.nr = busnr;
	error = i2c_add_numbered_adapter(&adapter);
	if (error)
		goto unregister;
	folder = debugfs_create_dir("recorded-i2c", NULL);
	debugfs_create_file("log", 0400, folder, NULL, &log_operations);
	debugfs_create_u32("lost", 0400, folder, &lost);
	debugfs_create_u32("asked", 0400, folder, &asked);
	debugfs_create_u32("hang_ms", 0600, folder, &hang_ms);
	debugfs_create_bool("present", 0600, folder, &present);
	return 0;

unregister:
	platform_device_unregister(parent);
free:
	vfree(log_bytes);
	return error;
}

static void __exit recorded_i2c_exit(void)
{
	debugfs_remove_recursive(folder);
	i2c_del_adapter(&adapter);
	platform_device_unregister(parent);
	vfree(log_bytes);
}

module_init(recorded_i2c_init);
module_exit(recorded_i2c_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("An I2C bus that writes down what is said on it");
