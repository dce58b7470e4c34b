//! The places of windows and features in the integral image.

use crate::detect::cascade::{Cascade, Features, LbpFeature, WeightedRect};
use crate::detect::integral::Layout;

/// The largest number of rows of windows that are evaluated together.
pub const BATCH: usize = 8;

/// Some rows of windows in the integral image.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// The top left corner of the first window of the first row.
    pub origin: usize,
    /// Words from one row of windows to the next.
    pub pitch: usize,
    /// From 1 to [`BATCH`].
    pub rows: usize,
    /// Windows in each row, one word apart.
    pub columns: usize,
    /// Whether the integral image's columns are split by parity.
    pub split: bool,
}

/// Whether the cascade needs tilted sums.
pub fn needs_tilted(cascade: &Cascade) -> bool {
    match &cascade.features {
        Features::Haar(list) => list.iter().any(|feature| feature.tilted),
        Features::Lbp(_) => false,
    }
}

/// Offsets of the corners of an upright or tilted rectangle; its sum is
/// `c[0] - c[1] - c[2] + c[3]`.
pub(super) fn corners(rect: &WeightedRect, tilted: bool, layout: Layout) -> [usize; 4] {
    let (x, y, w, h) = (rect.x, rect.y, rect.width, rect.height);
    if tilted {
        [
            (x, y),
            (x - h, y + h),
            (x + w, y + w),
            (x + w - h, y + w + h),
        ]
        .map(|(x, y)| layout.tilted + layout.corner(x, y))
    } else {
        [(x, y), (x + w, y), (x, y + h), (x + w, y + h)].map(|(x, y)| layout.corner(x, y))
    }
}

/// Offsets of the 16 corners of an LBP feature's blocks, row by row.
pub(super) fn block_corners(feature: &LbpFeature, layout: Layout) -> [usize; 16] {
    std::array::from_fn(|index| {
        let (column, row) = (index as u32 % 4, index as u32 / 4);
        layout.corner(
            feature.x + column * feature.width,
            feature.y + row * feature.height,
        )
    })
}
