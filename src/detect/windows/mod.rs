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
//!   walked from its left end. See `skipped`.
//! - **Arithmetic.** Sums of rectangles are integers, a feature is `f32`, the
//!   sum over a stage is `f64`. No step may be fused or reordered where it
//!   could change a bit.
//!
//! `scalar` is that, written down plainly: one window after the other. It is
//! the reference. `lanes` does the same for 8 (AVX2) or 4 (NEON) windows at a
//! time, and gives the same answer for every window of every picture; how, is
//! explained there.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use super::cascade::{Cascade, Features};
use super::integral::{Integral, Layout};
use crate::isa::Isa;

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

/// Rows of windows that are evaluated together, at most.
pub(super) const BATCH: usize = 8;

/// Some rows of windows in the integral image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Where the first window of the first row has its top left corner.
    pub origin: usize,
    /// Words from a row of windows to the next.
    pub pitch: usize,
    /// From 1 to [`BATCH`].
    pub rows: usize,
    /// Windows in each row, each one word after the last.
    pub columns: usize,
    /// Whether the integral image's columns are split by parity.
    pub split: bool,
}

/// Evaluates a cascade over rows of windows.
#[derive(Debug)]
pub(super) struct Evaluator {
    isa: Isa,
    /// For columns as they are, and split by parity.
    scalar: [scalar::Program; 2],
    lanes: Option<[lanes::Program; 2]>,
    scratch: lanes::Scratch,
    /// Corner sums read so far, the measure of work.
    work: u64,
}

impl Evaluator {
    /// For an integral image of a certain size, and up to `columns` windows in
    /// a row.
    pub(super) fn new(cascade: &Cascade, isa: Isa, integral: &Integral, columns: usize) -> Self {
        let layouts = [integral.layout(false), integral.layout(true)];
        let lanes = match isa {
            Isa::Scalar => None,
            // Cascades whose sums do not fit the packed arithmetic are left to
            // the plain one: none is known outside of tests.
            _ => lanes::Program::pair(cascade, layouts),
        };
        Self {
            isa,
            scalar: layouts.map(|layout| scalar::Program::new(cascade, layout)),
            lanes,
            scratch: lanes::Scratch::new(columns),
            work: 0,
        }
    }

    /// Calls `found` with row and column of each window that passes all stages,
    /// from the top and the left.
    pub(super) fn rows(
        &mut self,
        integral: &Integral,
        rows: Rows,
        mut found: impl FnMut(u32, u32),
    ) {
        let which = usize::from(rows.split);
        let scalar = &self.scalar[which];
        match &self.lanes {
            None => {
                for row in 0..rows.rows {
                    let origin = rows.origin + row * rows.pitch;
                    self.work += scalar.row(integral, origin, rows.columns, |column| {
                        found(row as u32, column);
                    });
                }
            }
            Some(lanes) => {
                self.work += lanes[which].rows(self.isa, scalar, integral, rows, &mut self.scratch);
                for (row, column) in self.scratch.survivors() {
                    found(row, column);
                }
            }
        }
    }

    /// Features evaluated since the start, a packed evaluation counting as
    /// one.
    pub(super) const fn work(&self) -> u64 {
        self.work
    }
}

/// Which of 64 neighbouring windows are skipped, given those that fail the
/// first stage: each one after a failed one that was not itself skipped.
/// `skip_next` carries over from one call to the next along a row.
///
/// Within a run of failed windows every second one is skipped, starting with
/// the one after the first, and including the one after the run. That is the
/// rule by which backslashes escape each other in a string, and the arithmetic
/// is simdjson's for those (G. Langdale, D. Lemire: "Parsing gigabytes of JSON
/// per second", VLDB Journal 2019): an addition lets a carry run to the end of
/// each run that starts at an odd place.
fn skipped(failed: u64, skip_next: &mut bool) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let carried = u64::from(*skip_next);
    let failed = failed & !carried;
    let after_failed = failed << 1 | carried;
    let odd_starts = failed & !EVEN & !after_failed;
    let (runs, overflow) = odd_starts.overflowing_add(failed);
    *skip_next = overflow;
    (EVEN ^ (runs << 1)) & after_failed
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn skipping_follows_the_rule(words in prop::collection::vec(any::<u64>(), 1..4), thin in any::<u64>()) {
            // Both dense and sparse failures.
            for mask in [!0, thin, thin & thin.rotate_left(7)] {
                let (mut skip, mut carry) = (false, false);
                for &word in &words {
                    let failed = word & mask | !mask & !word & thin;
                    let got = skipped(failed, &mut carry);
                    for bit in 0..64 {
                        prop_assert_eq!(got >> bit & 1 == 1, skip, "bit {} of {:x}", bit, failed);
                        skip = !skip && failed >> bit & 1 == 1;
                    }
                }
            }
        }
    }
}
