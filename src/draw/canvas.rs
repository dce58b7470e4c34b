//! A picture in memory: everything is drawn here first, so that only the
//! changes have to be sent to the device.
//!
//! A display's bus is slow (a whole SSD1306 takes 100 ms at 100 kHz) and
//! usually only a part of the picture changes. So the canvas is compared with
//! the picture on the device, and the difference is sent as a few rectangles.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::PixelColor;
use embedded_graphics::primitives::Rectangle;

use crate::frame::Rect;

/// A picture of `width` x `height` pixels, row by row from the top left.
#[derive(Clone, Debug, PartialEq)]
pub struct Canvas<C> {
    pixels: Vec<C>,
    width: u32,
    height: u32,
}

impl<C: PixelColor> Canvas<C> {
    /// A canvas of one colour. Only this function allocates.
    #[must_use]
    pub fn new(width: u32, height: u32, color: C) -> Self {
        Self {
            pixels: vec![color; width as usize * height as usize],
            width,
            height,
        }
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// All pixels, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[C] {
        &self.pixels
    }

    /// The pixels of row `y`.
    ///
    /// # Panics
    /// If `y` is not below the height.
    #[must_use]
    pub fn row(&self, y: u32) -> &[C] {
        let width = self.width as usize;
        &self.pixels[y as usize * width..][..width]
    }

    /// The pixels of row `y`, to change them.
    ///
    /// # Panics
    /// If `y` is not below the height.
    #[must_use]
    pub fn row_mut(&mut self, y: u32) -> &mut [C] {
        let width = self.width as usize;
        &mut self.pixels[y as usize * width..][..width]
    }

    /// The pixels of row `y` in a rectangle's columns.
    ///
    /// # Panics
    /// If the rectangle's columns or the row are outside of the canvas.
    #[must_use]
    pub fn span(&self, rect: Rect, y: u32) -> &[C] {
        let x = usize::try_from(rect.x).expect("a rectangle inside of the canvas");
        &self.row(y)[x..][..rect.width as usize]
    }

    /// Copies the other canvas's pixels.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn copy_from(&mut self, other: &Self) {
        self.pixels.copy_from_slice(&other.pixels);
    }

    /// The whole canvas as a rectangle.
    #[must_use]
    pub const fn bounds(&self) -> Rect {
        Rect::new(0, 0, self.width, self.height)
    }

    /// Where `self` differs from `shown`, as rectangles that cover every
    /// differing pixel and do not overlap, top to bottom.
    ///
    /// `grain` describes the device: see [`Grain`]. `rects` is cleared and
    /// filled; its memory is reused.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn changes(&self, shown: &Self, grain: Grain, rects: &mut Vec<Rect>) {
        assert_eq!((self.width, self.height), (shown.width, shown.height));
        rects.clear();
        let band = grain.band.max(1);
        let mut top = 0;
        while top < self.height {
            let height = band.min(self.height - top);
            let above = rects.len();
            self.changes_in_band(shown, top, height, grain.overhead, rects);
            // Two bands, one directly below the other, are sent as one
            // rectangle if that takes less time.
            if rects.len() == above + 1 && above > 0 {
                let (upper, lower) = (rects[above - 1], rects[above]);
                let left = upper.x.min(lower.x);
                let right = upper.right().max(lower.right());
                let both = Rect::new(
                    left,
                    upper.y,
                    u32::try_from(right - i64::from(left)).unwrap_or(0),
                    upper.height + lower.height,
                );
                let alone = above == 1 || rects[above - 2].bottom() <= i64::from(upper.y);
                if alone
                    && upper.bottom() == i64::from(lower.y)
                    && both.area() <= upper.area() + lower.area() + u64::from(grain.overhead)
                {
                    rects.truncate(above - 1);
                    rects.push(both);
                }
            }
            top += height;
        }
    }

    fn changes_in_band(
        &self,
        shown: &Self,
        top: u32,
        height: u32,
        overhead: u32,
        rects: &mut Vec<Rect>,
    ) {
        let width = self.width as usize;
        let differs = |x: usize| {
            (top..top + height).any(|y| {
                let at = y as usize * width + x;
                self.pixels[at] != shown.pixels[at]
            })
        };
        // A gap of unchanged columns up to this width takes less time to send
        // than to leave out.
        let bridge = i64::from(overhead / height);
        let first = rects.len();
        for x in (0..width).filter(|&x| differs(x)) {
            let x = x as i64;
            if rects.len() > first
                && let Some(last) = rects.last_mut()
                && x - last.right() <= bridge
            {
                last.width = u32::try_from(x + 1 - i64::from(last.x)).unwrap_or(0);
            } else {
                rects.push(Rect::new(x as i32, top as i32, 1, height));
            }
        }
    }
}

/// The form of the rectangles that suits a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grain {
    /// The first row and the height of rectangles are multiples of this (at the
    /// lower edge the rest): 8 for a device with 8 rows per byte.
    pub band: u32,
    /// The fixed cost of a rectangle, counted in pixels: rectangles closer to
    /// each other than this are sent as one.
    pub overhead: u32,
}

impl<C: PixelColor> OriginDimensions for Canvas<C> {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl<C: PixelColor> DrawTarget for Canvas<C> {
    type Color = C;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<C>>,
    {
        for Pixel(Point { x, y }, color) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
                && x < self.width
                && y < self.height
            {
                self.pixels[y as usize * self.width as usize + x as usize] = color;
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, color: C) -> Result<(), Infallible> {
        let area = area.intersection(&Rectangle::new(Point::zero(), self.size()));
        // After the intersection the corner is inside, so it is not negative.
        let (x, y) = (area.top_left.x as usize, area.top_left.y as usize);
        let (width, height) = (area.size.width as usize, area.size.height as usize);
        for row in self
            .pixels
            .chunks_exact_mut((self.width as usize).max(1))
            .skip(y)
            .take(height)
        {
            row[x..x + width].fill(color);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::pixelcolor::BinaryColor::{self, Off, On};
    use proptest::prelude::*;

    fn canvas(width: u32, height: u32, on: &[(u32, u32)]) -> Canvas<BinaryColor> {
        let mut canvas = Canvas::new(width, height, Off);
        canvas
            .draw_iter(
                on.iter()
                    .map(|&(x, y)| Pixel(Point::new(x as i32, y as i32), On)),
            )
            .unwrap();
        canvas
    }

    fn changes(on: &[(u32, u32)], grain: Grain) -> Vec<Rect> {
        let mut rects = Vec::new();
        canvas(40, 20, on).changes(&canvas(40, 20, &[]), grain, &mut rects);
        rects
    }

    #[test]
    fn unchanged_pixels_are_not_sent() {
        let grain = Grain {
            band: 8,
            overhead: 0,
        };
        assert_eq!(changes(&[], grain), []);
        assert_eq!(changes(&[(3, 2), (4, 5)], grain), [Rect::new(3, 0, 2, 8)]);
        // The last band is the rest of the height.
        assert_eq!(changes(&[(39, 19)], grain), [Rect::new(39, 16, 1, 4)]);
    }

    #[test]
    fn close_rectangles_are_joined_if_that_is_cheaper() {
        let dear = Grain {
            band: 8,
            overhead: 8 * 8,
        };
        let cheap = Grain {
            band: 8,
            overhead: 0,
        };
        let on = [(0, 0), (9, 0), (0, 8)];
        assert_eq!(
            changes(&on, cheap),
            [
                Rect::new(0, 0, 1, 8),
                Rect::new(9, 0, 1, 8),
                Rect::new(0, 8, 1, 8)
            ]
        );
        assert_eq!(
            changes(&on[..2], dear),
            [Rect::new(0, 0, 10, 8)],
            "a gap of 8 columns is bridged"
        );
        assert_eq!(changes(&[(3, 0), (3, 8)], dear), [Rect::new(3, 0, 1, 16)]);
    }

    #[test]
    fn drawing_outside_is_left_out() {
        let mut canvas = canvas(3, 2, &[]);
        canvas
            .draw_iter([
                Pixel(Point::new(-1, 0), On),
                Pixel(Point::new(3, 1), On),
                Pixel(Point::new(2, 1), On),
            ])
            .unwrap();
        canvas
            .fill_solid(&Rectangle::new(Point::new(-5, -5), Size::new(6, 6)), On)
            .unwrap();
        assert_eq!(canvas.pixels(), [On, Off, Off, Off, Off, On]);
    }

    proptest! {
        /// For any change, the rectangles make the device show the canvas, and
        /// no pixel is sent twice.
        #[test]
        fn rectangles_cover_every_change_once(
            (width, height) in (1u32..50, 1u32..50),
            on in prop::collection::vec((0u32..50, 0u32..50), 0..40),
            band in 1u32..17,
            overhead in 0u32..300,
        ) {
            let on: Vec<_> = on.into_iter().filter(|&(x, y)| x < width && y < height).collect();
            let new = canvas(width, height, &on);
            let shown = canvas(width, height, &[]);
            let mut rects = Vec::new();
            new.changes(&shown, Grain { band, overhead }, &mut rects);
            let mut sent = vec![0; (width * height) as usize];
            for rect in &rects {
                prop_assert_eq!(rect.intersection(new.bounds()), Some(*rect));
                prop_assert_eq!(rect.y as u32 % band, 0);
                for y in rect.y as u32..rect.bottom() as u32 {
                    prop_assert_eq!(new.span(*rect, y).len(), rect.width as usize);
                    for x in rect.x as u32..rect.right() as u32 {
                        sent[(y * width + x) as usize] += 1;
                    }
                }
            }
            prop_assert!(sent.iter().all(|&count| count <= 1));
            for (x, y) in on {
                prop_assert_eq!(sent[(y * width + x) as usize], 1);
            }
        }
    }
}
