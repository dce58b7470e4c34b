//! Why a GPIO chip or a line cannot be used.

use std::io;

use super::options::LineId;
use super::role::Role;
use crate::suggest::suggestion;

/// Why a chip or a line is not available.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("GPIO chip '{wanted}' does not exist; {}", listed(.known))]
    NoChip {
        wanted: String,
        /// The chips of this machine, as text.
        known: Vec<String>,
    },
    #[error(
        "{} GPIO chips are labelled '{wanted}': {}; write the path of the right one",
        .paths.len(), .paths.join(", ")
    )]
    AmbiguousChip { wanted: String, paths: Vec<String> },
    #[error("GPIO chip '{chip}': {source}{}", hint(.source))]
    Chip {
        chip: String,
        source: gpio_cdev::Error,
    },
    #[error("GPIO chip '{chip}' has no line '{name}'{}; `affectd devices` lists the names", suggestion(.name, .names.iter().map(String::as_str)))]
    NoLineName {
        chip: String,
        name: String,
        names: Vec<String>,
    },
    #[error("GPIO chip '{chip}' has lines 0 to {}, so none at {offset}", .count.saturating_sub(1))]
    NoLineOffset {
        chip: String,
        offset: u32,
        count: u32,
    },
    #[error(
        "GPIO chip '{chip}', {line} for {purpose}: already in use by '{user}'; end that program or choose another line"
    )]
    LineInUse {
        chip: String,
        line: LineId,
        purpose: String,
        user: String,
    },
    #[error("GPIO chip '{chip}', {line} is given to both {first} and {second}")]
    LineTwice {
        chip: String,
        line: LineId,
        first: Role,
        second: Role,
    },
    #[error("GPIO chip '{chip}', {line} for {purpose}: {source}")]
    Line {
        chip: String,
        line: LineId,
        purpose: String,
        source: gpio_cdev::Error,
    },
}

/// All errors, one per line of text.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Errors(pub Vec<Error>);

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "this machine has none (no /dev/gpiochip*)".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    }
}

fn hint(error: &gpio_cdev::Error) -> &'static str {
    match io_kind(error) {
        Some(io::ErrorKind::PermissionDenied) => {
            "; add the user to the group of the device, usually 'gpio'"
        }
        Some(io::ErrorKind::InvalidInput) => "; this is not a GPIO chip",
        _ => "",
    }
}

/// The kernel's error behind one of gpio-cdev.
pub(super) fn io_kind(error: &gpio_cdev::Error) -> Option<io::ErrorKind> {
    use std::error::Error as _;
    let source = error.source()?;
    source
        .downcast_ref::<io::Error>()
        .map(io::Error::kind)
        .or_else(|| {
            // The cause of a failed ioctl has a type of nix, which is not a
            // dependency of affectd; its text starts with the error's name.
            let text = source.to_string();
            [
                ("EBUSY", io::ErrorKind::ResourceBusy),
                ("EACCES", io::ErrorKind::PermissionDenied),
                ("EPERM", io::ErrorKind::PermissionDenied),
                ("ENOTTY", io::ErrorKind::InvalidInput),
            ]
            .into_iter()
            .find_map(|(name, kind)| text.starts_with(name).then_some(kind))
        })
}
