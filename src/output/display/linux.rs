//! Buses and lines of this machine, through linux-embedded-hal.

use std::path::Path;

use embedded_hal::digital::PinState;
use linux_embedded_hal::spidev::{SpiModeFlags, Spidev, SpidevOptions};
use linux_embedded_hal::{CdevPin, I2cdev, SpidevDevice};

pub use linux_embedded_hal::Delay;

use crate::output::gpio::{Cdev, LineId};

use super::DisplayError;
use super::options::TftOptions;
use super::tft::TftPins;

/// Opens an I²C bus.
pub fn i2c(bus: &Path) -> Result<I2cdev, DisplayError> {
    I2cdev::new(bus).map_err(|error| DisplayError::Bus {
        path: bus.to_owned(),
        reason: error.to_string(),
        hint: hint(bus, "; switch I2C on if it is off (dtparam=i2c_arm=on)"),
    })
}

/// Opens an SPI device: mode 0, 8 bits per word.
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
        hint: hint(device, "; switch SPI on if it is off (dtparam=spi=on)"),
    })
}

fn hint(path: &Path, absent: &'static str) -> &'static str {
    if path.exists() {
        "; add the user to the group of the device (i2c, spi or gpio)"
    } else {
        absent
    }
}

/// Requests the lines of a colour panel: reset inactive, the backlight off.
pub fn pins(options: &TftOptions) -> Result<TftPins<CdevPin>, DisplayError> {
    let mut chip = Cdev::find(&options.chip)?;
    let mut optional = |line: &Option<LineId>, purpose, level| {
        line.as_ref()
            .map(|line| chip.take(line, purpose, level))
            .transpose()
    };
    Ok(TftPins {
        reset: optional(&options.reset, "display reset", PinState::High)?,
        backlight: optional(&options.backlight, "display backlight", PinState::Low)?,
        dc: chip.take(&options.dc, "display dc", PinState::High)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::display::TftController;

    #[test]
    fn errors_for_missing_devices_say_what_to_do() {
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
        assert!(pins.contains("'no-such-chip' does not exist"), "{pins}");
    }
}
