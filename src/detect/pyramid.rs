//! The scales at which a picture is searched, and the picture at each scale.
//!
//! The window keeps its size and the picture shrinks. Sizes, rounding and the
//! fixed-point interpolation are OpenCV's (`detectMultiScale`, and `resize`
//! with `INTER_LINEAR_EXACT`), so that every window covers the same pixels as
//! in OpenCV. OpenCV rounds halves to even (`cvRound`), partly in `f32` and
//! partly in `f64`: the types below follow it exactly, which matters.

use super::Options;
use crate::frame::LumaView;

/// One scale of the search.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// How much larger the picture is than the level: 1 or more.
    pub scale: f32,
    /// Size of the shrunk picture in pixels.
    pub width: u32,
    pub height: u32,
    /// Distance between two windows in pixels of the level, in both directions:
    /// 2 below a scale of 2, otherwise 1.
    pub step: u32,
    /// Size of a window in pixels of the picture.
    pub window: (u32, u32),
    /// Number of windows side by side.
    pub columns: u32,
    /// Number of rows of windows.
    pub rows: u32,
}

impl Level {
    /// The window at `column` and `row`, in pixels of the picture. May reach
    /// out of the picture by one pixel, because of rounding.
    pub(super) fn place(&self, column: u32, row: u32) -> (i32, i32) {
        let along = |index: u32| ((index * self.step) as f32 * self.scale).round_ties_even() as i32;
        (along(column), along(row))
    }

    /// Columns (or rows) whose windows start between `from` and `to` pixels of
    /// the picture, cut to `count`.
    pub(super) fn span(&self, from: f64, to: f64, count: u32) -> (u32, u32) {
        let pitch = f64::from(self.scale) * f64::from(self.step);
        let first = (from / pitch).ceil().clamp(0.0, f64::from(count)) as u32;
        let end = ((to / pitch).floor() + 1.0).clamp(0.0, f64::from(count)) as u32;
        (first, end.max(first))
    }
}

/// The levels for a picture of `width` x `height` and a cascade's `window`,
/// from the finest to the coarsest; none if the picture is smaller than the
/// window.
pub(super) fn levels(window: (u32, u32), options: &Options, width: u32, height: u32) -> Vec<Level> {
    // Every scale at which the window fits into the picture …
    let mut scales = Vec::new();
    let mut factor = 1.0_f64;
    loop {
        let fits =
            |side: u32, room: u32| (f64::from(side) * factor).round_ties_even() <= f64::from(room);
        if !fits(window.0, width) || !fits(window.1, height) {
            break;
        }
        scales.push(factor as f32);
        factor *= options.scale_factor;
    }

    // … without those at which it is too small or too large …
    let size = |scale: f32| {
        let side = |side: u32| (side as f32 * scale).round_ties_even() as u32;
        (side(window.0), side(window.1))
    };
    let min = options.min_size;
    let max = match options.max_size {
        Some((w, h)) if w > 0 && h > 0 => (w, h),
        _ => (width, height),
    };
    let mut chosen: Vec<f32> = scales
        .iter()
        .copied()
        .take_while(|&scale| size(scale).0 <= max.0 && size(scale).1 <= max.1)
        .filter(|&scale| size(scale).0 >= min.0 && size(scale).1 >= min.1)
        .collect();

    // … and if that leaves none, the one closest to the smallest size. (The
    // first of several, by OpenCV's comparison.)
    if chosen.is_empty() {
        let distance = |&scale: &f32| {
            let (w, h) = size(scale);
            let apart = |a: u32, b: u32| u64::from(a.abs_diff(b)).pow(2);
            apart(min.0, w) + apart(min.1, h)
        };
        chosen.extend(scales.iter().copied().min_by_key(distance));
    }

    let mut levels: Vec<Level> = chosen
        .into_iter()
        .map(|scale| {
            let shrunk = |side: u32| (side as f32 / scale).round_ties_even() as u32;
            let (level_width, level_height) = (shrunk(width), shrunk(height));
            let step = if scale >= 2.0 { 1 } else { 2 };
            let windows = |side: u32, window: u32| (side + 1).saturating_sub(window).div_ceil(step);
            Level {
                scale,
                width: level_width,
                height: level_height,
                step,
                window: size(scale),
                columns: windows(level_width, window.0),
                rows: windows(level_height, window.1),
            }
        })
        .collect();
    drop_uncovered_rows(&mut levels, window);
    levels
}

/// OpenCV divides the rows of windows into stripes for its threads. Their
/// number depends on the width of the finest level, and their height is rounded
/// down if the step is 2. So at some sizes the last row belongs to no stripe
/// and is never searched, even with one thread. This code drops the same rows.
fn drop_uncovered_rows(levels: &mut [Level], window: (u32, u32)) {
    let Some(finest) = levels.first() else {
        return;
    };
    let stripes = (finest.width + 1).saturating_sub(window.0).div_ceil(32);
    for level in levels {
        let pixels = (level.height + 1).saturating_sub(window.1);
        level.rows = match stripes {
            0 => 0,
            _ => {
                let stripe = (pixels / level.step).div_ceil(stripes).max(1) * level.step;
                (stripe * stripes).min(pixels).div_ceil(level.step)
            }
        };
    }
}

/// The source of an interpolated sample: between `first` and the next sample,
/// with a weight of `second` / 256 for the latter.
#[derive(Clone, Copy, Debug)]
struct Tap {
    first: u32,
    second: u16,
}

/// The taps of one axis of one level.
///
/// At the borders OpenCV repeats the outermost sample. Here this is a weight of
/// 0 or 256 on an existing neighbour, so the loops have no special cases.
fn taps(source: u32, target: u32) -> Vec<Tap> {
    // Not `source / target`: OpenCV divides twice, and the result can differ.
    let scale = 1.0 / (f64::from(target) / f64::from(source));
    let last = i64::from(source) - 1;
    (0..target)
        .map(|index| {
            let at = scale * (f64::from(index) + 0.5) - 0.5;
            let first = at.floor() as i64;
            if first < 0 || last == 0 {
                Tap {
                    first: 0,
                    second: 0,
                }
            } else if first >= last {
                Tap {
                    first: last as u32 - 1,
                    second: 256,
                }
            } else {
                Tap {
                    first: first as u32,
                    second: ((at - first as f64) * 256.0).round_ties_even() as u16,
                }
            }
        })
        .collect()
}

/// Shrinks a picture row by row to one level.
#[derive(Debug)]
pub(super) struct Shrink {
    across: Vec<Tap>,
    down: Vec<Tap>,
    identity: bool,
}

/// Two source rows, interpolated across in 8.8 fixed point, with the number of
/// the source row that each holds.
#[derive(Debug, Default)]
pub(super) struct ShrinkRows {
    rows: [Vec<u16>; 2],
    holds: [Option<u32>; 2],
}

impl ShrinkRows {
    pub(super) fn new(width: usize) -> Self {
        Self {
            rows: [vec![0; width], vec![0; width]],
            holds: [None; 2],
        }
    }

    /// Call this for each new picture, level or range of columns.
    pub(super) fn forget(&mut self) {
        self.holds = [None; 2];
    }
}

impl Shrink {
    pub(super) fn new(source: (u32, u32), level: &Level) -> Self {
        Self {
            across: taps(source.0, level.width),
            down: taps(source.1, level.height),
            identity: source == (level.width, level.height),
        }
    }

    /// Writes columns `from` to `from + out.len()` of row `y` of the level.
    pub(super) fn row(
        &self,
        picture: LumaView<'_>,
        y: u32,
        from: usize,
        rows: &mut ShrinkRows,
        out: &mut [u8],
    ) {
        if self.identity {
            out.copy_from_slice(&picture.row(y)[from..from + out.len()]);
            return;
        }
        let tap = self.down[y as usize];
        let across = &self.across[from..from + out.len()];
        // The lower row of the last call is often the upper one of this call.
        if rows.holds[0] != Some(tap.first) && rows.holds[1] == Some(tap.first) {
            rows.rows.swap(0, 1);
            rows.holds.swap(0, 1);
        }
        for (index, wanted) in [tap.first, (tap.first + 1).min(picture.height() - 1)]
            .into_iter()
            .enumerate()
        {
            if rows.holds[index] != Some(wanted) {
                shrink_across(picture.row(wanted), across, &mut rows.rows[index]);
                rows.holds[index] = Some(wanted);
            }
        }
        let [upper, lower] = &rows.rows;
        let second = u32::from(tap.second);
        let first = 256 - second;
        for ((out, &upper), &lower) in out.iter_mut().zip(upper).zip(lower) {
            let sum = u32::from(upper) * first + u32::from(lower) * second;
            *out = ((sum + (1 << 15)) >> 16) as u8;
        }
    }
}

fn shrink_across(source: &[u8], taps: &[Tap], out: &mut [u16]) {
    if source.len() == 1 {
        out.fill(u16::from(source[0]) << 8);
        return;
    }
    for (out, tap) in out.iter_mut().zip(taps) {
        let first = tap.first as usize;
        let pair = &source[first..first + 2];
        *out = u16::from(pair[0]) * (256 - tap.second) + u16::from(pair[1]) * tap.second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(width: u32, height: u32, options: &Options) -> Vec<Level> {
        levels((24, 24), options, width, height)
    }

    #[test]
    fn a_vga_frame_has_the_levels_of_the_paper() {
        let all = plan(640, 480, &Options::default());
        assert_eq!((all[0].width, all[0].height, all[0].step), (640, 480, 2));
        assert_eq!((all[0].columns, all[0].rows), (309, 229));
        assert_eq!((all[1].width, all[1].height), (582, 436));
        let steps: Vec<u32> = all.iter().map(|level| level.step).collect();
        // 1.1^8 is the first above 2.
        assert_eq!(&steps[6..9], [2, 2, 1]);
        assert_eq!(all.last().unwrap().window, (461, 461));
    }

    #[test]
    fn sizes_choose_levels() {
        let options = Options {
            min_size: (80, 80),
            max_size: Some((100, 100)),
            ..Options::default()
        };
        let chosen: Vec<u32> = plan(640, 480, &options)
            .iter()
            .map(|level| level.window.0)
            .collect();
        assert_eq!(chosen, [83, 91, 100]);
        // No scale fits: the one closest to the smallest size.
        let options = Options {
            min_size: (86, 86),
            max_size: Some((86, 86)),
            ..Options::default()
        };
        let chosen = plan(640, 480, &options);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].window.0, 83);
    }

    #[test]
    fn a_picture_smaller_than_the_window_has_no_levels() {
        assert!(plan(23, 400, &Options::default()).is_empty());
        assert!(plan(1, 1, &Options::default()).is_empty());
        assert_eq!(plan(24, 24, &Options::default()).len(), 1);
    }

    fn shrunk(pixels: &[u8], width: u32, height: u32, to: (u32, u32)) -> Vec<u8> {
        let view = LumaView::new(pixels, width, height, width as usize).unwrap();
        let level = Level {
            scale: 1.0,
            width: to.0,
            height: to.1,
            step: 1,
            window: (24, 24),
            columns: 0,
            rows: 0,
        };
        let shrink = Shrink::new((width, height), &level);
        let mut rows = ShrinkRows::new(to.0 as usize);
        let mut out = vec![0; (to.0 * to.1) as usize];
        for (y, row) in out.chunks_exact_mut(to.0 as usize).enumerate() {
            shrink.row(view, y as u32, 0, &mut rows, row);
        }
        out
    }

    /// `cv2.resize(a, to, interpolation=cv2.INTER_LINEAR_EXACT)` of OpenCV
    /// 4.14 on `a[y][x] = (x * 37 + y * 91 + x * y * 13) % 256`, 7x5.
    #[test]
    fn shrinking_equals_opencv() {
        let pixels: Vec<u8> = (0..5u32)
            .flat_map(|y| (0..7u32).map(move |x| ((x * 37 + y * 91 + x * y * 13) % 256) as u8))
            .collect();
        assert_eq!(shrunk(&pixels, 7, 5, (7, 5)), pixels);
        assert_eq!(shrunk(&pixels, 7, 5, (5, 4)), GOLDEN_5X4);
        assert_eq!(shrunk(&pixels, 7, 5, (3, 2)), GOLDEN_3X2);
    }

    const GOLDEN_5X4: [u8; 20] = [
        19, 73, 127, 149, 203, 136, 155, 194, 110, 111, 93, 135, 196, 136, 159, 114, 102, 135, 136,
        123,
    ];
    const GOLDEN_3X2: [u8; 6] = [99, 209, 126, 93, 214, 142];

    #[test]
    fn a_part_of_a_row_equals_the_whole() {
        let pixels: Vec<u8> = (0..40 * 30u32)
            .map(|i| (i.wrapping_mul(2654435761) >> 24) as u8)
            .collect();
        let view = LumaView::new(&pixels, 40, 30, 40).unwrap();
        let level = &levels((4, 4), &Options::default(), 40, 30)[3];
        let shrink = Shrink::new((40, 30), level);
        let width = level.width as usize;
        let (mut rows, mut part_rows) = (ShrinkRows::new(width), ShrinkRows::new(width));
        let (mut whole, mut part) = (vec![0; width], vec![0; 9]);
        for y in 0..level.height {
            shrink.row(view, y, 0, &mut rows, &mut whole);
            shrink.row(view, y, 5, &mut part_rows, &mut part);
            assert_eq!(part, whole[5..14]);
        }
    }
}
