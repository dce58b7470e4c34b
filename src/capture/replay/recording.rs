//! What every recording has: frames, one after the other, and a rate.

use std::io;
use std::time::Duration;

use crate::image::LumaImage;

/// Frames a second where the recording has no rate of its own.
pub const PICTURE_RATE: Rate = Rate { num: 10, den: 1 };
pub const VIDEO_RATE: Rate = Rate { num: 30, den: 1 };

/// Frames a second as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub num: u32,
    pub den: u32,
}

impl Rate {
    /// The nearest thousandth; at least one frame in a thousand seconds.
    pub fn from_fps(fps: f32) -> Self {
        Self {
            num: ((f64::from(fps) * 1000.0).round() as u32).max(1),
            den: 1000,
        }
    }

    pub fn fps(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// When frame `index` is taken.
    pub fn at(self, index: u64) -> Duration {
        let nanos =
            u128::from(index) * u128::from(self.den) * 1_000_000_000 / u128::from(self.num.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What the next place of a recording holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Frame,
    /// No usable frame, with the reason; the one after it may be well.
    Broken(String),
    End,
}

/// Frames from a file, one after the other.
pub trait Recording {
    /// Reads the next frame into `image`, whose memory is used again.
    fn read(&mut self, image: &mut LumaImage) -> Step;

    /// Back to the first frame.
    fn rewind(&mut self) -> io::Result<()>;

    /// What it is, for the description.
    fn kind(&self) -> String;
}
