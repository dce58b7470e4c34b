//! The cascade as OpenCV evaluates it, one window after the other: the
//! reference for [`super::lanes`], and the only code for other processors.

use super::contrast::Contrast;
use super::places::{block_corners, corners};
use crate::detect::cascade::{Cascade, Child, Features, Split, Stage};
use crate::detect::integral::{Integral, Layout};

/// A cascade with its corners as offsets into an integral image.
#[derive(Clone, Debug)]
pub(super) struct Program {
    contrast: Option<Contrast>,
    features: Corners,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
enum Corners {
    Haar(Vec<Vec<([usize; 4], f32)>>),
    Lbp(Vec<[usize; 16]>),
}

impl Program {
    pub(super) fn new(cascade: &Cascade, layout: Layout) -> Self {
        let (contrast, features) = match &cascade.features {
            Features::Haar(list) => (
                Some(Contrast::new(cascade.window, layout)),
                Corners::Haar(
                    list.iter()
                        .map(|feature| {
                            feature
                                .rects
                                .iter()
                                .map(|rect| (corners(rect, feature.tilted, layout), rect.weight))
                                .collect()
                        })
                        .collect(),
                ),
            ),
            // Patterns compare blocks with each other, so they do not depend on
            // contrast.
            Features::Lbp(list) => (
                None,
                Corners::Lbp(
                    list.iter()
                        .map(|feature| block_corners(feature, layout))
                        .collect(),
                ),
            ),
        };
        Self {
            contrast,
            features,
            stages: cascade.stages.clone(),
        }
    }

    pub(super) const fn contrast(&self) -> Option<&Contrast> {
        self.contrast.as_ref()
    }

    /// Calls `found` with each window of a row that passes, and returns how many
    /// features were evaluated. The first window starts at `origin`.
    pub(super) fn row(
        &self,
        integral: &Integral,
        origin: usize,
        columns: usize,
        mut found: impl FnMut(u32),
    ) -> u64 {
        let mut work = 0;
        let mut column = 0;
        while column < columns {
            let origin = origin + column;
            let passed = match &self.contrast {
                None => Some(1.0),
                Some(contrast) => contrast.factor(integral.sums(), integral.squares(), origin),
            }
            .map(|factor| {
                work += 1;
                self.stages
                    .iter()
                    .take_while(|stage| {
                        work += stage.trees.len() as u64;
                        self.passes(stage, integral.sums(), origin, factor)
                    })
                    .count()
            });
            if passed == Some(self.stages.len()) {
                found(column as u32);
            }
            // If a window fails the first stage, its neighbour is skipped.
            column += if passed == Some(0) { 2 } else { 1 };
        }
        work
    }

    /// Whether the window at `origin` passes stage number `stage`.
    pub(super) fn passes_stage(
        &self,
        stage: usize,
        sums: &[i32],
        origin: usize,
        factor: f32,
    ) -> bool {
        self.passes(&self.stages[stage], sums, origin, factor)
    }

    fn passes(&self, stage: &Stage, sums: &[i32], origin: usize, factor: f32) -> bool {
        let mut total = 0.0_f64;
        for tree in &stage.trees {
            let mut node = &tree.nodes[0];
            total += loop {
                let left = match node.split {
                    Split::Below(threshold) => {
                        self.haar(node.feature, sums, origin) * factor < threshold
                    }
                    Split::In(ref subset) => {
                        let code = self.lbp(node.feature, sums, origin);
                        subset[usize::from(code) / 32] >> (code % 32) & 1 != 0
                    }
                };
                match if left { node.left } else { node.right } {
                    Child::Leaf(value) => break f64::from(value),
                    Child::Node(next) => node = &tree.nodes[next],
                }
            };
        }
        total >= f64::from(stage.threshold)
    }

    /// The weighted sum of a feature's rectangles, rounded to `f32` after each
    /// step from left to right.
    fn haar(&self, feature: usize, sums: &[i32], origin: usize) -> f32 {
        let Corners::Haar(features) = &self.features else {
            unreachable!("a threshold is only read for Haar features");
        };
        let at = |corner: usize| sums[origin + corner];
        let mut value = 0.0;
        for (index, &([a, b, c, d], weight)) in features[feature].iter().enumerate() {
            let sum = at(a)
                .wrapping_sub(at(b))
                .wrapping_sub(at(c))
                .wrapping_add(at(d));
            let term = weight * sum as f32;
            value = if index == 0 { term } else { value + term };
        }
        value
    }

    /// Which of the 8 outer blocks are at least as bright as the middle one,
    /// clockwise from the top left, which is the highest bit.
    fn lbp(&self, feature: usize, sums: &[i32], origin: usize) -> u8 {
        let Corners::Lbp(features) = &self.features else {
            unreachable!("a subset is only read for LBP features");
        };
        let corners = &features[feature];
        let at = |index: usize| sums[origin + corners[index]];
        let block = |first: usize| {
            at(first)
                .wrapping_sub(at(first + 1))
                .wrapping_sub(at(first + 4))
                .wrapping_add(at(first + 5))
        };
        let middle = block(5);
        OUTER_BLOCKS.iter().fold(0, |code, &first| {
            code << 1 | u8::from(block(first) >= middle)
        })
    }
}

/// The top left corners of the outer blocks, of 4x4 corners, clockwise.
pub(super) const OUTER_BLOCKS: [usize; 8] = [0, 1, 2, 6, 10, 9, 8, 4];
