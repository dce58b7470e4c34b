//! Whether the picture lies on its side or upside down: then no face is found in
//! it, but in the turned picture.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::warn;

use super::advice::Lying;
use crate::assets;
use crate::detect::{self, Cascade, Detector};
use crate::frame::LumaView;
use crate::image::LumaImage;
use crate::image::turn::{Rotation, Turn};

/// The pause between two searches.
const PAUSE: Duration = Duration::from_millis(700);

/// So many searches in a row must find a face at the same turn: a cascade now
/// and then sees a face in a curtain.
const AGREE: u32 = 2;

/// The picture is reduced to this before the search: a face that is to be aimed
/// at is near.
const LARGEST: u32 = 320;

/// The turns that are tried, the likeliest first.
const TURNS: [u32; 3] = [180, 90, 270];

/// Which detector searches.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub cascade: PathBuf,
    pub detector: detect::Options,
}

/// Searches in turned pictures while there is no face.
#[derive(Debug)]
pub struct Upright {
    options: Options,
    /// Made when it is needed.
    detector: Option<Detector>,
    /// It could not be made, so nothing is said.
    is_broken: bool,
    small: LumaImage,
    turned: LumaImage,
    next: Option<Instant>,
    /// What the last search found, and how often in a row.
    found: Option<(u32, u32)>,
}

impl Upright {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            detector: None,
            is_broken: false,
            small: LumaImage::default(),
            turned: LumaImage::default(),
            next: None,
            found: None,
        }
    }

    /// Frees what a search needs.
    pub fn rest(&mut self) {
        self.detector = None;
        self.found = None;
        self.next = None;
    }

    /// Looks at a picture. `has_face`: whether a face was found in it as it is.
    pub fn look(&mut self, picture: LumaView<'_>, has_face: bool, now: Instant) -> Option<Lying> {
        if has_face {
            self.found = None;
            self.next = Some(now + PAUSE);
        } else if self.next.is_some_and(|next| now >= next) {
            self.next = Some(now + PAUSE);
            self.search(picture);
        } else if self.next.is_none() {
            self.next = Some(now + PAUSE);
        }
        self.found
            .filter(|(_, times)| *times >= AGREE)
            .map(|(degrees, _)| Lying::Rotate(degrees))
    }

    fn search(&mut self, picture: LumaView<'_>) {
        reduce(picture, &mut self.small);
        let found = TURNS.into_iter().find(|degrees| self.finds(*degrees));
        self.found = match (found, self.found) {
            (Some(degrees), Some((same, times))) if same == degrees => Some((degrees, times + 1)),
            (Some(degrees), _) => Some((degrees, 1)),
            (None, _) => None,
        };
    }

    fn finds(&mut self, degrees: u32) -> bool {
        if self.detector.is_none() && !self.is_broken {
            match detector(&self.options) {
                Ok(detector) => self.detector = Some(detector),
                Err(error) => {
                    warn!("the preview cannot say whether the picture is upright: {error}");
                    self.is_broken = true;
                }
            }
        }
        let Some(detector) = &mut self.detector else {
            return false;
        };
        let turn = Turn {
            rotation: Rotation::from_degrees(degrees).unwrap_or_default(),
            mirror: false,
        };
        turn.apply(self.small.view(), &mut self.turned);
        !detector.detect(self.turned.view()).is_empty()
    }
}

fn detector(options: &Options) -> Result<Detector, Box<dyn std::error::Error>> {
    let cascade = Cascade::load(&assets::find_file(&options.cascade)?)?;
    Ok(Detector::new(cascade, options.detector.clone())?)
}

/// Reduces a picture by a whole factor, by leaving out pixels.
fn reduce(picture: LumaView<'_>, out: &mut LumaImage) {
    let step = picture
        .width()
        .max(picture.height())
        .div_ceil(LARGEST)
        .max(1);
    out.width = picture.width().div_ceil(step);
    out.height = picture.height().div_ceil(step);
    out.pixels.clear();
    for row in picture.rows().step_by(step as usize) {
        out.pixels.extend(row.iter().step_by(step as usize));
    }
}
