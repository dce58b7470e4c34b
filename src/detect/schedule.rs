//! Decides where to search in each frame of a video.
//!
//! A full search of every frame wastes time: from one frame to the next a face
//! hardly moves or changes its size. So [`Search`] searches around the tracked
//! faces, and the whole frame only from time to time, or as soon as a tracked
//! face is not found. Both kinds of search use the same windows, the same
//! cascade and the same grouping, so a face gets about the same box.
//!
//! The work per frame can have a limit, the budget. Then a full search takes
//! several frames, from the largest faces to the smallest, and gives its result
//! with its last frame. If one frame has no time for all tracked faces, they
//! take turns.
//!
//! **Time does not decide what is found.** The search in a frame depends on the
//! frames, their timestamps and the options, never on a clock, so a recording
//! gives the same result each time. A rate turns a budget in milliseconds into
//! an amount of work, counted in evaluations of features. The rate is measured
//! once at the start, or fixed in the options: fix it if two runs must agree to
//! the bit. Then two machines agree if they use the same instruction set,
//! because the number of windows per evaluation depends on it. Without a
//! budget, all machines agree.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::detector::{Allowance, Detector, Patch, WINDOWS};
use super::error::DetectError;
use super::group::Detection;
use crate::frame::{LumaView, Rect, Timestamp};

/// Overlap (intersection over union) from which two boxes are the same face.
const SAME: f64 = 0.3;

/// Overlap from which on a raw window supports a face.
const SUPPORTS: f64 = 0.5;

/// The part of a frame's budget that is reserved for a running full search, so
/// that it ends even if many faces are tracked.
const LEAST_SHARE: f64 = 0.25;

/// The time between frames for which margin and size range are meant, and how
/// much they grow at most if it is longer, because faces move more.
const PACE: Duration = Duration::from_millis(50);
const MOST_GROWTH: f64 = 2.0;

/// The part of the best measured rate that the budget uses, because the time of
/// an evaluation depends on the picture.
const RELIABLE: f64 = 0.75;

/// The number of tracked faces that there is room for at the start; more make a
/// vector grow, once.
const TRACKED: usize = 64;

/// When and where to search: the board file's `[detect.search]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchOptions {
    /// Milliseconds from one full search to the next while all tracked faces
    /// are seen: a new face is found at most this late. 0: every frame is
    /// searched completely.
    pub full_search_ms: u32,
    /// The same while no face is tracked, or a tracked face is not seen.
    pub idle_search_ms: u32,
    /// How far to search around a tracked face, to each side, as a part of its
    /// size: from 0.1 to 4. Up to twice as far at less than 20 frames per
    /// second.
    pub margin: f64,
    /// How much larger and smaller than before a face may be: from 1.05 to 4.
    /// It grows with the margin, and is never less than one and a half steps of
    /// the pyramid.
    pub size_range: f64,
    /// Milliseconds that a frame's search may take; 0: no limit. At least one
    /// tracked face is searched in each frame, even if that takes longer.
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

/// A tracked face, and its expected place in the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The caller's number for the face, unique in a frame.
    pub key: u32,
    pub rect: Rect,
    /// Whether the face net follows the face. Then its surroundings are not
    /// searched, and it does not count as missing.
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

/// The result of a frame's search.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The faces, sorted.
    pub detections: &'a [Detection],
    /// For each of them, when its place was last searched: the time of this
    /// frame, or of an earlier one if a full search over several frames ended
    /// with this frame.
    pub searched_at: &'a [Timestamp],
    /// The keys of the tracked faces whose surroundings were searched in this
    /// frame. The others do not count as missing.
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
    /// Start of the last complete full search, and the picture's size then.
    last_full: Option<Timestamp>,
    size: (u32, u32),
    /// The time of the last frame.
    previous: Option<Timestamp>,
    /// Whether all tracked faces were seen in the last frame.
    all_seen: bool,
    /// The key of the tracked face to begin with, if there was no time for all.
    turn: Option<u32>,
    /// The keys of the tracked faces that were searched.
    looked: Vec<u32>,
    sweep: Option<Sweep>,
    /// The raw windows of the sweep, with the time of their frame.
    swept: Vec<(Rect, Timestamp)>,
    detections: Vec<Detection>,
    searched_at: Vec<Timestamp>,
}

/// The margin and the size range for a frame.
#[derive(Clone, Copy, Debug)]
struct Reach {
    margin: f64,
    size_range: f64,
}

/// The progress of a full search.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    started: Timestamp,
    /// The level being searched, from the coarsest (the last) to 0, and its
    /// first row that is not searched yet.
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

    /// Allocates the memory for frames of this size, so that the first one
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

        // If an unlimited full search is due, a search around faces is not
        // needed.
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
            // A face was just lost: search the whole frame at once.
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
                // So little is left only if a single face needs more than the
                // budget.
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
        // If the clock went back, this is a new recording.
        self.last_full
            .is_none_or(|last| now < last || now.since(last) >= Duration::from_millis(pause.into()))
    }

    /// The margin and size range for a frame taken at `now`.
    fn reach(&self, now: Timestamp) -> Reach {
        let step = self.previous.map_or(PACE, |previous| now.since(previous));
        let growth = (step.as_secs_f64() / PACE.as_secs_f64()).clamp(1.0, MOST_GROWTH);
        // One and a half steps, because a face must be found at several scales.
        // (Without `powf`, whose last bit differs between machines.)
        let step = self.detector.options().scale_factor;
        let range = self.options.size_range.max(step * step.sqrt());
        Reach {
            margin: self.options.margin * growth,
            size_range: 1.0 + (range - 1.0) * growth,
        }
    }

    /// Whether all tracked faces that were searched were found.
    fn sees_all(&self, tracked: &[Expected]) -> bool {
        tracked.iter().all(|face| {
            !self.looked.contains(&face.key)
                || self
                    .detections
                    .iter()
                    .any(|detection| detection.rect.overlap(face.rect) >= SAME)
        })
    }

    /// Searches around tracked faces, as many as the limit allows and at least
    /// one, and fills in the detections.
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
            // A face needs about as much work as those before it. A face that
            // cannot be completed would waste work.
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
        // If two neighbourhoods overlap, a window was found twice.
        self.detector.windows.sort_unstable();
        self.detector.windows.dedup();
        self.detector.group(picture.bounds());
        self.detections.extend_from_slice(&self.detector.detections);
        work
    }

    /// Adds the windows around a tracked face. Returns whether the limit was
    /// enough for all of them, and the work done.
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

    /// The windows of a level that may contain a tracked face now.
    fn patch_around(&self, face: Rect, reach: Reach, level: usize) -> Option<Patch> {
        let index = level;
        let level = &self.detector.levels()[index];
        let (width, height) = (f64::from(level.window.0), f64::from(level.window.1));
        let growth = width / f64::from(face.width.max(1));
        if growth > reach.size_range || growth < 1.0 / reach.size_range {
            return None;
        }
        let reach = f64::from(face.width) * reach.margin;
        // The possible places of the window's left (top) edge.
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

    /// Continues or begins a full search, within a limit of work. When it ends,
    /// adds its faces to the detections.
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
        // A picture smaller than the window has no levels, so the search ends
        // at once.
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
        // The faces that were just searched have newer boxes.
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

/// The processor time of this thread, so that other programs do not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Measures how much work a millisecond allows: the best of a few searches of a
/// rough texture, in which windows pass about as many stages as in a real
/// scene.
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
