//! The time of each stage, in histograms of fixed size. The loop fills them,
//! and `affectd run --stats` prints them on exit.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::host::memory;
use crate::host::realtime::page_faults;

/// A part of the loop that is timed separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// From the request of a frame to its arrival, including the wait for the
    /// camera.
    Capture,
    Detect,
    Track,
    /// One observer of one face: cropping, resampling, the network.
    Observe,
    Decide,
    /// Reports to all outputs, including the change of GPIO lines.
    Output,
    /// From the arrival of a frame to the change of GPIO lines, if it changes
    /// one.
    Edge,
    /// From the arrival of a frame to the end of the reports to all outputs.
    Frame,
}

impl Stage {
    /// Every part, in the order of a frame.
    pub const ALL: [Self; 8] = [
        Self::Capture,
        Self::Detect,
        Self::Track,
        Self::Observe,
        Self::Decide,
        Self::Output,
        Self::Edge,
        Self::Frame,
    ];

    /// The name used as a label of metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Detect => "detect",
            Self::Track => "track",
            Self::Observe => "observe",
            Self::Decide => "decide",
            Self::Output => "output",
            Self::Edge => "edge",
            Self::Frame => "frame",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture, with waiting",
            Self::Detect => "detect",
            Self::Track => "track",
            Self::Observe => "observe, per face",
            Self::Decide => "decide",
            Self::Output => "output",
            Self::Edge => "frame ready to GPIO edge",
            Self::Frame => "frame ready to outputs",
        }
    }
}

/// The time that a frame may take: the interval of a camera with 30 frames per
/// second.
const DEADLINE: Duration = Duration::from_nanos(33_333_333);

/// Longer times count as this.
const LONGEST: Duration = Duration::from_secs(60);

/// How often a stage took how long since the start, in few and fixed buckets for
/// metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// The times up to each of [`Buckets::BOUNDS`] that are longer than the bound
    /// before it.
    pub counts: [u64; Self::BOUNDS.len()],
    /// All times, longer ones included.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
}

impl Buckets {
    /// The longest time of each bucket, in milliseconds.
    pub const BOUNDS: [u32; 8] = [1, 2, 5, 10, 33, 100, 300, 1000];

    fn note(&mut self, took: Duration) {
        let is_within = |bound: &u32| took <= Duration::from_millis(u64::from(*bound));
        if let Some(bucket) = Self::BOUNDS.iter().position(is_within) {
            self.counts[bucket] += 1;
        }
        self.count += 1;
        self.sum += took;
    }
}

/// [`Buckets`] of every stage, in the order of [`Stage::ALL`].
pub type StageBuckets = [Buckets; Stage::ALL.len()];

/// Times of all stages since the start, in memory of fixed size.
pub struct Stats {
    histograms: [Histogram<u64>; Stage::ALL.len()],
    buckets: StageBuckets,
    /// Times of [`Stage::Frame`] since the last [`Stats::begin_period`].
    recent: Histogram<u64>,
    frames: u64,
    dropped: u64,
    /// Allocations of the loop's thread outside of frames.
    other_allocations: u64,
    started: Instant,
    /// The counts after the first [`WARM_UP`] frames.
    warm: Option<Used>,
}

/// Frames of the last few seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    pub frames: u64,
    /// The median time from the arrival of a frame to the end of the reports to
    /// all outputs.
    pub p50: Option<Duration>,
    /// The same time, as the 99th percentile.
    pub p99: Option<Duration>,
}

/// After this many frames every buffer has its final size.
pub const WARM_UP: u64 = 100;

/// Calls of the system's allocator by the loop, and page faults of the process.
#[derive(Clone, Copy)]
struct Used {
    allocations: u64,
    faults: (u64, u64),
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

impl Stats {
    /// Empty statistics. All memory is allocated here.
    ///
    /// # Panics
    /// Never: the bounds are valid constants.
    #[must_use]
    pub fn new() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        Self {
            // 2 significant digits: these times vary by more than 1%.
            histograms: std::array::from_fn(|_| {
                Histogram::new_with_bounds(100, longest, 2).expect("constant bounds are valid")
            }),
            buckets: StageBuckets::default(),
            recent: Histogram::new_with_bounds(10_000, longest, 2)
                .expect("constant bounds are valid"),
            frames: 0,
            dropped: 0,
            other_allocations: 0,
            started: Instant::now(),
            warm: None,
        }
    }

    /// Runs a part of the loop and notes its time.
    pub fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.note(stage, start.elapsed());
        result
    }

    /// Notes how long something took.
    pub fn note(&mut self, stage: Stage, took: Duration) {
        self.histograms[stage as usize].saturating_record(took.as_nanos() as u64);
        self.buckets[stage as usize].note(took);
        if stage == Stage::Frame {
            self.recent.saturating_record(took.as_nanos() as u64);
        }
    }

    /// The frames since the last [`Stats::begin_period`].
    #[must_use]
    pub fn recent(&self) -> Recent {
        let quantile = |quantile| {
            let nanos = self.recent.value_at_quantile(quantile);
            (!self.recent.is_empty()).then(|| Duration::from_nanos(nanos))
        };
        Recent {
            frames: self.recent.len(),
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }

    /// How often each stage took how long.
    #[must_use]
    pub const fn buckets(&self) -> &StageBuckets {
        &self.buckets
    }

    /// Begins to collect [`Stats::recent`] again, without earlier frames.
    pub fn begin_period(&mut self) {
        self.recent.reset();
    }

    /// The quantile of a stage's times, if there are any.
    #[must_use]
    pub fn quantile(&self, stage: Stage, quantile: f64) -> Option<Duration> {
        let histogram = &self.histograms[stage as usize];
        (!histogram.is_empty()).then(|| Duration::from_nanos(histogram.value_at_quantile(quantile)))
    }

    /// Counts a frame that passed through all stages, and the frames that the
    /// source dropped before it.
    pub fn count_frame(&mut self, dropped_before: u64) {
        if self.frames == WARM_UP {
            // Reading the page faults allocates, which does not count for the
            // loop.
            let faults = page_faults().unwrap_or_default();
            self.warm = Some(Used {
                faults,
                allocations: self.allocations_so_far(),
            });
        }
        self.frames += 1;
        self.dropped += dropped_before;
    }

    /// Frames that went through all stages.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that the source dropped because the loop was too slow.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Frames that took longer than a camera's interval, so that the next frame
    /// had to wait.
    #[must_use]
    pub fn late(&self) -> u64 {
        let histogram = &self.histograms[Stage::Frame as usize];
        histogram.count_between(DEADLINE.as_nanos() as u64 + 1, u64::MAX)
    }

    /// Allocations by the system's allocator on this thread since the first
    /// [`WARM_UP`] frames were over; `None` before.
    #[must_use]
    pub fn allocations(&self) -> Option<u64> {
        let now = self.allocations_so_far();
        self.warm.map(|warm| now - warm.allocations)
    }

    /// Runs work of the loop's thread between frames that may allocate, such as
    /// reading a board file: its allocations do not count as a frame's.
    pub fn between_frames<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = memory::usage().system_here;
        let result = work();
        self.leave_out_allocations_since(before);
        result
    }

    /// Does not count this thread's allocations as those of frames, from the
    /// moment at which [`Usage::system_here`](memory::Usage::system_here) was
    /// `before`.
    pub fn leave_out_allocations_since(&mut self, before: u64) {
        self.other_allocations += memory::usage().system_here - before;
    }

    fn allocations_so_far(&self) -> u64 {
        memory::usage().system_here - self.other_allocations
    }

    /// Time since the statistics began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed().as_secs_f64();
        writeln!(
            f,
            "{} frames in {seconds:.1} s ({:.1} a second), {} dropped, {} took longer than {:.1} ms",
            self.frames,
            self.frames as f64 / seconds.max(1e-9),
            self.dropped,
            self.late(),
            DEADLINE.as_secs_f64() * 1e3
        )?;
        writeln!(
            f,
            "{:<26}{:>8}{:>14}{:>14}{:>14}",
            "stage", "times", "median ms", "99th % ms", "longest ms"
        )?;
        for stage in Stage::ALL {
            let histogram = &self.histograms[stage as usize];
            if histogram.is_empty() {
                continue;
            }
            let millis = |nanos: u64| nanos as f64 / 1e6;
            writeln!(
                f,
                "{:<26}{:>8}{:>14.3}{:>14.3}{:>14.3}",
                stage.name(),
                histogram.len(),
                millis(histogram.value_at_quantile(0.5)),
                millis(histogram.value_at_quantile(0.99)),
                millis(histogram.max())
            )?;
        }
        self.write_memory(f)
    }
}

impl Stats {
    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = memory::usage();
        writeln!(
            f,
            "frame arena: {} of {} KiB used at most, {} allocations passed on to the system",
            usage.high_water.div_ceil(1024),
            usage.arena / 1024,
            usage.overflows
        )?;
        let allocations = self.allocations_so_far();
        let (minor, major) = page_faults().unwrap_or_default();
        let Some(warm) = self.warm else {
            return writeln!(
                f,
                "since the start: {allocations} allocations by the system, {minor} page faults \
                 and {major} from disk"
            );
        };
        let frames = self.frames - WARM_UP;
        let allocations = allocations - warm.allocations;
        writeln!(
            f,
            "in {frames} frames after the first {WARM_UP}: {allocations} allocations by the \
             system ({:.3} a frame), {} page faults and {} from disk",
            allocations as f64 / frames.max(1) as f64,
            minor - warm.faults.0,
            major - warm.faults.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_noted() {
        let mut stats = Stats::new();
        for millis in 1..=100 {
            stats.note(Stage::Detect, Duration::from_millis(millis));
        }
        stats.note(Stage::Frame, Duration::from_secs(3600));
        stats.note(Stage::Frame, Duration::from_millis(34));
        stats.note(Stage::Frame, Duration::from_millis(33));
        assert_eq!(stats.late(), 2);
        stats.count_frame(2);
        let text = stats.to_string();
        assert!(text.starts_with("1 frames in"), "{text}");
        assert!(
            text.contains("2 dropped, 2 took longer than 33.3 ms"),
            "{text}"
        );
        let detect: Vec<f64> = text
            .lines()
            .find(|line| line.starts_with("detect"))
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!(detect[0], 100.0);
        for (got, want) in detect[1..].iter().zip([50.0, 99.0, 100.0]) {
            assert!((got - want).abs() / want < 0.01, "{got} for {want}");
        }
        assert!(
            !text.contains("observe"),
            "a stage without times has no line"
        );
    }

    #[test]
    fn a_time_counts_in_the_first_bucket_that_it_fits_into() {
        let mut stats = Stats::new();
        let micros = [0, 1000, 1001, 33_000, 33_001, 1_000_000, 1_000_001];
        for micros in micros {
            stats.note(Stage::Track, Duration::from_micros(micros));
        }
        let buckets = stats.buckets()[Stage::Track as usize];
        assert_eq!(buckets.counts, [2, 1, 0, 0, 1, 1, 0, 1]);
        assert_eq!(buckets.count, 7);
        assert_eq!(buckets.sum, Duration::from_micros(micros.iter().sum()));
        assert_eq!(stats.buckets()[Stage::Frame as usize], Buckets::default());
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index);
        }
    }
}
