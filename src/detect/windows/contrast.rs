//! The contrast of windows, by which sums are normalised.

use crate::detect::integral::Layout;

/// The limit below which a window is too plain, as a limit for `area / (area *
/// deviation)`.
pub(super) const PLAIN: f64 = 0.1;

/// The factor for a feature's sum, for windows of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contrast {
    /// Corners of the window without a border of one pixel.
    pub corners: [usize; 4],
    pub area: f64,
}

impl Contrast {
    pub fn new(window: (u32, u32), layout: Layout) -> Self {
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
    pub fn factor(&self, sums: &[i32], squares: &[u32], origin: usize) -> Option<f32> {
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
