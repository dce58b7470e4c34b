//! Detect: from a luma plane to face boxes, with OpenCV's cascades.
//!
//! A [`Detector`] takes the cascade files and parameters of
//! `cv2.CascadeClassifier` and returns the same rectangles, several times
//! faster and in memory that is fixed after the first picture. So parameters
//! that were tuned for OpenCV stay valid. The steps, after P. Viola and M.
//! Jones ("Rapid object detection using a boosted cascade of simple features",
//! CVPR 2001):
//!
//! 1. [`cascade`]: the trained stages, read from XML;
//! 2. `enhance`: raises the contrast, if wanted;
//! 3. [`pyramid`]: the scales of the search, and the picture at each scale;
//! 4. `integral`: tables that give the sum over any rectangle with four reads;
//! 5. [`windows`]: evaluates the cascade on each row of windows, many windows
//!    at once;
//! 6. `group`: combines windows that agree into a face;
//! 7. [`schedule`]: for video, where to look in this frame.

pub mod cascade;
mod detector;
mod enhance;
mod error;
mod group;
mod integral;
mod options;
pub mod pyramid;
pub mod schedule;
pub mod windows;

pub use cascade::{Cascade, CascadeError};
pub use detector::Detector;
pub use error::DetectError;
pub use group::Detection;
pub use options::{Enhance, Options, UnknownEnhance};
pub use pyramid::Level;
pub use schedule::{Expected, Found, Search, SearchOptions};
