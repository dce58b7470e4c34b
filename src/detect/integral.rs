//! Integral images: sums over any rectangle in four reads.
//!
//! There are three tables, each one row and one column larger than the picture:
//!
//! - `sums[y][x]`: all pixels above and to the left of the corner `(x, y)`;
//! - `squares[y][x]`: the same of their squares, for the contrast of a window;
//! - `tilted[y][x]`, only for cascades that need it: all pixels in the
//!   triangle that opens upwards from the corner at 45 degrees.
//!
//! **Overflow is harmless.** The sum over a picture exceeds 32 bits at about
//! 4100 x 4100 white pixels, the sum of squares at 260 x 260. But only
//! differences of four corners are used, and those are right modulo 2^32 if the
//! sum over the *window* fits. It does for 256 x 256 pixels (squares just fit
//! into `u32`; for larger windows OpenCV wraps in the same way). So all
//! arithmetic here wraps.
//!
//! **Only a band of rows is kept.** Windows are searched from the top down and
//! are at most 256 rows high, so rows that no later window needs are dropped.
//! So a picture of 640 x 480 fits into a second-level cache, and one of 8000 x
//! 8000 needs 8 MB instead of 512.
//!
//! **Columns can be split by parity.** If windows are two pixels apart, the
//! even columns are stored first and the odd ones after them. So the same
//! corner of neighbouring windows lies in neighbouring words for both steps,
//! and one load fills a vector register.

/// How many words a vector load may read after the last used one, because its
/// last lanes lie past the end of a row.
pub(super) const OVERREAD: usize = 32;

/// Rows that are kept in addition to those that one row of windows needs.
const SPARE_ROWS: usize = 96;

/// How to find the corners of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Words from one row to the next.
    pub stride: usize,
    /// Even columns first, odd ones from `stride / 2`.
    pub split: bool,
    /// Words from an upright corner to the tilted one of the same place.
    pub tilted: usize,
}

impl Layout {
    /// Words from a window's origin (in an even column, if split) to a corner.
    pub(super) const fn corner(&self, x: u32, y: u32) -> usize {
        y as usize * self.stride + self.column(x as usize)
    }

    const fn column(&self, x: usize) -> usize {
        if self.split {
            x / 2 + (x % 2) * (self.stride / 2)
        } else {
            x
        }
    }
}

/// The tables for a band of rows.
#[derive(Debug)]
pub(super) struct Integral {
    stride: usize,
    capacity: usize,
    /// Upright sums, then tilted ones if needed, so that one offset from a
    /// window's origin reaches both.
    sums: Vec<i32>,
    squares: Vec<u32>,
    with_tilted: bool,
    split: bool,
    /// Pixels in a row.
    width: usize,
    /// The first row of the tables that is kept, and the first one that is not
    /// filled.
    top: usize,
    bottom: usize,
    /// The pixels of the row above, for the tilted sums.
    previous: Vec<u8>,
}

impl Integral {
    /// Tables for rows of up to `max_width` pixels and windows of up to
    /// `window_height` rows.
    pub(super) fn new(max_width: usize, window_height: usize, with_tilted: bool) -> Self {
        // An odd number of cache lines, so that corners in one column do not
        // use the same set of a cache.
        let stride = ((max_width + 1).div_ceil(16) | 1) * 16;
        let capacity = window_height + 1 + SPARE_ROWS;
        let words = stride * capacity + OVERREAD;
        Self {
            stride,
            capacity,
            sums: vec![0; if with_tilted { 2 * words } else { words }],
            squares: vec![0; words],
            with_tilted,
            split: false,
            width: 0,
            top: 0,
            bottom: 0,
            previous: vec![0; if with_tilted { max_width } else { 0 }],
        }
    }

    pub(super) fn layout(&self, split: bool) -> Layout {
        Layout {
            stride: self.stride,
            split,
            tilted: self.stride * self.capacity + OVERREAD,
        }
    }

    /// Starts over for rows of `width` pixels.
    pub(super) fn start(&mut self, width: usize, split: bool) {
        assert!(width < self.stride, "rows of {width} pixels");
        self.width = width;
        self.split = split;
        self.top = 0;
        self.bottom = 1;
        self.sums[..self.stride].fill(0);
        self.squares[..self.stride].fill(0);
        if self.with_tilted {
            let tilted = self.layout(split).tilted;
            self.sums[tilted..tilted + self.stride].fill(0);
            self.previous[..width].fill(0);
        }
    }

    /// Rows of pixels added since the start.
    pub(super) const fn filled(&self) -> usize {
        self.bottom - 1
    }

    /// Adds a row of pixels; rows of the tables above `keep` may be dropped.
    pub(super) fn push(&mut self, pixels: &[u8], keep: usize) {
        assert_eq!(pixels.len(), self.width);
        if self.bottom - self.top == self.capacity {
            self.slide(keep);
        }
        let layout = self.layout(self.split);
        let stride = self.stride;
        let row = (self.bottom - self.top) * stride;
        {
            let (above, below) = self.sums.split_at_mut(row);
            accumulate(pixels, self.split, &above[row - stride..], below);
            let (above, below) = self.squares.split_at_mut(row);
            accumulate_squares(pixels, self.split, &above[row - stride..], below);
        }
        if self.with_tilted {
            self.push_tilted(pixels, layout, row);
            self.previous[..self.width].copy_from_slice(pixels);
        }
        self.bottom += 1;
    }

    /// Each tilted sum from its three neighbours above:
    /// `T(x, y) = T(x-1, y-1) + T(x+1, y-1) - T(x, y-2) + I(x-1, y-1) + I(x-1, y-2)`,
    /// with the triangle cut off at the picture's sides.
    fn push_tilted(&mut self, pixels: &[u8], layout: Layout, row: usize) {
        let (width, stride) = (self.width, self.stride);
        let (done, current) = self.sums[layout.tilted..].split_at_mut(row);
        let above = &done[row - stride..];
        let column = |x: usize| layout.column(x);
        let pixel = |x: usize| i32::from(pixels[x]) + i32::from(self.previous[x]);
        current[column(0)] = above[column(1)];
        for x in 1..width {
            // There is no second row above the first one.
            let twice_above = if self.bottom >= 2 && row >= 2 * stride {
                done[row - 2 * stride + column(x)]
            } else {
                0
            };
            current[column(x)] = above[column(x - 1)]
                .wrapping_add(above[column(x + 1)])
                .wrapping_sub(twice_above)
                .wrapping_add(pixel(x - 1));
        }
        current[column(width)] = above[column(width - 1)].wrapping_add(pixel(width - 1));
    }

    /// Moves the rows from `keep` on to the top of the tables.
    fn slide(&mut self, keep: usize) {
        // The tilted sums need the two rows before.
        let keep = keep.min(self.bottom - 2);
        assert!(keep > self.top, "no room for another row");
        let rows = (keep - self.top) * self.stride..(self.bottom - self.top) * self.stride;
        self.sums.copy_within(rows.clone(), 0);
        self.squares.copy_within(rows.clone(), 0);
        if self.with_tilted {
            let tilted = self.layout(self.split).tilted;
            self.sums
                .copy_within(tilted + rows.start..tilted + rows.end, tilted);
        }
        self.top = keep;
    }

    /// Index of the origin of the first window whose top row of pixels is `y`.
    ///
    /// # Panics
    /// If that row has been dropped.
    pub(super) fn origin(&self, y: usize) -> usize {
        assert!(y >= self.top && y < self.bottom, "row {y} is not kept");
        (y - self.top) * self.stride
    }

    pub(super) fn sums(&self) -> &[i32] {
        &self.sums
    }

    pub(super) fn squares(&self) -> &[u32] {
        &self.squares
    }
}

/// `row[x + 1] = above[x + 1] + pixels[0] + … + pixels[x]`.
fn accumulate(pixels: &[u8], split: bool, above: &[i32], row: &mut [i32]) {
    let mut sum = 0_i32;
    row[0] = 0;
    if split {
        let half = above.len() / 2;
        let (even_above, odd_above) = above.split_at(half);
        let (even, odd) = row[..2 * half].split_at_mut(half);
        for (index, pair) in pixels.chunks(2).enumerate() {
            sum = sum.wrapping_add(i32::from(pair[0]));
            odd[index] = odd_above[index].wrapping_add(sum);
            if let Some(&second) = pair.get(1) {
                sum = sum.wrapping_add(i32::from(second));
                even[index + 1] = even_above[index + 1].wrapping_add(sum);
            }
        }
    } else {
        for ((&pixel, &above), out) in pixels.iter().zip(&above[1..]).zip(&mut row[1..]) {
            sum = sum.wrapping_add(i32::from(pixel));
            *out = above.wrapping_add(sum);
        }
    }
}

/// As [`accumulate`], of the squares.
fn accumulate_squares(pixels: &[u8], split: bool, above: &[u32], row: &mut [u32]) {
    let mut sum = 0_u32;
    row[0] = 0;
    if split {
        let half = above.len() / 2;
        let (even_above, odd_above) = above.split_at(half);
        let (even, odd) = row[..2 * half].split_at_mut(half);
        for (index, pair) in pixels.chunks(2).enumerate() {
            sum = sum.wrapping_add(u32::from(pair[0]).pow(2));
            odd[index] = odd_above[index].wrapping_add(sum);
            if let Some(&second) = pair.get(1) {
                sum = sum.wrapping_add(u32::from(second).pow(2));
                even[index + 1] = even_above[index + 1].wrapping_add(sum);
            }
        }
    } else {
        for ((&pixel, &above), out) in pixels.iter().zip(&above[1..]).zip(&mut row[1..]) {
            sum = sum.wrapping_add(u32::from(pixel).pow(2));
            *out = above.wrapping_add(sum);
        }
    }
}
