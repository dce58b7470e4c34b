//! Crop: cuts a face box out of a luma plane and resizes it to the network's
//! input.
//!
//! A network is only accurate on pictures like those of its training, so
//! training and daemon must cut and resize faces in the same way, to the bit.
//! Training uses Pillow; this module reproduces `Image.resize(size,
//! Image.BILINEAR)` on 8-bit gray: a triangle filter whose support grows with
//! the reduction (so that it also smooths), coefficients in 22-bit fixed point,
//! and a horizontal pass, rounded to 8 bits, before a vertical one.

use super::error::ClassifyError;
use super::manifest::CropRule;
use crate::frame::{LumaView, Rect};

/// The largest side of a crop in pixels, before resizing.
pub const MAX_CROP: i64 = 32_000;

/// Fraction bits of a filter coefficient: 32 minus 8 for the pixel and 2 as a
/// reserve, as in Pillow.
const FRACTION_BITS: u32 = 22;

/// The filter along one axis for one pair of sizes.
#[derive(Debug, Default)]
struct Axis {
    from: usize,
    to: usize,
    /// First source pixel and number of source pixels for each output pixel.
    spans: Vec<(u32, u32)>,
    /// The coefficients of all output pixels, one span after another.
    weights: Vec<i32>,
}

impl Axis {
    /// Allocates memory for every source size up to `from`.
    fn reserve(&mut self, from: usize, to: usize) {
        let support = (from.max(to)).div_ceil(to);
        self.spans.reserve(to);
        self.weights.reserve(to * (2 * support + 1));
    }

    fn prepare(&mut self, from: usize, to: usize) {
        if (self.from, self.to) == (from, to) {
            return;
        }
        (self.from, self.to) = (from, to);
        self.spans.clear();
        self.weights.clear();
        let scale = from as f64 / to as f64;
        let support = scale.max(1.0);
        let per_pixel = 1.0 / support;
        for out in 0..to {
            let centre = (out as f64 + 0.5) * scale;
            // `as` truncates towards zero and saturates, as the C casts do here.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let triangle = |x: usize| {
                let distance = ((x as f64 - centre + 0.5) * per_pixel).abs();
                if distance < 1.0 { 1.0 - distance } else { 0.0 }
            };
            let sum: f64 = (first..end).fold(0.0, |sum, x| sum + triangle(x));
            for x in first..end {
                let weight = if sum == 0.0 { 0.0 } else { triangle(x) / sum };
                self.weights
                    .push((weight * f64::from(1 << FRACTION_BITS) + 0.5) as i32);
            }
            self.spans.push((first as u32, (end - first) as u32));
        }
    }

    /// For each output pixel: the first source pixel, and the weights.
    fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut weights = self.weights.as_slice();
        self.spans.iter().map(move |&(first, count)| {
            let (taps, rest) = weights.split_at(count as usize);
            weights = rest;
            (first as usize, taps)
        })
    }
}

const HALF: i32 = 1 << (FRACTION_BITS - 1);

fn round(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// A rectangle that may reach out of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    x: i64,
    y: i64,
    width: usize,
    height: usize,
}

impl Window {
    /// The square around a face box.
    fn around(face: Rect, rule: &CropRule) -> Result<Self, ClassifyError> {
        if face.width == 0 || face.height == 0 {
            return Err(ClassifyError::EmptyBox { face });
        }
        let (x, y) = face.centre();
        let x = x + rule.shift_x * f64::from(face.width);
        let y = y + rule.shift_y * f64::from(face.height);
        let side = f64::from(face.width.max(face.height)) * rule.scale;
        let n = ((side + 0.5).floor() as i64).max(1);
        if n > MAX_CROP {
            return Err(ClassifyError::LargeBox {
                face,
                side: n,
                limit: MAX_CROP,
            });
        }
        Ok(Self {
            x: (x - side / 2.0 + 0.5).floor() as i64,
            y: (y - side / 2.0 + 0.5).floor() as i64,
            width: n as usize,
            height: n as usize,
        })
    }
}

/// Cuts windows out of pictures and resizes them to one size.
#[derive(Debug)]
pub struct Cropper {
    width: usize,
    height: usize,
    across: Axis,
    down: Axis,
    /// One row of the window, used where the window reaches out of the picture.
    row: Vec<u8>,
    /// The window's rows after the horizontal pass: `window height x width`.
    narrow: Vec<u8>,
    pixels: Vec<u8>,
    sums: Vec<i32>,
}

impl Cropper {
    /// A cropper to `width x height` pixels.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            across: Axis::default(),
            down: Axis::default(),
            row: Vec::new(),
            narrow: Vec::new(),
            pixels: vec![0; width * height],
            sums: vec![0; width],
        }
    }

    /// Allocates memory for windows up to `width x height`, so that they
    /// allocate nothing later.
    pub fn reserve(&mut self, width: usize, height: usize) {
        self.across.reserve(width, self.width);
        self.down.reserve(height, self.height);
        self.row.reserve(width);
        self.narrow.reserve(height * self.width);
    }

    /// The pixels of the last crop, `width * height`, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The face in `face`, cut by `rule`: `width * height` pixels, row by row.
    ///
    /// # Errors
    /// The square around the face is empty or too large.
    pub fn face(
        &mut self,
        luma: &LumaView<'_>,
        face: Rect,
        rule: &CropRule,
    ) -> Result<&[u8], ClassifyError> {
        let window = Window::around(face, rule)?;
        Ok(self.resize(luma, window))
    }

    /// The whole picture: `width * height` pixels, row by row.
    pub fn whole(&mut self, luma: &LumaView<'_>) -> &[u8] {
        let window = Window {
            x: 0,
            y: 0,
            width: luma.width() as usize,
            height: luma.height() as usize,
        };
        self.resize(luma, window)
    }

    fn resize(&mut self, luma: &LumaView<'_>, window: Window) -> &[u8] {
        self.across.prepare(window.width, self.width);
        self.down.prepare(window.height, self.height);
        self.narrow.resize(window.height * self.width, 0);
        let last = i64::from(luma.height()) - 1;
        let mut before = None;
        for y in 0..window.height {
            let source = (window.y + y as i64).clamp(0, last);
            let start = y * self.width;
            if before == Some(source) {
                // A row outside of the picture repeats the edge.
                self.narrow.copy_within(start - self.width..start, start);
                continue;
            }
            before = Some(source);
            let row = cut(luma.row(source as u32), window, &mut self.row);
            let narrow = &mut self.narrow[start..start + self.width];
            if window.width == self.width {
                narrow.copy_from_slice(row);
                continue;
            }
            for (out, (first, taps)) in narrow.iter_mut().zip(self.across.taps()) {
                let source = &row[first..first + taps.len()];
                *out = round(
                    source
                        .iter()
                        .zip(taps)
                        .fold(HALF, |sum, (&pixel, &tap)| sum + i32::from(pixel) * tap),
                );
            }
        }
        if window.height == self.height {
            self.pixels.copy_from_slice(&self.narrow);
            return &self.pixels;
        }
        let rows = self.pixels.chunks_exact_mut(self.width);
        for (out, (first, taps)) in rows.zip(self.down.taps()) {
            self.sums.fill(HALF);
            let sources = self.narrow[first * self.width..].chunks_exact(self.width);
            for (source, &tap) in sources.zip(taps) {
                for (sum, &pixel) in self.sums.iter_mut().zip(source) {
                    *sum += i32::from(pixel) * tap;
                }
            }
            for (out, &sum) in out.iter_mut().zip(&self.sums) {
                *out = round(sum);
            }
        }
        &self.pixels
    }
}

/// The part of a row under the window; beyond its ends the end pixel is
/// repeated.
fn cut<'a>(row: &'a [u8], window: Window, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let length = row.len() as i64;
    let end = window.x + window.width as i64;
    if window.x >= 0 && end <= length {
        return &row[window.x as usize..end as usize];
    }
    let left = window.x.clamp(0, length);
    let right = end.clamp(0, length).max(left);
    let before = (left - window.x).clamp(0, window.width as i64) as usize;
    buffer.clear();
    buffer.resize(before, row[0]);
    buffer.extend_from_slice(&row[left as usize..right as usize]);
    buffer.resize(window.width, row[row.len() - 1]);
    buffer
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Filter;
    use super::*;
    use proptest::prelude::*;

    const RULE: CropRule = CropRule {
        scale: 1.0,
        shift_x: 0.0,
        shift_y: 0.0,
        filter: Filter::PillowBilinear,
    };

    fn window(face: Rect, rule: CropRule) -> (i64, i64, usize) {
        let window = Window::around(face, &rule).unwrap();
        assert_eq!(window.width, window.height);
        (window.x, window.y, window.width)
    }

    #[test]
    fn the_window_follows_the_rule() {
        assert_eq!(window(Rect::new(10, 20, 30, 30), RULE), (10, 20, 30));
        // The longer side is used, and the centre stays: 25 - 20, 40 - 20.
        assert_eq!(window(Rect::new(10, 20, 30, 40), RULE), (5, 20, 40));
        let rule = CropRule {
            scale: 1.25,
            shift_x: -0.5,
            shift_y: 0.25,
            ..RULE
        };
        // Side 37.5 rounds to 38; 25 - 15 - 18.75 and 35 + 7.5 - 18.75.
        assert_eq!(window(Rect::new(10, 20, 30, 30), rule), (-9, 24, 38));
        let rule = CropRule { scale: 0.1, ..RULE };
        assert_eq!(window(Rect::new(0, 0, 1, 1), rule).2, 1);
    }

    #[test]
    fn boxes_that_cannot_be_cut_are_errors() {
        let view = LumaView::new(&[7], 1, 1, 1).unwrap();
        let mut cropper = Cropper::new(4, 4);
        for face in [Rect::new(0, 0, 0, 9), Rect::new(0, 0, 9, 0)] {
            assert!(matches!(
                cropper.face(&view, face, &RULE),
                Err(ClassifyError::EmptyBox { .. })
            ));
        }
        assert!(matches!(
            cropper.face(&view, Rect::new(0, 0, u32::MAX, 1), &RULE),
            Err(ClassifyError::LargeBox { .. })
        ));
    }

    #[test]
    fn outside_of_the_picture_the_edge_is_repeated() {
        let pixels = [1, 2, 3, 4, 5, 6];
        let view = LumaView::new(&pixels, 3, 2, 3).unwrap();
        let mut cropper = Cropper::new(5, 5);
        let rows = cropper.face(&view, Rect::new(-1, -2, 5, 5), &RULE).unwrap();
        let top = [1, 1, 2, 3, 3];
        let bottom = [4, 4, 5, 6, 6];
        assert_eq!(rows, [top, top, top, bottom, bottom].concat());
        // Completely outside: only the nearest corner.
        for (x, y, pixel) in [(-50, -50, 1), (50, -50, 3), (-50, 50, 4), (50, 50, 6)] {
            let face = cropper.face(&view, Rect::new(x, y, 5, 5), &RULE).unwrap();
            assert_eq!(face, [pixel; 25]);
        }
    }

    #[test]
    fn reserved_memory_is_enough() {
        let pixels = vec![9; 300 * 200];
        let view = LumaView::new(&pixels, 300, 200, 300).unwrap();
        let mut cropper = Cropper::new(48, 40);
        cropper.reserve(300, 300);
        let capacities = |c: &Cropper| {
            (
                c.across.weights.capacity(),
                c.down.weights.capacity(),
                c.across.spans.capacity(),
                c.row.capacity(),
                c.narrow.capacity(),
            )
        };
        let before = capacities(&cropper);
        for n in 1..=300 {
            cropper.face(&view, Rect::new(-7, -7, n, n), &RULE).unwrap();
        }
        assert_eq!(capacities(&cropper), before);
    }

    proptest! {
        #[test]
        fn a_flat_picture_stays_flat(
            value: u8,
            width in 1u32..40,
            height in 1u32..40,
            x in -60i32..60,
            y in -60i32..60,
            side in 1u32..200,
            to in (1usize..30, 1usize..30),
        ) {
            let pixels = vec![value; (width * height) as usize];
            let view = LumaView::new(&pixels, width, height, width as usize).unwrap();
            let mut cropper = Cropper::new(to.0, to.1);
            let face = cropper.face(&view, Rect::new(x, y, side, side), &RULE).unwrap();
            prop_assert!(face.iter().all(|&pixel| pixel == value));
            prop_assert!(cropper.whole(&view).iter().all(|&pixel| pixel == value));
        }
    }
}
