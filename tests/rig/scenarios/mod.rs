//! The scenarios: one function for each.

mod camera;
mod clocks;
mod faces;
mod outputs;
mod privilege;
mod process;
mod reload;

use std::fs;
use std::path::Path;

use crate::webcam::Picture;

/// A scenario with its name. The text that it returns is printed after the
/// name.
pub struct Scenario {
    pub name: &'static str,
    /// Whether it is part of the short set, and of the small set for another
    /// processor.
    pub short: bool,
    pub few: bool,
    pub run: fn() -> String,
}

impl Scenario {
    pub fn set(&self) -> &'static str {
        match (self.few, self.short) {
            (true, _) => "few",
            (_, true) => "short",
            _ => "full",
        }
    }
}

macro_rules! scenarios {
    ($($set:ident $module:ident::$name:ident)*) => {
        &[$(Scenario {
            name: concat!(stringify!($module), "_", stringify!($name)),
            short: scenarios!(@short $set),
            few: scenarios!(@few $set),
            run: $module::$name,
        }),*]
    };
    (@short full) => { false };
    (@short $set:ident) => { true };
    (@few few) => { true };
    (@few $set:ident) => { false };
}

pub const SCENARIOS: &[Scenario] = scenarios![
    few faces::yuyv_on_every_output
    few faces::mjpg
    short faces::nokhwa
    short faces::formats_of_vivid
    few camera::pulled
    short camera::pulled_beside_an_unread_log
    short camera::lost_with_shut_eyes
    short camera::stalled
    short camera::errors
    short camera::noise
    short camera::half_frames
    short camera::renumbered
    short camera::absent_at_start
    short camera::paused
    short camera::held_by_another
    short camera::ten_cycles
    full camera::thousand_cycles
    short outputs::oled_gone_and_back
    short outputs::oled_bus_hangs
    short outputs::tft_fails_and_comes_back
    short outputs::line_taken
    short outputs::disk_full
    few process::asked_to_stop
    few process::killed
    short process::panicked
    short process::service_watchdog
    short process::hardware_watchdog
    short process::too_hot
    few reload::decide_alone
    short reload::that_fails
    short reload::without_the_right
    short clocks::wall_clock_jumps
    short clocks::process_stopped
    short clocks::processor_starved
    short clocks::suspended
    short privilege::no_root_needed
    short privilege::no_pixels_written
];

/// A photograph of tests/data/photos in front of the webcam.
fn photo(name: &str) -> Picture {
    Picture::photo(&Path::new("/rig/photos").join(name))
}

/// A picture of tests/data/renders in front of the webcam.
fn render(name: &str) -> Picture {
    Picture::photo(&Path::new("/rig/renders").join(name))
}

/// A broad smile, which every usable model calls happy.
const HAPPY: &str = "obama-portrait.jpg";
const NOBODY: &str = "rocket.jpg";

/// robot.toml with some of its text replaced, as a file of its own.
fn robot(replacements: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string("/rig/robot.toml").expect("robot.toml");
    for (old, new) in replacements {
        assert!(text.contains(old), "robot.toml has no {old}");
        text = text.replace(old, new);
    }
    let path = "/tmp/board.toml";
    fs::write(path, text).expect(path);
    path.to_owned()
}

/// Uses a miniature network where the expression does not matter: the emulated
/// processor takes most of a second for the real one.
const QUICK: (&str, &str) = ("\"mobilenet_v2_112\"", "\"/rig/tiny.onnx\"");

/// An event for each processed frame, and some while none comes.
const EACH_FRAME: (&str, &str) = ("stdout = true", "stdout = true\nperiod_ms = 1");
