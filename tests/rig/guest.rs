//! The state of the machine that the scenarios run on: lines, cameras,
//! processes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// Long enough for the emulated processor. Only a failure takes this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds, and returns how long that took.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

/// The physical level of a line of the simulated GPIO chip.
pub fn level(line: u32) -> bool {
    let path = format!("/run/rig/gpio/sim_gpio{line}/value");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim() == "1"
}

/// The chip that these lines are on.
pub fn chip() -> String {
    let link = fs::read_link("/run/rig/gpio").expect("the simulated chip");
    let name = link.file_name().expect("a device").display();
    format!("/dev/{name}")
}

/// The global number of the simulated chip's first line.
pub fn base() -> u32 {
    fs::read_dir("/run/rig/gpio/../gpio")
        .expect("the simulated chip")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("base")).ok())
        .find_map(|text| text.trim().parse().ok())
        .expect("a chip")
}

/// The lines of robot.toml.
pub mod lines {
    pub const ANGRY: u32 = 5;
    pub const DISGUST: u32 = 6;
    pub const FEAR: u32 = 13;
    pub const HAPPY: u32 = 19;
    pub const SAD: u32 = 26;
    pub const SURPRISE: u32 = 16;
    pub const NEUTRAL: u32 = 20;
    /// On when low.
    pub const FACE: u32 = 21;
    pub const UNCERTAIN: u32 = 12;
    pub const HEARTBEAT: u32 = 17;

    /// The lines that a scenario adds.
    pub const ASLEEP: u32 = 22;
    pub const NO_READING: u32 = 23;
    pub const FATIGUE_OK: u32 = 24;

    /// The lines of which at most one is on.
    pub const STATES: [u32; 8] = [
        ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL, UNCERTAIN,
    ];
}

/// Which of the state lines are on.
pub fn states_on() -> Vec<u32> {
    lines::STATES
        .into_iter()
        .filter(|&line| level(line))
        .collect()
}

/// Whether every line of robot.toml except the heartbeat is at its safe level.
pub fn all_safe() -> bool {
    // `face` is active low, so off is high.
    states_on().is_empty() && level(lines::FACE)
}

/// The existing video nodes.
pub fn cameras() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir("/dev")
        .expect("/dev")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("video"))
        .collect();
    names.sort();
    names
}

/// The size of the screen /dev/fb0, if the kernel has a driver for it.
pub const SCREEN: (usize, usize) = (320, 240);

pub fn has_screen() -> bool {
    Path::new("/dev/fb0").exists()
}

/// Loads a driver.
pub fn modprobe(args: &[&str]) {
    let status = Command::new("/bin/modprobe").args(args).status();
    assert!(status.is_ok_and(|status| status.success()), "{args:?}");
}

/// Writes a file of debugfs or sysfs.
pub fn set(path: impl AsRef<Path>, value: &str) {
    let path = path.as_ref();
    fs::write(path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The resources that a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub descriptors: usize,
    pub threads: usize,
    /// The process's own memory in KiB: heap, stacks and written pages, but not
    /// the pages of the program and its libraries, which are loaded when code
    /// first runs. From the page tables, because the sums in `status` lag
    /// behind by up to 64 pages per thread.
    pub memory: u64,
    /// How much of it is in huge pages, in KiB.
    pub huge: u64,
}

impl Usage {
    pub fn of(pid: Pid) -> Self {
        let count = |what: &str| {
            fs::read_dir(format!("/proc/{pid}/{what}"))
                .expect("a process that lives")
                .count()
        };
        let sums = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("its pages");
        let sum = |key: &str| {
            sums.lines()
                .find_map(|line| line.strip_prefix(key))
                .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
                .expect(key)
        };
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            memory: sum("Anonymous:"),
            huge: sum("AnonHugePages:"),
        }
    }
}
