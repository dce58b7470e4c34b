//! Pins from Linux's GPIO character devices, as `CdevPin` of
//! linux-embedded-hal: for `[gpio]` and for the lines of displays.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use embedded_hal::digital::PinState;
use gpio_cdev::{Chip, LineRequestFlags};
use linux_embedded_hal::CdevPin;

use super::bank::Bank;
use super::chips::devices;
use super::error::{Error, Errors, io_kind};
use super::lines::Lines;
use super::options::{LineId, LineOptions, Options};
use super::role::SafeLevel;

/// A GPIO chip of this machine, as named in a board file.
#[derive(Debug)]
pub struct Cdev {
    wanted: String,
    /// `None` after a failure: the device may have come back under another
    /// number.
    chip: Option<Chip>,
}

impl Cdev {
    /// Finds a chip by label, path or kernel name.
    ///
    /// # Errors
    /// There is no such chip, there are several, or it cannot be opened.
    pub fn find(wanted: &str) -> Result<Self, Error> {
        Ok(Self {
            chip: Some(find(wanted)?),
            wanted: wanted.to_owned(),
        })
    }

    fn offset(&self, chip: &Chip, line: &LineId) -> Result<u32, Error> {
        match line {
            LineId::Offset(offset) if *offset < chip.num_lines() => Ok(*offset),
            LineId::Offset(offset) => Err(Error::NoLineOffset {
                chip: self.wanted.clone(),
                offset: *offset,
                count: chip.num_lines(),
            }),
            LineId::Name(name) => {
                let mut names = Vec::new();
                for line in chip.lines() {
                    let info = line.info().map_err(|source| Error::Chip {
                        chip: self.wanted.clone(),
                        source,
                    })?;
                    match info.name() {
                        Some(found) if found == name => return Ok(line.offset()),
                        Some(found) => names.push(found.to_owned()),
                        None => {}
                    }
                }
                Err(Error::NoLineName {
                    chip: self.wanted.clone(),
                    name: name.clone(),
                    names,
                })
            }
        }
    }

    /// Requests a line as an output that has this level from the start.
    /// `purpose` is for errors, and `gpioinfo` shows it as the line's user.
    ///
    /// # Errors
    /// The chip is gone, it has no such line, or the line is in use.
    pub fn take(
        &mut self,
        line: &LineId,
        purpose: &str,
        level: PinState,
    ) -> Result<CdevPin, Error> {
        let level = u8::from(level == PinState::High);
        self.take_as(line, purpose, LineRequestFlags::OUTPUT, level)
    }

    fn take_as(
        &mut self,
        line: &LineId,
        purpose: &str,
        flags: LineRequestFlags,
        level: u8,
    ) -> Result<CdevPin, Error> {
        let mut chip = match self.chip.take() {
            Some(chip) => chip,
            None => find(&self.wanted)?,
        };
        let pin = self.take_from(&mut chip, line, purpose, (flags, level))?;
        self.chip = Some(chip);
        Ok(pin)
    }

    fn take_from(
        &self,
        chip: &mut Chip,
        id: &LineId,
        purpose: &str,
        (flags, level): (LineRequestFlags, u8),
    ) -> Result<CdevPin, Error> {
        let offset = self.offset(chip, id)?;
        let failed = |source| Error::Line {
            chip: self.wanted.clone(),
            line: id.clone(),
            purpose: purpose.to_owned(),
            source,
        };
        let line = chip.get_line(offset).map_err(failed)?;
        let consumer = format!("affectd {purpose}");
        // Without ACTIVE_LOW: see the module above.
        let handle = line.request(flags, level, &consumer).map_err(|source| {
            if io_kind(&source) == Some(io::ErrorKind::ResourceBusy) {
                let user = line.info().ok();
                let user = user.as_ref().and_then(gpio_cdev::LineInfo::consumer);
                Error::LineInUse {
                    chip: self.wanted.clone(),
                    line: id.clone(),
                    purpose: purpose.to_owned(),
                    user: user.unwrap_or("unknown").to_owned(),
                }
            } else {
                failed(source)
            }
        })?;
        CdevPin::new(handle).map_err(failed)
    }

    /// Errors for lines with two roles, found by their offsets.
    fn given_twice(&self, options: &Options) -> Vec<Error> {
        let Some(chip) = &self.chip else {
            return Vec::new();
        };
        let mut errors = Vec::new();
        let mut seen: Vec<(u32, &LineOptions)> = Vec::new();
        for line in &options.lines {
            // A line that does not exist is reported when it is requested.
            let Ok(offset) = self.offset(chip, &line.line) else {
                continue;
            };
            match seen.iter().find(|(other, _)| *other == offset) {
                Some((_, first)) => errors.push(Error::LineTwice {
                    chip: self.wanted.clone(),
                    line: line.line.clone(),
                    first: first.role,
                    second: line.role,
                }),
                None => seen.push((offset, line)),
            }
        }
        errors
    }
}

impl Bank for Cdev {
    type Pin = CdevPin;
    type Input = CdevPin;
    type Error = Error;

    fn request(&mut self, line: &LineOptions, level: PinState) -> Result<CdevPin, Error> {
        self.take(&line.line, line.role.name(), level)
    }

    fn request_input(&mut self, line: &LineId, purpose: &str) -> Result<CdevPin, Error> {
        self.take_as(line, purpose, LineRequestFlags::INPUT, 0)
    }
}

/// The device of a chip and the offset of a line on it, so that two names of
/// the same line can be recognised.
///
/// # Errors
/// There is no such chip or line, or the chip cannot be opened.
pub fn locate(chip: &str, line: &LineId) -> Result<(PathBuf, u32), Error> {
    let bank = Cdev::find(chip)?;
    match &bank.chip {
        Some(found) => Ok((found.path().to_owned(), bank.offset(found, line)?)),
        None => Err(Error::NoChip {
            wanted: chip.to_owned(),
            known: Vec::new(),
        }),
    }
}

/// Requests the lines of a board, at their safe levels.
///
/// # Errors
/// All errors of the chip and the lines.
pub fn open(options: &Options) -> Result<Lines<Cdev>, Errors> {
    let bank = Cdev::find(&options.chip).map_err(|error| Errors(vec![error]))?;
    let twice = bank.given_twice(options);
    if !twice.is_empty() {
        return Err(Errors(twice));
    }
    Lines::new(bank, options).map_err(Errors)
}

/// Sets every line of a board to its safe level and releases it, after a daemon
/// was killed. If some lines are not available, the others are still set.
///
/// # Errors
/// An error for each line that could not be set.
pub fn set_safe(options: &Options) -> Result<(), Errors> {
    let mut bank = Cdev::find(&options.chip).map_err(|error| Errors(vec![error]))?;
    let errors: Vec<_> = options
        .lines
        .iter()
        .filter_map(|line| {
            let on = line.safe == SafeLevel::On;
            bank.request(line, PinState::from(on != line.active_low))
                .err()
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Errors(errors))
    }
}

fn find(wanted: &str) -> Result<Chip, Error> {
    let failed = |source| Error::Chip {
        chip: wanted.to_owned(),
        source,
    };
    let open = |path: &Path| Chip::new(path).map_err(failed);
    let devices = devices();
    let none = |known| Error::NoChip {
        wanted: wanted.to_owned(),
        known,
    };
    if wanted.contains('/') {
        let path = Path::new(wanted);
        return match path.metadata() {
            // Opening another file could wait for ever (a pipe) or have side
            // effects.
            Ok(metadata) if metadata.file_type().is_char_device() => open(path),
            Ok(_) => Err(failed(io::Error::from(io::ErrorKind::InvalidInput).into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(none(known(&devices))),
            Err(error) => Err(failed(error.into())),
        };
    }
    let mut refused = None;
    let mut matching = Vec::new();
    for path in &devices {
        match open(path) {
            Ok(chip) if chip.label() == wanted || chip.name() == wanted => matching.push(chip),
            Ok(_) => {}
            Err(error) => refused = Some(error),
        }
    }
    match (matching.len(), refused) {
        (1, _) => Ok(matching.remove(0)),
        // The wanted chip may be the one that could not be opened.
        (0, Some(error)) => Err(error),
        (0, None) => Err(none(known(&devices))),
        _ => Err(Error::AmbiguousChip {
            wanted: wanted.to_owned(),
            paths: matching
                .iter()
                .map(|chip| chip.path().display().to_string())
                .collect(),
        }),
    }
}

fn known(devices: &[PathBuf]) -> Vec<String> {
    devices
        .iter()
        .map(|path| match Chip::new(path) {
            Ok(chip) => format!(
                "'{}' ({}, {} lines)",
                chip.label(),
                path.display(),
                chip.num_lines()
            ),
            Err(error) => format!("{} ({error})", path.display()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::chips::chips;
    use super::*;

    #[test]
    fn a_device_that_is_not_a_chip_is_refused_with_the_reason() {
        // Also checks that `io_kind` still understands gpio-cdev's error texts.
        let error = Cdev::find("/dev/null").unwrap_err().to_string();
        assert!(error.contains("/dev/null"), "{error}");
        assert!(error.ends_with("this is not a GPIO chip"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let error = Cdev::find(folder.path().to_str().unwrap()).unwrap_err();
        assert!(error.to_string().ends_with("this is not a GPIO chip"));
    }

    #[test]
    fn the_error_for_a_missing_chip_lists_the_chips() {
        for wanted in ["pinctrl-no-such-chip", "/dev/gpiochip4000"] {
            let options = Options {
                chip: wanted.to_owned(),
                ..Options::default()
            };
            let error = open(&options).err().expect("no such chip").to_string();
            assert!(error.contains(wanted), "{error}");
            let chips = chips();
            if chips.is_empty() {
                assert!(error.contains("this machine has none"), "{error}");
            }
            for chip in chips {
                let path = chip.path.display().to_string();
                assert!(error.contains(&path), "{error} lacks {path}");
            }
        }
    }
}
