//! Pictures copied onto a canvas, enlarged or reduced by a whole factor.

use embedded_graphics::pixelcolor::Rgb888;

use super::canvas::Canvas;

/// A whole factor by which a picture is enlarged or reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    times: u32,
    over: u32,
}

impl Scale {
    /// The picture as it is.
    pub const NONE: Self = Self { times: 1, over: 1 };

    /// Enlarges by repeating pixels.
    #[must_use]
    pub fn enlarging(times: u32) -> Self {
        Self {
            times: times.max(1),
            over: 1,
        }
    }

    /// Reduces a picture whose longer side is above `largest` until it is not.
    #[must_use]
    pub fn reducing((width, height): (u32, u32), largest: u32) -> Self {
        Self {
            times: 1,
            over: width.max(height).div_ceil(largest.max(1)).max(1),
        }
    }

    /// The size of a picture after scaling.
    #[must_use]
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        let scaled = |side: u32| (side * self.times / self.over).max(1);
        (scaled(width), scaled(height))
    }

    /// A length or a place after scaling.
    #[must_use]
    pub fn length(self, pixels: f32) -> f32 {
        pixels * self.times as f32 / self.over as f32
    }

    /// Copies a picture of a size to the canvas's top left corner, enlarged by
    /// repeating pixels or reduced by the mean of blocks. `at` gives a pixel of
    /// the picture. What does not fit is left out.
    pub fn copy(
        self,
        canvas: &mut Canvas<Rgb888>,
        from: (u32, u32),
        at: impl Fn(u32, u32) -> [u8; 3],
    ) {
        let (width, height) = self.size(from);
        for y in 0..height.min(canvas.height()) {
            let row = canvas.row_mut(y);
            for (x, pixel) in (0..width).zip(row) {
                let [r, g, b] = if self.over == 1 {
                    at(x / self.times, y / self.times)
                } else {
                    self.mean((x, y), from, &at)
                };
                *pixel = Rgb888::new(r, g, b);
            }
        }
    }

    /// The mean of the block that becomes the pixel (`x`, `y`).
    fn mean(
        self,
        (x, y): (u32, u32),
        (width, height): (u32, u32),
        at: &impl Fn(u32, u32) -> [u8; 3],
    ) -> [u8; 3] {
        let block = |from: u32, side: u32| {
            let start = from * self.over;
            start..(start + self.over).min(side)
        };
        let mut sums = [0_u32; 3];
        let mut count = 0;
        for v in block(y, height) {
            for u in block(x, width) {
                for (sum, value) in sums.iter_mut().zip(at(u, v)) {
                    *sum += u32::from(value);
                }
                count += 1;
            }
        }
        sums.map(|sum| ((sum + count / 2) / count.max(1)) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::pixelcolor::RgbColor;

    fn reds(scale: Scale, from: (u32, u32), at: impl Fn(u32, u32) -> u8) -> Vec<u8> {
        let (width, height) = scale.size(from);
        let mut canvas = Canvas::new(width, height, Rgb888::BLACK);
        scale.copy(&mut canvas, from, |x, y| [at(x, y), 0, 0]);
        canvas.pixels().iter().map(|pixel| pixel.r()).collect()
    }

    #[test]
    fn pixels_are_repeated_or_averaged() {
        let picture = |x: u32, y: u32| (10 * x + y) as u8;
        assert_eq!(reds(Scale::NONE, (2, 2), picture), [0, 10, 1, 11]);
        assert_eq!(
            reds(Scale::enlarging(2), (2, 1), picture),
            [0, 0, 10, 10, 0, 0, 10, 10]
        );
        // The mean of 0, 10, 1 and 11, rounded up.
        let half = Scale::reducing((4, 2), 2);
        assert_eq!(reds(half, (4, 2), picture), [6, 26]);
        assert_eq!(half.length(5.0), 2.5);
        // A last column without a whole block is left out.
        assert_eq!(half.size((5, 3)), (2, 1));
        assert_eq!(reds(half, (1, 1), |_, _| 9), [9]);
    }
}
