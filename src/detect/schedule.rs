//! For video: where to look in this frame.
//!
//! A full search of every frame is a waste: a face is where it was, about as
//! large as it was, and the next frame comes soon. [`Search`] therefore looks
//! around the faces that are tracked, and everywhere only every so often, or
//! as soon as one of them is no longer there. Both ways use the same windows,
//! the same cascade and the same grouping, so a face gets about the same box
//! either way.
//!
//! A frame can be held to a budget. A full search then goes on over several
//! frames, from the largest faces to the smallest, and its result comes with the
//! frame that completes it; and if there are more tracked faces than can be
//! looked at in one frame, they take turns.
//!
//! **Time does not decide what is found.** What a frame's search covers depends
//! on the pictures, their timestamps and the options, never on a clock: a
//! recording gives the same result each time. A budget in milliseconds is
//! turned into an amount of work, counted in evaluations of features, by a
//! rate. The rate is measured once at the start, or fixed in the options: fix
//! it where two runs must agree to the bit. Two machines then agree if they have
//! the same kernel, since an evaluation is that of as many windows as a kernel
//! takes at once; without a budget, all agree.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::detector::{Allowance, Detector, Patch, WINDOWS};
use super::error::DetectError;
use super::group::Detection;
use crate::frame::{LumaView, Rect, Timestamp};

/// Overlap (intersection over union) from which two boxes are the same face.
const SAME: f64 = 0.3;

/// Overlap from which a raw window speaks for a face.
const SUPPORTS: f64 = 0.5;

/// The part of a frame's budget that is left to a full search while one is
/// going on, so that it ends even if many faces are tracked.
const LEAST_SHARE: f64 = 0.25;

/// The time between frames for which margin and size range hold, and how much
/// they grow at most where it is longer: faces move on meanwhile.
const PACE: Duration = Duration::from_millis(50);
const MOST_GROWTH: f64 = 2.0;

/// The part of the best rate of work that can be relied on: how long an
/// evaluation takes depends on the picture.
const RELIABLE: f64 = 0.75;

/// Tracked faces for which there is room at the start; more make a vector grow,
/// once.
const TRACKED: usize = 64;

/// When and where to look, for the board file.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchOptions {
    /// Milliseconds from one full search to the next while all tracked faces
    /// are seen: a new face waits so long at most. With 0, every frame is
    /// searched in full.
    pub full_search_ms: u32,
    /// The same while nobody is tracked, or somebody tracked is not seen.
    pub idle_search_ms: u32,
    /// How far around a tracked face to look, as a part of its size, to each
    /// side: from 0.1 to 4. Up to twice as far at less than 20 frames a second.
    pub margin: f64,
    /// How much larger and smaller than before a face may be: from 1.05 to 4.
    /// It grows with the margin, and is never less than one and a half steps of
    /// the pyramid.
    pub size_range: f64,
    /// Milliseconds that a frame's search may take; 0 for no limit. One tracked
    /// face is looked at in each frame, whatever that takes.
    pub budget_ms: f64,
    /// Evaluations of features that this machine does in a millisecond, for
    /// [`budget_ms`](Self::budget_ms); 0 to measure it at the start.
    pub work_per_ms: f64,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            full_search_ms: 1000,
            idle_search_ms: 0,
            margin: 0.25,
            size_range: 1.2,
            budget_ms: 0.0,
            work_per_ms: 0.0,
        }
    }
}

impl SearchOptions {
    /// What [`margin`](Self::margin) may be.
    pub const MARGIN: RangeInclusive<f64> = 0.1..=4.0;
    /// What [`size_range`](Self::size_range) may be.
    pub const SIZE_RANGE: RangeInclusive<f64> = 1.05..=4.0;
    /// What [`budget_ms`](Self::budget_ms) may be.
    pub const BUDGET_MS: RangeInclusive<f64> = 0.0..=10_000.0;
    /// What [`work_per_ms`](Self::work_per_ms) may be.
    pub const WORK_PER_MS: RangeInclusive<f64> = 0.0..=1e9;

    fn check(&self) -> Result<(), DetectError> {
        for (name, value, range) in [
            ("margin", self.margin, Self::MARGIN),
            ("size_range", self.size_range, Self::SIZE_RANGE),
            ("budget_ms", self.budget_ms, Self::BUDGET_MS),
            ("work_per_ms", self.work_per_ms, Self::WORK_PER_MS),
        ] {
            if !range.contains(&value) {
                return Err(DetectError::Range {
                    name,
                    value,
                    from: *range.start(),
                    to: *range.end(),
                });
            }
        }
        Ok(())
    }
}

/// A face that is followed, and where it should be in the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The caller's number for the face, which no other of the same frame has.
    pub key: u32,
    pub rect: Rect,
    /// Whether something else than the detector follows the face. Its
    /// surroundings are not searched then, and it is not missed.
    pub carried: bool,
}

impl Expected {
    /// Numbers faces by their place in a list, from 0.
    pub fn numbered(rects: impl IntoIterator<Item = Rect>) -> impl Iterator<Item = Self> {
        (0..).zip(rects).map(|(key, rect)| Self {
            key,
            rect,
            carried: false,
        })
    }
}

/// What a frame's search found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The faces, sorted.
    pub detections: &'a [Detection],
    /// For each of them, when the place where it is was last looked at: the
    /// time of this frame, or of an earlier one if a full search that was
    /// spread over several frames ended with this one.
    pub searched_at: &'a [Timestamp],
    /// The keys of the tracked faces whose surroundings were searched in this
    /// frame. The others are not missing if they are not found.
    pub looked: &'a [u32],
    /// Whether a full search ended with this frame. If not, only faces that
    /// are tracked can be among the detections.
    pub full: bool,
    /// The work done for this frame, in evaluations of features.
    pub work: u64,
}

/// Searches the frames of a video.
///
/// ```
/// use affectd::detect::{Cascade, Detector, Options, Search, SearchOptions};
/// use affectd::frame::{LumaView, Timestamp};
/// # let xml = include_str!(concat!(
/// #     env!("CARGO_MANIFEST_DIR"),
/// #     "/models/haarcascade_frontalface_default.xml"
/// # ));
/// # let cascade = Cascade::parse(xml)?;
/// let detector = Detector::new(cascade, Options::default())?;
/// let mut search = Search::new(detector, SearchOptions::default())?;
/// let gray = vec![128; 320 * 240];
/// let picture = LumaView::new(&gray, 320, 240, 320)?;
/// let found = search.find(picture, Timestamp::from_millis(0), &[]);
/// assert!(found.full && found.detections.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Search {
    detector: Detector,
    options: SearchOptions,
    /// Work allowed per frame, if there is a limit.
    budget: Option<u64>,
    /// Start of the last full search that ended, and the picture's size then.
    last_full: Option<Timestamp>,
    size: (u32, u32),
    /// The time of the last frame.
    previous: Option<Timestamp>,
    /// Whether all tracked faces were seen in the last frame.
    all_seen: bool,
    /// The key of the tracked face to begin with, if not all could be looked
    /// at.
    turn: Option<u32>,
    /// The keys of the tracked faces that were looked at.
    looked: Vec<u32>,
    sweep: Option<Sweep>,
    /// The raw windows of the sweep, with the time of their frame.
    swept: Vec<(Rect, Timestamp)>,
    detections: Vec<Detection>,
    searched_at: Vec<Timestamp>,
}

/// How far around a face to look, as the options' margin and size range.
#[derive(Clone, Copy, Debug)]
struct Reach {
    margin: f64,
    size_range: f64,
}

/// How far a full search has come.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    started: Timestamp,
    /// The level being searched, from the coarsest (the last) to 0, and its
    /// first row that has not been.
    level: usize,
    row: u32,
}

impl Search {
    /// A search with a detector. If there is a budget and no fixed rate, takes
    /// some tens of milliseconds to measure the rate.
    ///
    /// # Errors
    /// An option out of its range.
    pub fn new(mut detector: Detector, options: SearchOptions) -> Result<Self, DetectError> {
        options.check()?;
        let budget = (options.budget_ms > 0.0).then(|| {
            let rate = if options.work_per_ms > 0.0 {
                options.work_per_ms
            } else {
                measure_rate(&mut detector)
            };
            ((options.budget_ms * rate) as u64).max(1)
        });
        Ok(Self {
            detector,
            options,
            budget,
            last_full: None,
            size: (0, 0),
            previous: None,
            all_seen: false,
            turn: None,
            looked: Vec::with_capacity(TRACKED),
            sweep: None,
            swept: Vec::with_capacity(WINDOWS),
            detections: Vec::with_capacity(WINDOWS),
            searched_at: Vec::with_capacity(WINDOWS),
        })
    }

    /// Allocates all that frames of a certain size need, so that the first one
    /// takes no longer than others.
    pub fn reserve(&mut self, width: u32, height: u32) {
        self.detector.reserve(width, height);
    }

    /// The detector that it uses.
    #[must_use]
    pub const fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Work allowed per frame, in evaluations of features; `None` if unlimited.
    #[must_use]
    pub const fn budget(&self) -> Option<u64> {
        self.budget
    }

    /// Finds faces in the next frame, taken at `now`, where `tracked` says where
    /// the tracked faces are expected.
    pub fn find(
        &mut self,
        picture: LumaView<'_>,
        now: Timestamp,
        tracked: &[Expected],
    ) -> Found<'_> {
        let size = (picture.width(), picture.height());
        if size != self.size {
            self.size = size;
            self.last_full = None;
            self.sweep = None;
        }
        self.detector.begin(picture);
        self.detections.clear();
        self.searched_at.clear();
        self.looked.clear();
        let sought = || tracked.iter().filter(|face| !face.carried);
        self.looked.extend(sought().map(|face| face.key));

        // An unlimited full search that is due anyway needs no look around.
        let mut work = 0;
        let mut due = self.is_due(now, tracked);
        let covered = due && self.budget.is_none();
        if sought().next().is_some() && !covered {
            let limit = self.budget.map(|budget| {
                let least = if due || self.sweep.is_some() {
                    LEAST_SHARE
                } else {
                    0.0
                };
                budget - (budget as f64 * least) as u64
            });
            let reach = self.reach(now);
            work += self.look_around(picture, tracked, reach, limit);
            self.searched_at.resize(self.detections.len(), now);
            let seen = self.sees_all(tracked);
            // Just lost: look everywhere at once.
            due |= self.all_seen && !seen;
            self.all_seen = seen;
        } else if !tracked.is_empty() {
            self.all_seen = true;
        }

        let full = match self.budget {
            None if due => {
                work += self.look_everywhere(picture, now);
                self.all_seen = self.sees_all(tracked);
                true
            }
            Some(budget) if due || self.sweep.is_some() => {
                let least = (budget as f64 * LEAST_SHARE) as u64;
                let left = budget.saturating_sub(work);
                // So little only if a single face takes more than there is.
                let left = if left < least / 4 { least } else { left };
                let (ended, more) = self.sweep_on(picture, now, left);
                work += more;
                ended
            }
            _ => false,
        };
        self.previous = Some(now);
        Found {
            detections: &self.detections,
            searched_at: &self.searched_at,
            looked: &self.looked,
            full,
            work,
        }
    }

    fn is_due(&self, now: Timestamp, tracked: &[Expected]) -> bool {
        let pause = if tracked.is_empty() || !self.all_seen {
            self.options.idle_search_ms
        } else {
            self.options.full_search_ms
        };
        // A clock that went back is a new recording.
        self.last_full
            .is_none_or(|last| now < last || now.since(last) >= Duration::from_millis(pause.into()))
    }

    /// How far to look in a frame taken at `now`.
    fn reach(&self, now: Timestamp) -> Reach {
        let step = self.previous.map_or(PACE, |previous| now.since(previous));
        let growth = (step.as_secs_f64() / PACE.as_secs_f64()).clamp(1.0, MOST_GROWTH);
        // One and a half steps: a face must be found at several scales to pass
        // for one. (No power, whose last bit differs between machines.)
        let step = self.detector.options().scale_factor;
        let range = self.options.size_range.max(step * step.sqrt());
        Reach {
            margin: self.options.margin * growth,
            size_range: 1.0 + (range - 1.0) * growth,
        }
    }

    /// Whether all tracked faces that were looked for are there.
    fn sees_all(&self, tracked: &[Expected]) -> bool {
        tracked.iter().all(|face| {
            !self.looked.contains(&face.key)
                || self
                    .detections
                    .iter()
                    .any(|detection| detection.rect.overlap(face.rect) >= SAME)
        })
    }

    /// Fills in the detections around tracked faces, as many as the limit
    /// allows, and at least one.
    fn look_around(
        &mut self,
        picture: LumaView<'_>,
        tracked: &[Expected],
        reach: Reach,
        limit: Option<u64>,
    ) -> u64 {
        let mut work = 0;
        self.detector.windows.clear();
        self.looked.clear();
        let turn = self.turn.take();
        let first = tracked.iter().position(|face| Some(face.key) == turn);
        let first = first.unwrap_or(0);
        let sought = (first..tracked.len())
            .chain(0..first)
            .filter(|index| !tracked[*index].carried);
        for (done, index) in sought.enumerate() {
            let left = match limit {
                Some(limit) if done > 0 => limit.saturating_sub(work),
                _ => u64::MAX,
            };
            // Faces take about as much as those before them. One that was begun
            // in vain would be work lost.
            let takes = work.checked_div(done as u64).unwrap_or(0);
            let before = self.detector.windows.len();
            let (whole, more) = if takes + takes / 4 <= left {
                self.look_at(picture, tracked[index].rect, reach, left)
            } else {
                (false, 0)
            };
            work += more;
            if !whole {
                self.detector.windows.truncate(before);
                self.turn = Some(tracked[index].key);
                break;
            }
            self.looked.push(tracked[index].key);
        }
        // Where two neighbourhoods overlap, a window was found twice.
        self.detector.windows.sort_unstable();
        self.detector.windows.dedup();
        self.detector.group(picture.bounds());
        self.detections.extend_from_slice(&self.detector.detections);
        work
    }

    /// Adds the windows around a tracked face. Returns whether the allowed work
    /// was enough for all of them, and the work done.
    fn look_at(
        &mut self,
        picture: LumaView<'_>,
        face: Rect,
        reach: Reach,
        allowed: u64,
    ) -> (bool, u64) {
        let mut work = 0;
        for level in 0..self.detector.levels().len() {
            let Some(patch) = self.patch_around(face, reach, level) else {
                continue;
            };
            let allowance = Allowance {
                work: allowed.saturating_sub(work),
                advance: false,
            };
            let (row, more) = self.detector.search(picture, &patch, allowance);
            work += more;
            if row < patch.rows.end {
                return (false, work);
            }
        }
        (true, work)
    }

    /// The windows of a level in which a tracked face may now be.
    fn patch_around(&self, face: Rect, reach: Reach, level: usize) -> Option<Patch> {
        let index = level;
        let level = &self.detector.levels()[index];
        let (width, height) = (f64::from(level.window.0), f64::from(level.window.1));
        let growth = width / f64::from(face.width.max(1));
        if growth > reach.size_range || growth < 1.0 / reach.size_range {
            return None;
        }
        let reach = f64::from(face.width) * reach.margin;
        // Where the window's left (top) edge may be.
        let span = |at: i32, side: u32, window: f64, count: u32| {
            let (from, to) = (
                f64::from(at) - reach,
                f64::from(at) + f64::from(side) + reach,
            );
            level.span(from, (to - window).max(from), count)
        };
        let (left, right) = span(face.x, face.width, width, level.columns);
        let (top, bottom) = span(face.y, face.height, height, level.rows);
        (left < right && top < bottom).then_some(Patch {
            level: index,
            columns: left..right,
            rows: top..bottom,
        })
    }

    /// Fills in the detections of the whole picture.
    fn look_everywhere(&mut self, picture: LumaView<'_>, now: Timestamp) -> u64 {
        let work = self.detector.search_everywhere(picture);
        self.detector.group(picture.bounds());
        self.detections.clear();
        self.detections.extend_from_slice(&self.detector.detections);
        self.searched_at.clear();
        self.searched_at.resize(self.detections.len(), now);
        self.last_full = Some(now);
        work
    }

    /// Goes on with a full search, or begins one, for so much work. When it
    /// ends, adds what it found to the detections.
    fn sweep_on(&mut self, picture: LumaView<'_>, now: Timestamp, limit: u64) -> (bool, u64) {
        let levels = self.detector.levels().len();
        let mut sweep = self.sweep.unwrap_or_else(|| {
            self.swept.clear();
            Sweep {
                started: now,
                level: levels.saturating_sub(1),
                row: 0,
            }
        });
        let mut work = 0;
        // A picture smaller than the window has no levels, and is done at once.
        for level in (0..=sweep.level).rev().take(levels) {
            if level < sweep.level {
                sweep.level = level;
                sweep.row = 0;
                if work >= limit {
                    self.sweep = Some(sweep);
                    return (false, work);
                }
            }
            let patch = Patch {
                rows: sweep.row..self.detector.levels()[sweep.level].rows,
                ..self.detector.whole(sweep.level)
            };
            self.detector.windows.clear();
            let allowance = Allowance {
                work: limit.saturating_sub(work),
                advance: work == 0,
            };
            let (row, more) = self.detector.search(picture, &patch, allowance);
            work += more;
            self.swept
                .extend(self.detector.windows.iter().map(|&window| (window, now)));
            sweep.row = row;
            if row < patch.rows.end {
                self.sweep = Some(sweep);
                return (false, work);
            }
        }

        self.sweep = None;
        self.last_full = Some(sweep.started);
        self.detector.windows.clear();
        self.detector
            .windows
            .extend(self.swept.iter().map(|&(window, _)| window));
        self.detector.group(picture.bounds());
        // Faces that were just looked at are known better.
        let fresh = self.detections.len();
        for detection in &self.detector.detections {
            let known = self.detections[..fresh]
                .iter()
                .any(|known| known.rect.overlap(detection.rect) >= SAME);
            if !known {
                self.detections.push(*detection);
                let oldest = self
                    .swept
                    .iter()
                    .filter(|(window, _)| window.overlap(detection.rect) >= SUPPORTS)
                    .map(|&(_, time)| time)
                    .min();
                self.searched_at.push(oldest.unwrap_or(sweep.started));
            }
        }
        self.sort();
        (true, work)
    }

    /// Sorts the detections, and their times with them.
    fn sort(&mut self) {
        // Insertion: they are few, and two sorted runs already.
        for sorted in 1..self.detections.len() {
            let mut at = sorted;
            while at > 0 && self.detections[at] < self.detections[at - 1] {
                self.detections.swap(at, at - 1);
                self.searched_at.swap(at, at - 1);
                at -= 1;
            }
        }
    }
}

/// Of this thread, so that other work on the machine does not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Measures how much work a millisecond allows: the best of a few searches of
/// a picture of rough texture, in which windows get about as far through the
/// cascade as in a real scene.
fn measure_rate(detector: &mut Detector) -> f64 {
    const WIDTH: u32 = 320;
    const HEIGHT: u32 = 240;
    let mut state = 0x2545_f491_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let coarse: Vec<u8> = (0..(WIDTH / 4) * (HEIGHT / 4))
        .map(|_| random() as u8)
        .collect();
    let pixels: Vec<u8> = (0..WIDTH * HEIGHT)
        .map(|index| {
            let (x, y) = (index % WIDTH, index / WIDTH);
            coarse[(y / 4 * (WIDTH / 4) + x / 4) as usize] / 2 + (random() as u8) / 2
        })
        .collect();
    let Ok(picture) = LumaView::new(&pixels, WIDTH, HEIGHT, WIDTH as usize) else {
        return 1.0;
    };
    let mut best = 1.0_f64;
    for _ in 0..5 {
        detector.begin(picture);
        let start = processor_time();
        let work = detector.search_everywhere(picture);
        let millis = processor_time().saturating_sub(start).as_secs_f64() * 1e3;
        best = best.max(work as f64 / millis.max(1e-3));
    }
    best * RELIABLE
}
