//! Checks whether the frame arena is large enough.

use crate::host::memory::{self, Usage};

/// The arena is too small for a frame.
#[derive(Debug, thiserror::Error)]
#[error(
    "the frame arena of {} KiB is too small for frames of {width}x{height}: {}",
    usage.arena >> 10,
    advice(usage)
)]
pub struct ArenaTooSmall {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) usage: Usage,
}

/// The size that the arena should have.
fn advice(usage: &Usage) -> String {
    let needed = (usage.high_water + usage.missing).div_ceil(1 << 20) << 10;
    format!("set process.arena_kib = {needed} in the board file")
}

/// Warns once if frames need more than the arena has. They then get the
/// system's memory.
pub(super) struct ArenaWatch {
    overflows: u64,
    has_warned: bool,
}

impl ArenaWatch {
    pub fn new() -> Self {
        Self {
            overflows: memory::usage().overflows_here,
            has_warned: false,
        }
    }

    /// Checks the arena after a frame of `size`.
    pub fn look(&mut self, size: (u32, u32)) {
        let usage = memory::usage();
        if usage.overflows_here > self.overflows {
            self.overflows = usage.overflows_here;
            if !self.has_warned {
                self.has_warned = true;
                log::warn!(
                    "the frame arena of {} KiB is too small for a frame of {}x{}: {}; later \
                     overflows are only counted (--stats)",
                    usage.arena >> 10,
                    size.0,
                    size.1,
                    advice(&usage)
                );
            }
        }
    }
}
