//! The levels of all lines, for those who only look at them, on any thread.

use std::sync::atomic::{AtomicU8, Ordering};

use super::options::Options;

/// Whether a line is on, as the board file means it: `active_low` is taken into
/// account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The line was not set or read yet, or is not available now.
    #[default]
    Unknown,
    Off,
    On,
}

impl Level {
    /// A name for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Off => "off",
            Self::On => "on",
        }
    }

    pub(super) const fn of(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What it shows, or what it is read for.
    pub role: &'static str,
    /// Its number or name.
    pub line: String,
    /// Whether it is read.
    pub is_input: bool,
}

/// The lines of a board with their levels: first those that are set, in the
/// order of [`Options::lines`], then the buttons.
#[derive(Debug, Default)]
pub struct Levels {
    lines: Vec<(Described, AtomicU8)>,
    outputs: usize,
}

impl Levels {
    /// The lines of a board, whose levels are not known yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let outputs = options.lines.iter().map(|line| Described {
            role: line.role.name(),
            line: line.line.to_string(),
            is_input: false,
        });
        let inputs = [
            ("acknowledge", &options.acknowledge),
            ("baseline", &options.baseline),
            ("pause", &options.pause),
        ];
        let inputs = inputs.into_iter().filter_map(|(role, input)| {
            Some(Described {
                role,
                line: input.as_ref()?.line.to_string(),
                is_input: true,
            })
        });
        let lines = outputs.chain(inputs);
        Self {
            lines: lines.map(|line| (line, AtomicU8::new(0))).collect(),
            outputs: options.lines.len(),
        }
    }

    /// Every line with its present level.
    pub fn iter(&self) -> impl Iterator<Item = (&Described, Level)> {
        self.lines.iter().map(|(line, level)| {
            let level = match level.load(Ordering::Relaxed) {
                1 => Level::Off,
                2 => Level::On,
                _ => Level::Unknown,
            };
            (line, level)
        })
    }

    /// Notes the level of the line with this index among those that are set.
    pub(super) fn note(&self, index: usize, level: Level) {
        if let Some((_, noted)) = self.lines[..self.outputs].get(index) {
            noted.store(level as u8, Ordering::Relaxed);
        }
    }

    /// Notes the level of a line that is read.
    pub(super) fn note_input(&self, role: &str, level: Level) {
        let mut inputs = self.lines[self.outputs..].iter();
        if let Some((_, noted)) = inputs.find(|(line, _)| line.role == role) {
            noted.store(level as u8, Ordering::Relaxed);
        }
    }
}
