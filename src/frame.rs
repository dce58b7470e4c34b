//! The types that capture passes to the later stages: a view of a luma plane,
//! rectangles in it, and the time at which it was taken.

use std::fmt;
use std::time::Duration;

/// The largest side of a picture in pixels. Up to this size every pixel index,
/// integral-image sum over 8-bit pixels and rectangle edge fits into its type.
pub const MAX_SIDE: u32 = 8000;

/// A time on a monotonic clock, as a duration since that clock's start (boot
/// for a camera, the first frame for a recording). Only differences have a
/// meaning. It never jumps with the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub Duration);

impl Timestamp {
    /// A timestamp this many milliseconds after the clock's start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// `CLOCK_MONOTONIC` now, the clock of V4L2's buffer timestamps.
    #[must_use]
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self(Duration::new(
            u64::try_from(now.tv_sec).unwrap_or(0),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        ))
    }
}

/// A borrowed 8-bit luma plane, row by row from the top left.
///
/// Values go from 0 (black) to 255 (white), full range or video range as the
/// source delivers them.
#[derive(Clone, Copy)]
pub struct LumaView<'a> {
    data: &'a [u8],
    width: u32,
    height: u32,
    stride: usize,
}

/// The sizes of a plane do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LumaError {
    #[error("a picture of {width}x{height} has a side of 0 or above {MAX_SIDE} pixels")]
    Size { width: u32, height: u32 },
    #[error("a stride of {stride} bytes is shorter than a row of {width} pixels")]
    Stride { stride: usize, width: u32 },
    #[error(
        "{got} bytes are too few for {width}x{height} pixels at a stride of {stride}: {need} are needed"
    )]
    Short {
        width: u32,
        height: u32,
        stride: usize,
        need: usize,
        got: usize,
    },
}

impl<'a> LumaView<'a> {
    /// A view of `data`; row `y` starts at byte `y * stride`, and the last row
    /// may end after its last pixel.
    ///
    /// # Errors
    /// A side of 0 or above [`MAX_SIDE`], a stride below the width, or too few
    /// bytes.
    ///
    /// ```
    /// use affectd::frame::LumaView;
    /// let pixels = [10, 20, 0, 30, 40];
    /// let view = LumaView::new(&pixels, 2, 2, 3).unwrap();
    /// assert_eq!(view.row(1), [30, 40]);
    /// assert!(LumaView::new(&pixels, 2, 3, 3).is_err());
    /// ```
    pub fn new(data: &'a [u8], width: u32, height: u32, stride: usize) -> Result<Self, LumaError> {
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(LumaError::Size { width, height });
        }
        if stride < width as usize {
            return Err(LumaError::Stride { stride, width });
        }
        let need = stride
            .saturating_mul(height as usize - 1)
            .saturating_add(width as usize);
        if data.len() < need {
            return Err(LumaError::Short {
                width,
                height,
                stride,
                need,
                got: data.len(),
            });
        }
        Ok(Self {
            data,
            width,
            height,
            stride,
        })
    }

    /// Width in pixels, 1 to [`MAX_SIDE`].
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, 1 to [`MAX_SIDE`].
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Bytes from one row to the next, at least the width.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// The bytes behind the view, the gaps between rows included.
    #[must_use]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The pixels of row `y`.
    ///
    /// # Panics
    /// If `y` is not below the height.
    #[must_use]
    pub fn row(&self, y: u32) -> &'a [u8] {
        assert!(
            y < self.height,
            "row {y} of a picture of {} rows",
            self.height
        );
        let start = y as usize * self.stride;
        &self.data[start..start + self.width as usize]
    }

    /// The rows from the top.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let view = *self;
        (0..self.height).map(move |y| view.row(y))
    }

    /// The whole picture as a rectangle.
    #[must_use]
    pub const fn bounds(&self) -> Rect {
        Rect::new(0, 0, self.width, self.height)
    }
}

impl fmt::Debug for LumaView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the pixels: no picture may get into a log.
        write!(
            f,
            "LumaView({}x{}, stride {})",
            self.width, self.height, self.stride
        )
    }
}

/// A rectangle of pixels: columns `x` to `x + width - 1`, rows `y` to
/// `y + height - 1`. It may lie partly or wholly outside of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rect {
    pub x: i32,
    pub y: i32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    /// A rectangle from its top left corner and its size.
    #[must_use]
    pub const fn new(x: i32, y: i32, width: u32, height: u32) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// The square with this side around a centre, both rounded to whole pixels;
    /// `None` if a number is not finite, or the side is below 1 or above
    /// 1,000,000.
    #[must_use]
    pub fn square(centre: (f64, f64), side: f64) -> Option<Self> {
        let (x, y) = centre;
        let valid = x.is_finite() && y.is_finite() && (1.0..=1e6).contains(&side);
        // The casts saturate.
        valid.then(|| Self {
            x: (x - side / 2.0).round() as i32,
            y: (y - side / 2.0).round() as i32,
            width: side.round() as u32,
            height: side.round() as u32,
        })
    }

    /// Width times height in pixels.
    #[must_use]
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// The column after the last one.
    #[must_use]
    pub const fn right(self) -> i64 {
        self.x as i64 + self.width as i64
    }

    /// The row after the last one.
    #[must_use]
    pub const fn bottom(self) -> i64 {
        self.y as i64 + self.height as i64
    }

    /// The centre in pixels, `(x, y)`.
    #[must_use]
    pub fn centre(self) -> (f64, f64) {
        (
            f64::from(self.x) + f64::from(self.width) / 2.0,
            f64::from(self.y) + f64::from(self.height) / 2.0,
        )
    }

    /// The part that two rectangles have in common, or `None` if they do not
    /// overlap.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let x = self.x.max(other.x);
        let y = self.y.max(other.y);
        let width = u32::try_from(self.right().min(other.right()) - i64::from(x)).ok()?;
        let height = u32::try_from(self.bottom().min(other.bottom()) - i64::from(y)).ok()?;
        (width > 0 && height > 0).then(|| Self::new(x, y, width, height))
    }

    /// Intersection over union, 0 (apart) to 1 (the same).
    ///
    /// ```
    /// use affectd::frame::Rect;
    /// let a = Rect::new(0, 0, 10, 10);
    /// assert_eq!(a.overlap(a), 1.0);
    /// assert_eq!(a.overlap(Rect::new(5, 0, 10, 10)), 1.0 / 3.0);
    /// assert_eq!(a.overlap(Rect::new(10, 0, 10, 10)), 0.0);
    /// ```
    #[must_use]
    pub fn overlap(self, other: Self) -> f64 {
        let common = u128::from(self.intersection(other).map_or(0, Self::area));
        let union = u128::from(self.area()) + u128::from(other.area()) - common;
        if union == 0 {
            0.0
        } else {
            common as f64 / union as f64
        }
    }
}

/// The text is not a size of the form `WIDTHxHEIGHT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size; write WIDTHxHEIGHT in pixels from 1 to {MAX_SIDE}, such as 640x480")]
pub struct SizeError(pub String);

/// Reads `WIDTHxHEIGHT`, as board files and the command line give sizes.
///
/// # Errors
/// [`SizeError`] for anything else, and for sides of 0 or above [`MAX_SIDE`].
///
/// ```
/// use affectd::frame::parse_size;
/// assert_eq!(parse_size("640x480"), Ok((640, 480)));
/// assert!(parse_size("640").is_err() && parse_size("0x480").is_err());
/// ```
pub fn parse_size(text: &str) -> Result<(u32, u32), SizeError> {
    let side = |digits: &str| {
        digits
            .parse()
            .ok()
            .filter(|side| (1..=MAX_SIDE).contains(side))
    };
    text.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| SizeError(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_view_checks_its_numbers() {
        assert_eq!(
            LumaView::new(&[], 0, 1, 1).unwrap_err(),
            LumaError::Size {
                width: 0,
                height: 1
            }
        );
        assert!(matches!(
            LumaView::new(&[0; 8], 4, 2, 3),
            Err(LumaError::Stride {
                stride: 3,
                width: 4
            })
        ));
        assert!(LumaView::new(&[0; 7], 4, 2, 4).is_err());
        assert!(LumaView::new(&[0; 8], 4, 2, usize::MAX).is_err());
        // The last row needs no padding behind it.
        assert!(LumaView::new(&[0; 11], 4, 2, 7).is_ok());
    }

    fn any_rect() -> impl Strategy<Value = Rect> {
        (any::<i32>(), any::<i32>(), any::<u32>(), any::<u32>())
            .prop_map(|(x, y, w, h)| Rect::new(x, y, w, h))
    }

    proptest! {
        #[test]
        fn geometry_never_overflows(a in any_rect(), b in any_rect()) {
            let overlap = a.overlap(b);
            prop_assert!((0.0..=1.0).contains(&overlap));
            if let Some(common) = a.intersection(b) {
                prop_assert!(common.area() <= a.area().min(b.area()));
                prop_assert!(common.right() <= a.right() && common.bottom() <= b.bottom());
            }
        }
    }
}
