//! Cuts a turned square out of a picture: a network's view of a tilted head,
//! and the eye net's view of an eye.
//!
//! The square is sampled as the training does it: bilinearly, at several points
//! per pixel, depending on the reduction, whose values are averaged. Positions
//! have 16 fraction bits and sums are integers, so that all machines get the
//! same pixels.

use super::crop::MAX_CROP;
use super::error::ClassifyError;
use super::face_box::FaceBox;
use crate::frame::LumaView;

/// Fraction bits of a position.
const FRACTION: u32 = 16;

/// The largest number of points along each side of a pixel. A larger square is
/// smoothed too little, but reading all of its pixels would take too long.
const MOST_POINTS: f64 = 3.0;

/// Positions beyond this show only the picture's edge.
const FARTHEST: f64 = 1e5;

/// A square of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// The middle in pixels, x to the right and y down; the first pixel reaches
    /// from 0 to 1.
    pub centre: (f64, f64),
    /// The side in pixels, above 0.
    pub side: f64,
    /// How far the square is turned, in degrees clockwise. The pixels that are
    /// cut out are upright.
    pub turn: f64,
    /// Whether left and right are exchanged in the result.
    pub mirror: bool,
}

impl Square {
    /// The square around a face's box, turned like the face. Its side is
    /// `scale` times the longer side of the box.
    ///
    /// # Errors
    /// The box is empty, or the square absurdly large.
    pub fn around(face: FaceBox, scale: f64) -> Result<Self, ClassifyError> {
        let rect = face.rect;
        if rect.width == 0 || rect.height == 0 {
            return Err(ClassifyError::EmptyBox { face: rect });
        }
        let side = f64::from(rect.width.max(rect.height)) * scale;
        if side > MAX_CROP as f64 {
            return Err(ClassifyError::LargeBox {
                face: rect,
                side: side as i64,
                limit: MAX_CROP,
            });
        }
        Ok(Self {
            centre: rect.centre(),
            side,
            turn: f64::from(face.roll),
            mirror: false,
        })
    }

    /// The steps in the picture from a point of the square to the next one to
    /// the right and to the next one below, for a side of 1.
    fn axes(&self) -> ((f64, f64), (f64, f64)) {
        let (sin, cos) = self.turn.to_radians().sin_cos();
        let flip = if self.mirror { -1.0 } else { 1.0 };
        ((flip * cos, flip * sin), (-sin, cos))
    }

    /// The position in the picture of a point that is given in parts of the
    /// square's side from its upper left corner.
    #[must_use]
    pub fn in_picture(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (right, down) = self.axes();
        let (x, y) = ((x - 0.5) * self.side, (y - 0.5) * self.side);
        (
            self.centre.0 + x * right.0 + y * down.0,
            self.centre.1 + x * right.1 + y * down.1,
        )
    }
}

/// Cuts squares out of pictures, in one size.
#[derive(Debug)]
pub struct Sampler {
    size: usize,
    pixels: Vec<u8>,
}

impl Sampler {
    /// A sampler to `size` x `size` pixels.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            pixels: vec![0; size * size],
        }
    }

    /// The pixels of the last square, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels of a square, row by row. Outside of the picture its edge is
    /// repeated.
    pub fn cut(&mut self, luma: &LumaView<'_>, square: &Square) -> &[u8] {
        let pixel = square.side / self.size as f64;
        let points = if pixel > 1.4 {
            pixel.ceil().min(MOST_POINTS)
        } else {
            1.0
        };
        let step = pixel / points;
        let (right, down) = square.axes();
        // Moves to the middle of the first point; below, the middle of a pixel
        // has whole numbers.
        let first = square.in_picture((0.0, 0.0));
        let first = (
            first.0 + (right.0 + down.0) * step / 2.0 - 0.5,
            first.1 + (right.1 + down.1) * step / 2.0 - 0.5,
        );
        let walk = Walk {
            start: (fixed(first.0), fixed(first.1)),
            right: (fixed(right.0 * step), fixed(right.1 * step)),
            down: (fixed(down.0 * step), fixed(down.1 * step)),
        };
        let points = points as usize;
        let corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)];
        let inside = corners.iter().all(|corner| {
            let (x, y) = square.in_picture(*corner);
            x >= 1.0
                && y >= 1.0
                && x <= f64::from(luma.width()) - 2.0
                && y <= f64::from(luma.height()) - 2.0
        });
        if inside {
            self.sample::<true>(luma, &walk, points);
        } else {
            self.sample::<false>(luma, &walk, points);
        }
        &self.pixels
    }

    fn sample<const INSIDE: bool>(&mut self, luma: &LumaView<'_>, walk: &Walk, points: usize) {
        let most = (
            (i64::from(luma.width()) - 1) << FRACTION,
            (i64::from(luma.height()) - 1) << FRACTION,
        );
        // 16 fraction bits of two weights of 8.
        let count = (points * points) as u32;
        for (row, pixels) in self.pixels.chunks_exact_mut(self.size).enumerate() {
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let mut sum = 0_u32;
                for v in 0..points {
                    let (mut x, mut y) = walk.at(column * points, row * points + v);
                    for _ in 0..points {
                        let (px, py) = if INSIDE {
                            (x, y)
                        } else {
                            (x.clamp(0, most.0), y.clamp(0, most.1))
                        };
                        sum += bilinear(luma, px, py) >> 8;
                        x += walk.right.0;
                        y += walk.right.1;
                    }
                }
                // At most 9 points of 16 bits.
                *pixel = ((sum + count * 128) / (count * 256)).min(255) as u8;
            }
        }
    }
}

/// The points of a square in the picture, in fixed point.
struct Walk {
    start: (i64, i64),
    right: (i64, i64),
    down: (i64, i64),
}

impl Walk {
    fn at(&self, column: usize, row: usize) -> (i64, i64) {
        let (column, row) = (column as i64, row as i64);
        (
            self.start.0 + column * self.right.0 + row * self.down.0,
            self.start.1 + column * self.right.1 + row * self.down.1,
        )
    }
}

fn fixed(value: f64) -> i64 {
    let value = value.clamp(-FARTHEST, FARTHEST);
    (value * f64::from(1 << FRACTION)).round() as i64
}

/// The luma at a place, 255 being 255 << 16.
fn bilinear(luma: &LumaView<'_>, x: i64, y: i64) -> u32 {
    let (column, row) = ((x >> FRACTION) as usize, (y >> FRACTION) as u32);
    let (fx, fy) = ((x >> 8 & 255) as u32, (y >> 8 & 255) as u32);
    let above = luma.row(row.min(luma.height() - 1));
    let below = luma.row((row + 1).min(luma.height() - 1));
    let column = column.min(above.len() - 1);
    let next = (column + 1).min(above.len() - 1);
    let across = |row: &[u8]| u32::from(row[column]) * (256 - fx) + u32::from(row[next]) * fx;
    across(above) * (256 - fy) + across(below) * fy
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn square(centre: (f64, f64), side: f64, turn: f64) -> Square {
        Square {
            centre,
            side,
            turn,
            mirror: false,
        }
    }

    /// A picture whose luma is 2 x + y.
    fn slope() -> Vec<u8> {
        (0..60 * 60)
            .map(|i| (2 * (i % 60) + i / 60) as u8)
            .collect()
    }

    #[test]
    fn a_square_of_the_same_size_is_a_copy() {
        let pixels = slope();
        let view = LumaView::new(&pixels, 60, 60, 60).unwrap();
        let mut sampler = Sampler::new(8);
        let cut = sampler.cut(&view, &square((14.0, 24.0), 8.0, 0.0)).to_vec();
        let expected: Vec<u8> = (0..64)
            .map(|i| (2 * (10 + i % 8) + 20 + i / 8) as u8)
            .collect();
        assert_eq!(cut, expected);
        let mirrored = Square {
            mirror: true,
            ..square((14.0, 24.0), 8.0, 0.0)
        };
        let cut = sampler.cut(&view, &mirrored);
        let expected: Vec<u8> = expected
            .chunks(8)
            .flat_map(|row| row.iter().rev().copied())
            .collect();
        assert_eq!(cut, expected);
    }

    #[test]
    fn a_square_that_leans_to_the_right_is_set_upright() {
        let pixels = slope();
        let view = LumaView::new(&pixels, 60, 60, 60).unwrap();
        let mut sampler = Sampler::new(8);
        // Turned clockwise by 90 degrees, the top of the square points to the
        // right: its left to right is downwards in the picture, and its top to
        // bottom is to the left.
        let cut = sampler.cut(&view, &square((30.0, 30.0), 8.0, 90.0));
        assert_eq!(cut[0], (2 * 33 + 26) as u8);
        assert_eq!(cut[7], (2 * 33 + 33) as u8);
        assert_eq!(cut[56], (2 * 26 + 26) as u8);
    }

    #[test]
    fn a_reduced_square_is_averaged() {
        // Stripes of one pixel become gray when they are reduced.
        let pixels: Vec<u8> = (0..60 * 60).map(|i| 200 * (i % 2) as u8).collect();
        let view = LumaView::new(&pixels, 60, 60, 60).unwrap();
        let mut sampler = Sampler::new(20);
        for side in [40.0, 56.0] {
            let cut = sampler.cut(&view, &square((30.0, 30.0), side, 0.0));
            assert!(
                cut.iter().all(|p| (60..=140).contains(p)),
                "{side}: {cut:?}"
            );
        }
    }

    #[test]
    fn points_are_found_again_in_the_picture() {
        let leaning = square((100.0, 50.0), 40.0, 90.0);
        let (x, y) = leaning.in_picture((0.5, 0.5));
        assert!((x - 100.0).abs() < 1e-9 && (y - 50.0).abs() < 1e-9);
        // The middle of the upper edge points to the right.
        let (x, y) = leaning.in_picture((0.5, 0.0));
        assert!((x - 120.0).abs() < 1e-9 && (y - 50.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn a_flat_picture_stays_flat(
            value: u8,
            size in (1_u32..40, 1_u32..40),
            centre in (-1e7_f64..1e7, -60.0_f64..60.0),
            side in 0.01_f64..1e6,
            turn in -720.0_f64..720.0,
            mirror: bool,
        ) {
            let pixels = vec![value; (size.0 * size.1) as usize];
            let view = LumaView::new(&pixels, size.0, size.1, size.0 as usize).unwrap();
            let mut sampler = Sampler::new(16);
            let cut = sampler.cut(&view, &Square { centre, side, turn, mirror });
            prop_assert!(cut.iter().all(|pixel| *pixel == value));
        }
    }
}
