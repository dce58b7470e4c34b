//! A full search for faces with one cascade.

use std::ops::Range;

use super::cascade::Cascade;
use super::enhance::Enhancer;
use super::error::DetectError;
use super::group::{Detection, Grouper};
use super::integral::Integral;
use super::options::Options;
use super::pyramid::{self, Level, Shrink, ShrinkRows};
use super::windows::{self, BATCH, Evaluator, Rows};
use crate::frame::{LumaView, Rect};
use crate::isa::Isa;

/// The number of windows that the buffers have room for at the start. A face
/// gives some dozens; a picture with more windows makes the buffers grow, once.
pub(super) const WINDOWS: usize = 4096;

/// Shrinking and summing this many pixels takes about as long as evaluating a
/// feature for a group of windows.
const PIXELS_PER_WORK: u64 = 2;

/// Finds faces with one cascade and one set of options.
///
/// ```
/// use affectd::detect::{Cascade, Detector, Options};
/// use affectd::frame::LumaView;
/// # let xml = include_str!(concat!(
/// #     env!("CARGO_MANIFEST_DIR"),
/// #     "/models/haarcascade_frontalface_default.xml"
/// # ));
/// let cascade = Cascade::parse(xml)?;
/// let mut detector = Detector::new(cascade, Options::default())?;
/// let gray = vec![128; 320 * 240];
/// let faces = detector.detect(LumaView::new(&gray, 320, 240, 320)?);
/// assert!(faces.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Detector {
    cascade: Cascade,
    options: Options,
    isa: Isa,
    tilted: bool,
    plan: Option<Plan>,
    /// The windows that passed the cascade.
    pub(super) windows: Vec<Rect>,
    grouper: Grouper,
    pub(super) detections: Vec<Detection>,
}

/// Everything that depends on the size of the picture.
#[derive(Debug)]
struct Plan {
    size: (u32, u32),
    levels: Vec<Level>,
    shrinks: Vec<Shrink>,
    enhancer: Enhancer,
    rows: ShrinkRows,
    pixels: Vec<u8>,
    integral: Integral,
    evaluator: Evaluator,
    /// Work per window in the last rows, to estimate that of the next rows.
    per_window: Option<f64>,
}

/// How much work a search may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub work: u64,
    /// Whether to search one row even if it exceeds the limit, so that a search
    /// over several frames makes progress in each frame.
    pub advance: bool,
}

impl Allowance {
    const UNLIMITED: Self = Self {
        work: u64::MAX,
        advance: true,
    };

    /// How many of the next rows to search together, if one row needs `row` and
    /// the work before them needs `first`. Half of those that fit, because rows
    /// differ from the rows before them; so the last rows before the limit are
    /// searched one by one.
    fn rows(self, first: u64, row: Option<f64>) -> usize {
        let fit = self.work.saturating_sub(first) as f64 / row.unwrap_or(f64::MAX).max(1.0);
        if fit < 1.0 {
            // The work per row is known only after the first row.
            return usize::from(self.advance || (row.is_none() && first < self.work));
        }
        ((fit / 2.0) as usize).clamp(1, BATCH)
    }
}

/// A part of a level: windows in some columns of some rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub level: usize,
    pub columns: Range<u32>,
    pub rows: Range<u32>,
}

impl Detector {
    /// A detector for the fastest instruction set that this processor has.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn new(cascade: Cascade, options: Options) -> Result<Self, DetectError> {
        Self::with_isa(cascade, options, Isa::best())
    }

    /// A detector for a certain instruction set, for tests and measurements:
    /// all of them find the same faces.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn with_isa(cascade: Cascade, options: Options, isa: Isa) -> Result<Self, DetectError> {
        options.check()?;
        Ok(Self {
            tilted: windows::needs_tilted(&cascade),
            cascade,
            options,
            isa,
            plan: None,
            windows: Vec::with_capacity(WINDOWS),
            grouper: Grouper::with_capacity(WINDOWS),
            detections: Vec::with_capacity(WINDOWS),
        })
    }

    /// Allocates the memory for pictures of this size, so that
    /// [`detect`](Self::detect) does not allocate.
    pub fn reserve(&mut self, width: u32, height: u32) {
        if self
            .plan
            .as_ref()
            .is_some_and(|plan| plan.size == (width, height))
        {
            return;
        }
        let levels = pyramid::levels(self.cascade.window, &self.options, width, height);
        let widest = levels.iter().map(|level| level.width).max().unwrap_or(0) as usize;
        let columns = levels.iter().map(|level| level.columns).max().unwrap_or(0) as usize;
        let integral = Integral::new(widest, self.cascade.window.1 as usize, self.tilted);
        self.plan = Some(Plan {
            size: (width, height),
            shrinks: levels
                .iter()
                .map(|level| Shrink::new((width, height), level))
                .collect(),
            levels,
            enhancer: Enhancer::new(self.options.enhance, width, height),
            rows: ShrinkRows::new(widest),
            pixels: vec![0; widest],
            evaluator: Evaluator::new(&self.cascade, self.isa, &integral, columns),
            integral,
            per_window: None,
        });
    }

    /// The faces in a picture, sorted by position and size.
    ///
    /// Allocates only if the picture has another size than the last one, or
    /// more raw windows than any before. A picture smaller than the cascade's
    /// window has no faces.
    pub fn detect(&mut self, picture: LumaView<'_>) -> &[Detection] {
        self.begin(picture);
        self.search_everywhere(picture);
        self.group(picture.bounds());
        &self.detections
    }

    /// The scales of the search for the last picture's size, or the size last
    /// reserved, finest first.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        self.plan.as_ref().map_or(&[], |plan| &plan.levels)
    }

    /// The options it was built with.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The instruction set that it was made for.
    #[must_use]
    pub const fn isa(&self) -> Isa {
        self.isa
    }

    /// Call this for each new picture before a search in it.
    pub(super) fn begin(&mut self, picture: LumaView<'_>) {
        self.reserve(picture.width(), picture.height());
        if let Some(plan) = &mut self.plan {
            plan.enhancer.run(picture);
        }
    }

    /// All windows of all levels; returns the work done.
    pub(super) fn search_everywhere(&mut self, picture: LumaView<'_>) -> u64 {
        self.windows.clear();
        (0..self.levels().len())
            .map(|level| {
                let patch = self.whole(level);
                self.search(picture, &patch, Allowance::UNLIMITED).1
            })
            .sum()
    }

    /// Groups the windows into detections.
    pub(super) fn group(&mut self, bounds: Rect) {
        self.grouper.group(
            &self.windows,
            self.options.min_neighbors,
            bounds,
            &mut self.detections,
        );
    }

    pub(super) fn whole(&self, level: usize) -> Patch {
        let Level { columns, rows, .. } = self.levels()[level];
        Patch {
            level,
            columns: 0..columns,
            rows: 0..rows,
        }
    }

    /// Appends the windows of a patch that pass the cascade, some rows at a
    /// time, while the work stays within the limit. Returns the first row that
    /// was not searched and the work done.
    pub(super) fn search(
        &mut self,
        picture: LumaView<'_>,
        patch: &Patch,
        allowance: Allowance,
    ) -> (u32, u64) {
        let Some(plan) = &mut self.plan else {
            return (patch.rows.end, 0);
        };
        let level = &plan.levels[patch.level];
        let shrink = &plan.shrinks[patch.level];
        let picture = plan.enhancer.result().unwrap_or(picture);
        let (step, window) = (level.step, self.cascade.window);
        if patch.columns.is_empty() || patch.rows.is_empty() {
            return (patch.rows.end, 0);
        }

        // The pixels under those windows.
        let left = (patch.columns.start * step) as usize;
        let width = ((patch.columns.len() as u32 - 1) * step + window.0) as usize;
        let top = patch.rows.start * step;
        let pixels = &mut plan.pixels[..width];
        let split = step == 2;
        plan.integral.start(width, split);
        plan.rows.forget();

        let start = plan.evaluator.work();
        let mut work = 0;
        let mut first = patch.rows.start;
        while first < patch.rows.end {
            let y = (first * step - top) as usize;
            // The pixels of one row of windows that are not summed yet.
            let missing = y + window.1 as usize - plan.integral.filled();
            let rows = Allowance {
                work: allowance.work.saturating_sub(work),
                advance: allowance.advance && work == 0,
            }
            .rows(
                (missing.saturating_sub(step as usize) * width) as u64 / PIXELS_PER_WORK,
                plan.per_window.map(|each| {
                    each * patch.columns.len() as f64
                        + (step as usize * width) as f64 / PIXELS_PER_WORK as f64
                }),
            );
            if rows == 0 {
                return (first, work);
            }
            let rows = rows.min((patch.rows.end - first) as usize);
            let bottom = y + (rows - 1) * step as usize + window.1 as usize;
            let before = plan.evaluator.work();
            while plan.integral.filled() < bottom {
                let next = top + plan.integral.filled() as u32;
                shrink.row(picture, next, left, &mut plan.rows, pixels);
                plan.integral.push(pixels, y);
            }
            let batch = Rows {
                origin: plan.integral.origin(y),
                pitch: step as usize * plan.integral.layout(split).stride,
                rows,
                columns: patch.columns.len(),
                split,
            };
            plan.evaluator.rows(&plan.integral, batch, |row, column| {
                let (x, y) = level.place(patch.columns.start + column, first + row);
                self.windows
                    .push(Rect::new(x, y, level.window.0, level.window.1));
            });
            let windows = (rows * patch.columns.len()) as f64;
            plan.per_window = Some((plan.evaluator.work() - before) as f64 / windows);
            first += rows as u32;
            let pixels = plan.integral.filled() as u64 * width as u64;
            work = plan.evaluator.work() - start + pixels / PIXELS_PER_WORK;
        }
        (patch.rows.end, work)
    }
}
