//! Lists the GPIO chips of this machine.

use std::path::{Path, PathBuf};

use gpio_cdev::Chip;

/// A GPIO chip of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChipInfo {
    /// `/dev/gpiochipN`.
    pub path: PathBuf,
    /// Empty if the chip could not be opened.
    pub label: String,
    /// In order of their offsets, from 0.
    pub lines: Vec<LineInfo>,
    /// Why nothing more is known about the chip.
    pub problem: Option<String>,
}

/// A line of a chip as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineInfo {
    pub offset: u32,
    pub name: Option<String>,
    /// The name that the line's user gave. `None` if the line is not in use.
    pub user: Option<String>,
    pub output: bool,
}

/// The GPIO chips of this machine with their lines, by number. A chip that
/// cannot be opened is listed with the reason.
#[must_use]
pub fn chips() -> Vec<ChipInfo> {
    devices()
        .into_iter()
        .map(|path| match Chip::new(&path) {
            Ok(chip) => ChipInfo {
                label: chip.label().to_owned(),
                lines: chip.lines().filter_map(|line| describe(&line)).collect(),
                path,
                problem: None,
            },
            Err(error) => ChipInfo {
                label: String::new(),
                lines: Vec::new(),
                path,
                problem: Some(error.to_string()),
            },
        })
        .collect()
}

fn describe(line: &gpio_cdev::Line) -> Option<LineInfo> {
    let info = line.info().ok()?;
    Some(LineInfo {
        offset: line.offset(),
        name: info.name().map(str::to_owned),
        user: info
            .is_used()
            .then(|| info.consumer().unwrap_or("unknown").to_owned()),
        output: info.direction() == gpio_cdev::LineDirection::Out,
    })
}

/// The devices of GPIO chips by number, each once: on a Raspberry Pi 5
/// `/dev/gpiochip4` is a link to another one.
pub(super) fn devices() -> Vec<PathBuf> {
    let number = |path: &Path| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("gpiochip")?.parse().ok()
    };
    let mut paths: Vec<_> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| number(path).is_some() && !path.is_symlink())
        .collect();
    paths.sort_by_key(|path| number(path));
    paths
}
