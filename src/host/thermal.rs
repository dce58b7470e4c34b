//! How hot the machine is, from files of the kernel and of the Raspberry Pi's
//! firmware, and what affectd does about it: above a set temperature about
//! every other frame is skipped, which about halves the heat that affectd
//! causes. The firmware's own limit would slow down all programs of the
//! machine.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::fault::FaultLog;
use crate::frame::Timestamp;

/// The board file's `[thermal]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A file with the temperature in thousandths of a degree Celsius, as in
    /// the kernel's thermal zones.
    pub zone: Option<PathBuf>,
    /// A file with the firmware's throttling bits in hexadecimal, as the
    /// Raspberry Pi's driver gives them.
    pub throttled: Option<PathBuf>,
    /// Degrees Celsius from which it is too hot.
    pub limit: f32,
}

impl Options {
    /// The first zone, on boards the processor's.
    pub const ZONE: &str = "/sys/class/thermal/thermal_zone0/temp";
    /// Boards throttle at 80 to 85 degrees.
    pub const LIMIT: f32 = 75.0;
}

/// Cool again means this much below the limit: otherwise the rate would change
/// with each small change of temperature.
const MARGIN: f32 = 5.0;

/// How often the files are read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The firmware's bits for "now": the frequency is capped, the processor is
/// throttled, the soft temperature limit holds. Bit 0, too low a voltage, has
/// nothing to do with heat, and the upper half is about the past.
const THROTTLED_NOW: u32 = 0b1110;

/// Looks at the temperature once a second.
#[derive(Debug)]
pub struct Thermometer {
    options: Options,
    looked: Option<Instant>,
    celsius: Option<f32>,
    hot: bool,
    reason: String,
    fault: FaultLog,
}

impl Thermometer {
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            looked: None,
            celsius: None,
            hot: false,
            reason: String::new(),
            fault: FaultLog::new("temperature"),
        }
    }

    /// Whether it has become too hot, or cool again, since the last call, with
    /// the reason. Reads the files at most once a second. A file that cannot be
    /// read is logged once and ignored.
    pub fn look(&mut self) -> Option<(bool, &str)> {
        if self.looked.is_some_and(|at| at.elapsed() < INTERVAL) {
            return None;
        }
        self.looked = Some(Instant::now());
        self.judge()
    }

    /// The temperature in degrees Celsius when it was last looked at.
    #[must_use]
    pub const fn celsius(&self) -> Option<f32> {
        self.celsius
    }

    fn judge(&mut self) -> Option<(bool, &str)> {
        let mut well = true;
        let mut read = |path: &Option<PathBuf>, parse: fn(&str) -> Option<f32>| {
            let path = path.as_deref()?;
            read_number(path, parse)
                .inspect_err(|error| {
                    well = false;
                    self.fault
                        .occurred(&format_args!("{}: {error}", path.display()));
                })
                .ok()
        };
        let celsius = read(&self.options.zone, |text| {
            let thousandths: f32 = text.parse().ok()?;
            Some(thousandths / 1000.0)
        });
        let throttled = read(&self.options.throttled, |text| {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            let bits = u32::from_str_radix(digits, 16).ok()?;
            Some((bits & THROTTLED_NOW) as f32)
        })
        .map(|bits| bits != 0.0);
        if well {
            self.fault.cleared();
        }

        self.celsius = celsius;

        let bound = self.options.limit - if self.hot { MARGIN } else { 0.0 };
        let hot = celsius.is_some_and(|celsius| celsius >= bound) || throttled == Some(true);
        if hot == self.hot || (celsius, throttled) == (None, None) {
            return None;
        }
        self.hot = hot;
        self.reason.clear();
        // Writing to a String cannot fail.
        let _ = match (celsius, throttled) {
            (_, Some(true)) => write!(self.reason, "the firmware throttles the processor"),
            (Some(celsius), _) => {
                write!(
                    self.reason,
                    "{celsius:.1} degrees, the limit is {}",
                    self.options.limit
                )
            }
            _ => write!(
                self.reason,
                "the firmware no longer throttles the processor"
            ),
        };
        Some((hot, &self.reason))
    }
}

fn read_number(path: &Path, parse: fn(&str) -> Option<f32>) -> io::Result<f32> {
    // On the stack, because this runs while frames are processed.
    let mut bytes = [0; 64];
    let length = File::open(path)?.read(&mut bytes)?;
    std::str::from_utf8(&bytes[..length])
        .ok()
        .and_then(|text| parse(text.trim()))
        .ok_or_else(|| io::Error::other("does not contain the expected number"))
}

/// Which frames are skipped while it is too hot.
///
/// Skipping every second frame is not enough: if the processor is slower than
/// the camera, the next frame is already there when the last one is done, and
/// the rate would stay the same.
///
/// ```
/// use affectd::frame::Timestamp;
/// use affectd::host::thermal::HalfRate;
///
/// let mut rate = HalfRate::default();
/// let mut taken = |from: u64, to: u64, rate: &mut HalfRate| {
///     (from..to).filter(|n| rate.takes(Timestamp::from_millis(n * 33))).count()
/// };
/// assert_eq!(taken(0, 100, &mut rate), 100);
/// rate.set(true);
/// assert_eq!(taken(100, 200, &mut rate), 50);
/// ```
#[derive(Debug, Default)]
pub struct HalfRate {
    on: bool,
    /// The last frame that was taken.
    last: Option<Timestamp>,
    /// The usual time from one frame to the next, as it was before.
    interval: Duration,
}

/// A longer time without a frame is a camera that was gone.
const GAP: Duration = Duration::from_secs(2);

impl HalfRate {
    pub const fn set(&mut self, on: bool) {
        self.on = on;
    }

    /// Whether the frame with this timestamp should be processed.
    pub fn takes(&mut self, at: Timestamp) -> bool {
        let since = self
            .last
            .filter(|last| *last <= at)
            .map(|last| at.since(last))
            .filter(|since| *since < GAP);
        if let Some(since) = since {
            if self.interval.is_zero() {
                self.interval = since;
            } else if self.on {
                // Twice the interval, with room for a camera that jitters.
                if since < self.interval * 9 / 5 {
                    return false;
                }
            } else {
                self.interval = (self.interval * 7 + since) / 8;
            }
        }
        self.last = Some(at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        folder: tempfile::TempDir,
        thermometer: Thermometer,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str| Some(folder.path().join(name));
            let options = Options {
                zone: file("temp"),
                throttled: file("get_throttled"),
                limit: 70.0,
            };
            Self {
                thermometer: Thermometer::new(options),
                folder,
            }
        }

        fn says(&mut self, temp: &str, throttled: &str) -> Option<(bool, String)> {
            for (name, text) in [("temp", temp), ("get_throttled", throttled)] {
                std::fs::write(self.folder.path().join(name), text).unwrap();
            }
            let (hot, reason) = self.thermometer.judge()?;
            Some((hot, reason.to_owned()))
        }
    }

    #[test]
    fn a_limit_that_is_passed_is_news_and_so_is_its_end() {
        let mut machine = Machine::new();
        assert_eq!(machine.says("69999\n", "0\n"), None);
        let (hot, reason) = machine.says("70000\n", "0\n").unwrap();
        assert!(hot && reason.contains("70.0 degrees"), "{reason}");
        assert_eq!(machine.says("80000\n", "0\n"), None);
        assert_eq!(machine.says("65000\n", "0\n"), None);
        let (hot, reason) = machine.says("64900\n", "0\n").unwrap();
        assert!(!hot && reason.contains("64.9 degrees"), "{reason}");
    }

    #[test]
    fn the_firmware_may_throttle_before() {
        let mut machine = Machine::new();
        // Too low a voltage, and all of the past.
        assert_eq!(machine.says("50000\n", "f0001\n"), None);
        let (hot, reason) = machine.says("50000\n", "0x50008\n").unwrap();
        assert!(hot && reason.contains("firmware"), "{reason}");
        let (hot, _) = machine.says("50000\n", "50000\n").unwrap();
        assert!(!hot);
    }

    #[test]
    fn a_sensor_that_cannot_be_read_changes_nothing() {
        let mut machine = Machine::new();
        assert!(machine.thermometer.judge().is_none());
        assert_eq!(machine.says("hot", "no"), None);
        assert!(machine.says("90000", "0").is_some());
        std::fs::remove_file(machine.folder.path().join("temp")).unwrap();
        std::fs::remove_file(machine.folder.path().join("get_throttled")).unwrap();
        assert!(machine.thermometer.judge().is_none());
        assert!(machine.thermometer.hot);
        assert!(machine.thermometer.fault.total() > 0);
    }

    #[test]
    fn files_are_read_once_a_second() {
        let mut machine = Machine::new();
        assert!(machine.thermometer.look().is_none());
        std::fs::write(machine.folder.path().join("temp"), "90000").unwrap();
        assert!(machine.thermometer.look().is_none());
        machine.thermometer.looked = Instant::now().checked_sub(INTERVAL);
        assert!(machine.thermometer.look().is_some_and(|(hot, _)| hot));
    }

    /// How many of the frames that come every `camera` ms a loop that needs
    /// `work` ms for each takes in ten seconds.
    fn frames(rate: &mut HalfRate, start: u64, camera: u64, work: u64) -> u64 {
        let (mut now, mut taken) = (start, 0);
        while now < start + 10_000 {
            let frame = now.next_multiple_of(camera);
            if rate.takes(Timestamp::from_millis(frame)) {
                taken += 1;
                now = frame + work;
            } else {
                now = frame + 1;
            }
        }
        taken
    }

    #[test]
    fn the_rate_halves_whoever_sets_it() {
        for (camera, work) in [(33, 5), (33, 100), (40, 39), (100, 10)] {
            let mut rate = HalfRate::default();
            let cool = frames(&mut rate, 0, camera, work);
            rate.set(true);
            let hot = frames(&mut rate, 10_000, camera, work);
            let share = hot as f64 / cool as f64;
            assert!((0.4..=0.6).contains(&share), "{cool} {hot}");
            rate.set(false);
            let again = frames(&mut rate, 20_000, camera, work);
            assert!(again.abs_diff(cool) <= cool / 20 + 1, "{cool} {again}");
        }
    }

    #[test]
    fn a_recording_that_starts_again_and_a_camera_that_was_gone_go_on() {
        let mut rate = HalfRate::default();
        for at in [0, 40, 80, 120] {
            assert!(rate.takes(Timestamp::from_millis(at)));
        }
        rate.set(true);
        assert!(rate.takes(Timestamp::from_millis(0)));
        assert!(!rate.takes(Timestamp::from_millis(40)));
        assert!(rate.takes(Timestamp::from_millis(60_000)));
    }

    #[test]
    fn a_machine_that_is_hot_from_the_start_is_halved_too() {
        let mut rate = HalfRate::default();
        rate.set(true);
        let taken = frames(&mut rate, 0, 50, 1);
        assert!((100..=103).contains(&taken), "{taken}");
    }
}
