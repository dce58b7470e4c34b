//! Detect: from a luma plane to face boxes, with OpenCV's cascades.

use crate::frame::Rect;

/// A face box, with the number of raw windows that agreed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detection {
    pub rect: Rect,
    /// At least `min_neighbors`; more means surer.
    pub neighbors: u32,
}
