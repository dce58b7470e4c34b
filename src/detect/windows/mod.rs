//! Which windows of a row hold a face.
//!
//! The cascade is evaluated for a row of windows at a time, stage by stage, as
//! in the paper: a window that fails a stage is finished, and most fail the
//! first one.
//!
//! Three things come from OpenCV and not from the paper:
//! - **Contrast.** Features are divided by the standard deviation of the pixels
//!   in the window (without a border of one), times the area. A window with a
//!   deviation below 10 gray levels is rejected before the first stage.
//! - **Skipping.** If a window fails the first stage, the next one in its row
//!   is skipped, which nearly halves the work on plain ground. Each skip
//!   depends on earlier skips, so a row is always searched from its left end.
//!   See `skipped`.
//! - **Arithmetic.** Sums of rectangles are integers, a feature is `f32`, the
//!   sum over a stage is `f64`. No step may be fused or reordered where it
//!   could change a bit.
//!
//! `scalar` does this in plain code, one window after the other. It is the
//! reference. `lanes` evaluates 8 (AVX2) or 4 (NEON) windows at a time and
//! gives the same answer for every window of every picture; its documentation
//! explains how.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod contrast;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod places;
mod scalar;
mod skip;

use super::cascade::Cascade;
use super::integral::Integral;
use crate::isa::Isa;

pub(super) use places::{BATCH, Rows, needs_tilted};

/// Evaluates a cascade over rows of windows.
#[derive(Debug)]
pub(super) struct Evaluator {
    isa: Isa,
    /// For columns in their order, and split by parity.
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
            // The scalar code evaluates cascades whose sums do not fit the
            // packed arithmetic. No such cascade is known outside of tests.
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
                let job = lanes[which].job(scalar, integral, rows);
                self.work += search(self.isa, &job, &mut self.scratch);
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

/// Leaves the windows that pass in `scratch` and returns the work done, in
/// features times groups.
fn search(isa: Isa, job: &lanes::Job<'_>, scratch: &mut lanes::Scratch) -> u64 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(isa) => avx2::rows(isa, job, scratch),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni(isa) => avx2::rows(isa.avx2(), job, scratch),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(isa) => neon::rows(isa, job, scratch),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot(isa) => neon::rows(isa.neon(), job, scratch),
        Isa::Scalar => unreachable!("the plain search has no lanes"),
    }
}
