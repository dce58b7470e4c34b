//! Lists the buses and framebuffers of this machine, from `/dev` and `/sys`,
//! without opening them.

use std::fs;
use std::path::{Path, PathBuf};

/// Buses and framebuffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    pub i2c: Vec<Device>,
    pub spi: Vec<Device>,
    pub framebuffers: Vec<Device>,
}

/// A device, with the kernel's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The path for a board file.
    pub path: PathBuf,
    /// The I²C adapter's name, the SPI device's alias, or the framebuffer's
    /// driver with its size; empty if the kernel does not give it.
    pub description: String,
}

/// Lists the devices of this machine, each kind by number.
#[must_use]
pub fn devices() -> Devices {
    devices_under(Path::new("/"))
}

fn devices_under(root: &Path) -> Devices {
    let read = |path: PathBuf| {
        fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let find = |prefix: &str, describe: &dyn Fn(&str) -> String| {
        let mut found: Vec<_> = fs::read_dir(root.join("dev"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let number = order(name.strip_prefix(prefix)?)?;
                Some((number, name))
            })
            .collect();
        found.sort();
        found
            .into_iter()
            .map(|(_, name)| Device {
                path: root.join("dev").join(&name),
                description: describe(&name),
            })
            .collect()
    };
    let class = |class: &str| root.join("sys/class").join(class);
    Devices {
        i2c: find("i2c-", &|name| {
            read(class("i2c-dev").join(name).join("name"))
        }),
        spi: find("spidev", &|name| {
            read(class("spidev").join(name).join("device/modalias"))
        }),
        framebuffers: find("fb", &|name| {
            let of = class("graphics").join(name);
            let size = read(of.join("virtual_size")).replace(',', "x");
            let bits = read(of.join("bits_per_pixel"));
            let mut description = read(of.join("name"));
            if !size.is_empty() {
                description += &format!(", {size} pixels");
            }
            if !bits.is_empty() {
                description += &format!(" of {bits} bits");
            }
            description
        }),
    }
}

/// `1` and `0.1` as numbers to sort by; `None` for anything else.
fn order(number: &str) -> Option<Vec<u32>> {
    number.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_listed_by_number_with_what_the_kernel_says() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for device in [
            "i2c-10",
            "i2c-1",
            "i2c-x",
            "spidev0.1",
            "fb0",
            "fbx",
            "null",
        ] {
            file(&format!("dev/{device}"), "");
        }
        file("sys/class/i2c-dev/i2c-1/name", "bcm2835 (i2c@7e804000)\n");
        file("sys/class/spidev/spidev0.1/device/modalias", "spi:spidev\n");
        file("sys/class/graphics/fb0/name", "vc4drmfb\n");
        file("sys/class/graphics/fb0/virtual_size", "800,480\n");
        file("sys/class/graphics/fb0/bits_per_pixel", "16\n");
        let found = devices_under(root.path());
        let text = |devices: &[Device]| {
            devices
                .iter()
                .map(|device| {
                    let path = device.path.strip_prefix(root.path()).unwrap();
                    format!("{}: {}", path.display(), device.description)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            text(&found.i2c),
            ["dev/i2c-1: bcm2835 (i2c@7e804000)", "dev/i2c-10: "]
        );
        assert_eq!(text(&found.spi), ["dev/spidev0.1: spi:spidev"]);
        assert_eq!(
            text(&found.framebuffers),
            ["dev/fb0: vc4drmfb, 800x480 pixels of 16 bits"]
        );
    }

    #[test]
    fn a_machine_without_devices_is_not_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(devices_under(root.path()), Devices::default());
    }
}
