//! Detect: from a luma plane to face boxes, with OpenCV's cascades.
//!
//! People who tune `cv2.CascadeClassifier` trust what they tuned. A
//! [`Detector`] takes the same cascade files and the same parameters and
//! returns the same rectangles, several times faster and in memory that is
//! fixed once the first picture has been seen. How it goes, after P. Viola and
//! M. Jones ("Rapid object detection using a boosted cascade of simple
//! features", CVPR 2001):
//!
//! 1. [`cascade`]: the trained stages, read from XML;
//! 2. `enhance`: more contrast, if wanted;
//! 3. [`pyramid`]: the scales at which to look, and the picture at each;
//! 4. `integral`: tables from which the sum over any rectangle takes four
//!    reads;
//! 5. [`windows`]: the cascade over each row of windows, many windows at once;
//! 6. `group`: windows that agree become a face;
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
