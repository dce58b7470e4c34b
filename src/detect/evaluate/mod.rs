//! Which windows of a row hold a face.
//!
//! The cascade is followed a row of windows at a time, stage by stage, as the
//! paper has it: a window that fails a stage is done, and most fail the first.
//!
//! Three things are OpenCV's and not the paper's:
//! - **Contrast.** Features are divided by the standard deviation of the pixels
//!   in the window (less a border of one), times the area. A window with a
//!   deviation below 10 gray levels is rejected before the first stage.
//! - **Skipping.** A window that fails the first stage makes the next one in
//!   its row be skipped unseen, which nearly halves the work on plain ground.
//!   What is skipped depends on what was skipped before it, so a row is always
//!   walked from its left end.
//! - **Arithmetic.** Sums of rectangles are integers, a feature is `f32`, the
//!   sum over a stage is `f64`. No step may be fused or reordered where it
//!   could change a bit.
//!
//! `scalar` is that, written down plainly: one window after the other.

mod scalar;

use super::cascade::{Cascade, Features};
use super::integral::{Integral, Layout};

/// An implementation of the search, chosen once when a detector is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Plain Rust, any processor.
    Scalar,
    /// 8 windows at once, x86-64.
    Avx2,
    /// 4 windows at once, 64-bit ARM.
    Neon,
}

impl Kernel {
    /// The fastest one that this processor has.
    #[must_use]
    pub fn best() -> Self {
        *Self::available().last().unwrap_or(&Self::Scalar)
    }

    /// All that this processor has, slowest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        &[Self::Scalar]
    }
}

/// Standard deviation times area below which a window is too plain, as a
/// bound on `area / (area * deviation)`.
const PLAIN: f64 = 0.1;

/// What a feature's sum is multiplied by, for windows of one size.
#[derive(Clone, Copy, Debug)]
struct Contrast {
    /// Corners of the window less a border of one pixel.
    corners: [usize; 4],
    area: f64,
}

impl Contrast {
    fn new(window: (u32, u32), layout: Layout) -> Self {
        let (right, bottom) = (window.0 - 1, window.1 - 1);
        Self {
            corners: [
                layout.corner(1, 1),
                layout.corner(right, 1),
                layout.corner(1, bottom),
                layout.corner(right, bottom),
            ],
            area: f64::from(window.0 - 2) * f64::from(window.1 - 2),
        }
    }

    /// One over area times standard deviation, or `None` for a window that is
    /// too plain. Everything up to the root is exact: windows have at most
    /// 256 x 256 pixels.
    fn factor(&self, sums: &[i32], squares: &[u32], origin: usize) -> Option<f32> {
        let [a, b, c, d] = self.corners.map(|corner| origin + corner);
        let sum = sums[a]
            .wrapping_sub(sums[b])
            .wrapping_sub(sums[c])
            .wrapping_add(sums[d]);
        let square = squares[a]
            .wrapping_sub(squares[b])
            .wrapping_sub(squares[c])
            .wrapping_add(squares[d]);
        let variance = self.area * f64::from(square) - f64::from(sum) * f64::from(sum);
        if variance <= 0.0 {
            return None;
        }
        let factor = (1.0 / variance.sqrt()) as f32;
        (self.area * f64::from(factor) < PLAIN).then_some(factor)
    }
}

/// A row of windows in the integral image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Where the first window has its top left corner.
    pub origin: usize,
    /// Windows in the row, each one word after the last.
    pub count: usize,
    /// Whether the integral image's columns are split by parity.
    pub split: bool,
}

/// Evaluates a cascade over rows of windows.
#[derive(Debug)]
pub(super) struct Evaluator {
    /// For columns as they are, and split by parity.
    scalar: [scalar::Program; 2],
    /// Corner sums read so far, the measure of work.
    work: u64,
}

impl Evaluator {
    /// For an integral image of a certain size.
    pub(super) fn new(cascade: &Cascade, integral: &Integral) -> Self {
        let layouts = [integral.layout(false), integral.layout(true)];
        Self {
            scalar: layouts.map(|layout| scalar::Program::new(cascade, layout)),
            work: 0,
        }
    }

    /// Calls `found` with the index of each window of the row that passes all
    /// stages, from the left.
    pub(super) fn row(&mut self, integral: &Integral, row: Row, mut found: impl FnMut(u32)) {
        let which = usize::from(row.split);
        self.work += self.scalar[which].row(integral, row, &mut found);
    }

    /// Features evaluated since the start, a packed evaluation counting as
    /// one.
    pub(super) const fn work(&self) -> u64 {
        self.work
    }
}

/// Whether the cascade needs tilted sums.
pub(super) fn needs_tilted(cascade: &Cascade) -> bool {
    match &cascade.features {
        Features::Haar(list) => list.iter().any(|feature| feature.tilted),
        Features::Lbp(_) => false,
    }
}

/// Offsets of the corners of an upright or tilted rectangle; its sum is
/// `c[0] - c[1] - c[2] + c[3]`.
fn corners(rect: &super::cascade::WeightedRect, tilted: bool, layout: Layout) -> [usize; 4] {
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
fn block_corners(feature: &super::cascade::LbpFeature, layout: Layout) -> [usize; 16] {
    std::array::from_fn(|index| {
        let (column, row) = (index as u32 % 4, index as u32 / 4);
        layout.corner(
            feature.x + column * feature.width,
            feature.y + row * feature.height,
        )
    })
}
