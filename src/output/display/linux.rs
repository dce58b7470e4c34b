//! Buses and lines of this machine, by linux-embedded-hal.

use std::fmt;
use std::path::Path;

use gpio_cdev::{Chip, LineRequestFlags};
use linux_embedded_hal::spidev::{SpiModeFlags, Spidev, SpidevOptions};
use linux_embedded_hal::{CdevPin, I2cdev, SpidevDevice};

pub use linux_embedded_hal::Delay;

use crate::output::gpio::{self, LineId};

use super::DisplayError;
use super::options::TftOptions;
use super::tft::TftPins;

/// Opens an I²C bus.
pub fn i2c(bus: &Path) -> Result<I2cdev, DisplayError> {
    I2cdev::new(bus).map_err(|error| DisplayError::Bus {
        path: bus.to_owned(),
        reason: error.to_string(),
        hint: hint(
            bus,
            "; I2C may have to be switched on first (dtparam=i2c_arm=on)",
        ),
    })
}

/// Opens an SPI device: mode 0, 8 bits a word.
pub fn spi(device: &Path, speed_hz: u32) -> Result<SpidevDevice, DisplayError> {
    let mut options = SpidevOptions::new();
    options
        .bits_per_word(8)
        .max_speed_hz(speed_hz)
        .mode(SpiModeFlags::SPI_MODE_0);
    let open = || {
        let mut spidev = Spidev::open(device)?;
        spidev.configure(&options)?;
        Ok(SpidevDevice(spidev))
    };
    open().map_err(|error: std::io::Error| DisplayError::Bus {
        path: device.to_owned(),
        reason: error.to_string(),
        hint: hint(
            device,
            "; SPI may have to be switched on first (dtparam=spi=on)",
        ),
    })
}

fn hint(path: &Path, absent: &'static str) -> &'static str {
    if path.exists() {
        "; the user may have to be in the group i2c, spi or gpio"
    } else {
        absent
    }
}

/// Takes the lines of a colour panel: reset inactive, the backlight dark.
pub fn pins(options: &TftOptions) -> Result<TftPins<CdevPin>, DisplayError> {
    let take = |line: &LineId, what: &'static str, high: bool| {
        request(&options.chip, line, high, what).map_err(|reason| DisplayError::Line {
            chip: options.chip.clone(),
            line: line.clone(),
            what,
            reason,
        })
    };
    let optional = |line: &Option<LineId>, what, high| {
        line.as_ref().map(|line| take(line, what, high)).transpose()
    };
    Ok(TftPins {
        dc: take(&options.dc, "dc", true)?,
        reset: optional(&options.reset, "reset", true)?,
        backlight: optional(&options.backlight, "backlight", false)?,
    })
}

/// Asks the kernel for a line as an output at a level.
fn request(chip: &str, line: &LineId, high: bool, what: &str) -> Result<CdevPin, String> {
    let says = |error: &dyn fmt::Display| error.to_string();
    let chips = gpio::chips();
    let found = chips
        .iter()
        .find(|info| {
            info.label == chip
                || info.path == Path::new(chip)
                || info.path.file_name().is_some_and(|name| name == chip)
        })
        .ok_or("there is no such chip; `affectd devices` lists those there are")?;
    if let Some(problem) = &found.problem {
        return Err(problem.clone());
    }
    let info = found
        .lines
        .iter()
        .find(|info| match line {
            LineId::Offset(offset) => info.offset == *offset,
            LineId::Name(name) => info.name.as_ref() == Some(name),
        })
        .ok_or("there is no such line; `affectd devices` lists those there are")?;
    let handle = Chip::new(&found.path)
        .and_then(|mut chip| chip.get_line(info.offset))
        .and_then(|line| {
            line.request(
                LineRequestFlags::OUTPUT,
                u8::from(high),
                &format!("affectd display {what}"),
            )
        })
        .map_err(|error| match &info.user {
            Some(user) => format!("{error} (in use by '{user}')"),
            None => says(&error),
        })?;
    CdevPin::new(handle).map_err(|error| says(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::display::TftController;

    #[test]
    fn absent_devices_are_told_with_what_to_do() {
        let error = |result: Result<(), DisplayError>| result.unwrap_err().to_string();
        let i2c = error(i2c(Path::new("/nowhere/i2c-1")).map(drop));
        assert!(
            i2c.contains("/nowhere/i2c-1") && i2c.contains("i2c_arm=on"),
            "{i2c}"
        );
        let spi = error(spi(Path::new("/nowhere/spidev0.0"), 1).map(drop));
        assert!(spi.contains("spi=on"), "{spi}");
        let options = TftOptions::new(TftController::St7789, "no-such-chip", LineId::Offset(9));
        let pins = error(pins(&options).map(drop));
        assert!(
            pins.contains("no-such-chip") && pins.contains("line 9") && pins.contains("dc"),
            "{pins}"
        );
    }
}
