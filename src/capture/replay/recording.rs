//! The trait of recordings: frames, one after the other, and a rate.

use std::io;
use std::time::Duration;

use crate::image::LumaImage;

/// Frames per second if the recording has no rate of its own.
pub const PICTURE_RATE: Rate = Rate { num: 10, den: 1 };
pub const VIDEO_RATE: Rate = Rate { num: 30, den: 1 };

/// Frames per second as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub num: u32,
    pub den: u32,
}

impl Rate {
    /// Rounded to a thousandth; at least one frame in a thousand seconds.
    pub fn from_fps(fps: f32) -> Self {
        Self {
            num: ((f64::from(fps) * 1000.0).round() as u32).max(1),
            den: 1000,
        }
    }

    pub fn fps(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// The time of frame `index`.
    pub fn at(self, index: u64) -> Duration {
        let nanos =
            u128::from(index) * u128::from(self.den) * 1_000_000_000 / u128::from(self.num.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The result of reading the next frame of a recording.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Frame,
    /// The frame is broken, with the reason; the next one may be good.
    Broken(String),
    End,
}

/// Frames from a file, one after the other.
pub trait Recording {
    /// Reads the next frame into `image`, whose memory is reused.
    fn read(&mut self, image: &mut LumaImage) -> Step;

    /// Back to the first frame.
    fn rewind(&mut self) -> io::Result<()>;

    /// The kind of recording, for the description.
    fn kind(&self) -> String;
}
