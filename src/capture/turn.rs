//! Turns the picture of any source: later stages see only the turned picture.

use std::time::Duration;

use super::{Captured, Counts, Frame, Source};
use crate::image::LumaImage;
use crate::image::turn::Turn;

/// Turns every frame of a source.
pub(super) struct Turned {
    source: Box<dyn Source>,
    turn: Turn,
    image: LumaImage,
}

impl Turned {
    pub(super) fn new(source: Box<dyn Source>, turn: Turn) -> Self {
        Self {
            source,
            turn,
            image: LumaImage::default(),
        }
    }
}

impl Source for Turned {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        match self.source.next(timeout) {
            Captured::Frame(frame) => {
                self.turn.apply(frame.luma, &mut self.image);
                Captured::Frame(Frame {
                    luma: self.image.view(),
                    ..frame
                })
            }
            other => other,
        }
    }

    fn description(&self) -> String {
        let mut text = self.source.description();
        if self.turn.rotation.degrees() > 0 {
            text += &format!(", rotated by {} degrees", self.turn.rotation);
        }
        if self.turn.mirror {
            text += ", mirrored";
        }
        text
    }

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn counts(&self) -> Counts {
        self.source.counts()
    }
}
