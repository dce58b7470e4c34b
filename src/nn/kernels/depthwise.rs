//! What the 3x3 depthwise convolutions of all instruction sets have in common:
//! how weights are packed, and in which order rows are computed. Each set has
//! its own code for a row, because it computes another number of channels, rows
//! and outputs at once.

use std::fmt::Debug;

use super::arithmetic::{Ends, Requantizer};
use super::geometry::{Geometry, Picture, Rows};

/// A depthwise convolution for one instruction set.
pub(super) trait Windows: Debug + Send + Sync {
    /// Bytes that the packed weights take.
    fn bytes(&self) -> usize;

    /// How many channels it computes, from the first on.
    fn channels(&self) -> usize;

    /// Rows of outputs made at once.
    fn rows_at_once(&self, geometry: &Geometry) -> usize {
        rows_at_once(geometry.stride[0])
    }

    /// Computes [`rows_at_once`](Self::rows_at_once) rows of outputs from four
    /// rows of inputs; one row less if the last would be beyond the end.
    fn rows(&self, geometry: &Geometry, rows: &Rows<'_, 4>, ends: Ends, output: &mut [u8]);
}

/// Rows of outputs that four rows of inputs are enough for.
pub(super) const fn rows_at_once(stride: usize) -> usize {
    if stride == 1 { 2 } else { 1 }
}

/// Whether there are kernels for the window and the stride.
pub(super) fn fits(geometry: &Geometry) -> bool {
    geometry.window == [3, 3] && [[1, 1], [2, 2]].contains(&geometry.stride)
}

/// The weights of a window's column for four rows of inputs, with `above` rows
/// over the window: the row that the window does not see has a weight of zero.
pub(super) fn column_weights(
    weights: &[i8],
    channel: usize,
    above: usize,
    column: usize,
) -> [i8; 4] {
    std::array::from_fn(|row| {
        let row = row.checked_sub(above).filter(|row| *row < 3);
        row.map_or(0, |row| weights[channel * 9 + row * 3 + column])
    })
}

/// Rows of outputs from `first` on.
pub(super) fn run(
    windows: &dyn Windows,
    geometry: &Geometry,
    requantizer: &Requantizer,
    first: usize,
    input: &Picture<'_>,
    output: &mut [u8],
) {
    let ends = Ends::new(requantizer.zero, &requantizer.range);
    let at_once = windows.rows_at_once(geometry);
    let out_line = geometry.out_width * geometry.channels;
    for (index, output) in output.chunks_mut(at_once * out_line).enumerate() {
        let rows = input.rows(geometry, first + at_once * index);
        windows.rows(geometry, &rows, ends, output);
    }
}
