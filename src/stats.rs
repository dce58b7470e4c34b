//! How long each stage takes: histograms of fixed size, filled by the loop and
//! printed on exit by `affectd run --stats`.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// A part of the loop that is timed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// From asking for a frame to having it, waiting for the camera included.
    Capture,
    Detect,
    Track,
    /// One face: cropping, resampling, the network.
    Classify,
    Decide,
    /// Handing decisions to all outputs, GPIO lines set.
    Output,
    /// From having a frame to having handed its decisions to all outputs.
    Frame,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Capture,
        Self::Detect,
        Self::Track,
        Self::Classify,
        Self::Decide,
        Self::Output,
        Self::Frame,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture, with waiting",
            Self::Detect => "detect",
            Self::Track => "track",
            Self::Classify => "classify, a face",
            Self::Decide => "decide",
            Self::Output => "output",
            Self::Frame => "frame ready to outputs",
        }
    }
}

/// The longest time told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(60);

/// Times of all stages since the start, in memory of fixed size.
pub struct Stats {
    histograms: [Histogram<u64>; Stage::ALL.len()],
    frames: u64,
    dropped: u64,
    started: Instant,
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

impl Stats {
    /// Empty statistics. All memory is taken here.
    ///
    /// # Panics
    /// Never: the bounds are constants that a histogram takes.
    #[must_use]
    pub fn new() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        Self {
            // 2 significant digits: 1% is finer than any of these times repeats.
            histograms: std::array::from_fn(|_| {
                Histogram::new_with_bounds(100, longest, 2).expect("constant bounds are valid")
            }),
            frames: 0,
            dropped: 0,
            started: Instant::now(),
        }
    }

    /// Runs a part of the loop and notes how long it took.
    pub fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.note(stage, start.elapsed());
        result
    }

    /// Notes how long something took.
    pub fn note(&mut self, stage: Stage, took: Duration) {
        self.histograms[stage as usize].saturating_record(took.as_nanos() as u64);
    }

    /// Counts a frame that went through all stages, and those that the source
    /// dropped before it.
    pub fn count_frame(&mut self, dropped_before: u64) {
        self.frames += 1;
        self.dropped += dropped_before;
    }

    /// Frames that went through all stages.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that the source dropped because the loop was behind.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
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
            "{} frames in {seconds:.1} s ({:.1} a second), {} dropped",
            self.frames,
            self.frames as f64 / seconds.max(1e-9),
            self.dropped
        )?;
        writeln!(
            f,
            "{:<24}{:>10}{:>14}{:>14}{:>14}",
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
                "{:<24}{:>10}{:>14.3}{:>14.3}{:>14.3}",
                stage.name(),
                histogram.len(),
                millis(histogram.value_at_quantile(0.5)),
                millis(histogram.value_at_quantile(0.99)),
                millis(histogram.max())
            )?;
        }
        Ok(())
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
        stats.count_frame(2);
        let text = stats.to_string();
        assert!(text.starts_with("1 frames in"), "{text}");
        assert!(text.contains("2 dropped"), "{text}");
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
            !text.contains("classify"),
            "a stage without times has no line"
        );
    }
}
