//! What goes from the loop to the preview's thread: a frame's picture, and what
//! was seen in it.
//!
//! There are [`COUNT`] of them, which wander between the two. The thread makes
//! them large enough; the loop only copies.

use std::sync::{Mutex, PoisonError, TryLockError};

use crate::decide::fatigue::FatigueDecision;
use crate::frame::{LumaError, LumaView};
use crate::report::{Camera, CameraState, FaceReport, Report};
use crate::track::SLOTS;

/// One is drawn while the other one waits or is filled.
const COUNT: usize = 2;

/// The longest reason of a lost camera that is kept, in bytes.
const REASON: usize = 256;

/// A frame's picture, and what was seen in it.
#[derive(Debug, Default)]
pub struct Shot {
    pixels: Vec<u8>,
    /// The size of the picture; (0, 0) without one.
    size: (u32, u32),
    /// How many pixels there was no room for.
    pub missing: usize,
    pub frame: u64,
    pub camera: CameraState,
    /// Why the camera is lost, if it is.
    pub reason: String,
    pub faces: Vec<FaceReport>,
    pub fatigue: Option<FatigueDecision>,
}

impl Shot {
    fn new() -> Self {
        Self {
            reason: String::with_capacity(REASON),
            faces: Vec::with_capacity(SLOTS),
            ..Self::default()
        }
    }

    /// Makes room for so many pixels.
    pub fn reserve(&mut self, pixels: usize) {
        self.pixels.clear();
        self.pixels.reserve_exact(pixels);
    }

    /// Copies a report, and its picture if there is room. Allocates nothing.
    pub fn fill(&mut self, report: &Report<'_>) {
        self.frame = report.frame;
        self.camera = report.camera.state();
        self.reason.clear();
        if let Camera::Lost { reason } = report.camera {
            let mut end = reason.len().min(REASON);
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            self.reason.push_str(&reason[..end]);
        }
        self.faces.clear();
        self.faces.extend(report.faces.iter().take(SLOTS));
        self.fatigue = report.fatigue.map(|fatigue| *fatigue.decision);
        self.size = (0, 0);
        self.missing = 0;
        self.pixels.clear();
        let Some(picture) = report.picture else {
            return;
        };
        let pixels = picture.width() as usize * picture.height() as usize;
        if pixels > self.pixels.capacity() {
            self.missing = pixels;
            return;
        }
        for row in picture.rows() {
            self.pixels.extend_from_slice(row);
        }
        self.size = (picture.width(), picture.height());
    }

    /// The picture, if there is one.
    pub fn picture(&self) -> Result<LumaView<'_>, LumaError> {
        let (width, height) = self.size;
        LumaView::new(&self.pixels, width, height, width as usize)
    }
}

/// Shots that nobody uses.
#[derive(Debug)]
pub struct Pool(Mutex<Vec<Shot>>);

impl Pool {
    pub fn new() -> Self {
        Self(Mutex::new((0..COUNT).map(|_| Shot::new()).collect()))
    }

    /// A shot, if one is free. Never waits.
    pub fn take(&self) -> Option<Shot> {
        match self.0.try_lock() {
            Ok(mut shots) => shots.pop(),
            Err(TryLockError::Poisoned(shots)) => shots.into_inner().pop(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Gives a shot back. The place for it is there, so nothing is allocated.
    pub fn give_back(&self, shot: Shot) {
        let mut shots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shots.len() < COUNT {
            shots.push(shot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(pixels: &[u8]) -> LumaView<'_> {
        LumaView::new(pixels, 3, 2, 4).unwrap()
    }

    #[test]
    fn a_picture_is_copied_if_there_is_room() {
        let pixels = [1, 2, 3, 0, 4, 5, 6, 0];
        let report = Report {
            frame: 7,
            picture: Some(view(&pixels)),
            ..Report::default()
        };
        let mut shot = Shot::new();
        shot.fill(&report);
        assert!(shot.picture().is_err());
        assert_eq!((shot.frame, shot.missing), (7, 6));
        shot.reserve(shot.missing);
        shot.fill(&report);
        let picture = shot.picture().unwrap();
        assert_eq!(
            (picture.row(0), picture.row(1)),
            (&[1, 2, 3][..], &[4, 5, 6][..])
        );
        // The next report has none.
        shot.fill(&Report {
            camera: Camera::Lost {
                reason: &"\u{e4}".repeat(200),
            },
            ..Report::default()
        });
        assert!(shot.picture().is_err());
        assert_eq!(shot.missing, 0);
        assert_eq!(shot.reason, "\u{e4}".repeat(128));
    }

    #[test]
    fn there_are_two_shots() {
        let pool = Pool::new();
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        pool.give_back(two);
        pool.give_back(one);
        pool.give_back(Shot::new());
        assert!(pool.take().is_some() && pool.take().is_some() && pool.take().is_none());
    }
}
