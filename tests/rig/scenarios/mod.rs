//! What affectd has to do, one function a story.

mod camera;
mod faces;
mod outputs;
mod process;

use std::fs;
use std::path::Path;

use crate::webcam::Picture;

/// A story with a name. What it returns is printed behind it.
pub struct Scenario {
    pub name: &'static str,
    /// Whether it is part of the short set.
    pub short: bool,
    pub run: fn() -> String,
}

impl Scenario {
    pub fn set(&self) -> &'static str {
        if self.short { "short" } else { "full" }
    }
}

macro_rules! scenarios {
    ($($set:ident $module:ident::$name:ident)*) => {
        &[$(Scenario {
            name: concat!(stringify!($module), "_", stringify!($name)),
            short: scenarios!(@$set),
            run: $module::$name,
        }),*]
    };
    (@short) => { true };
    (@full) => { false };
}

pub const SCENARIOS: &[Scenario] = scenarios![
    short faces::yuyv_on_every_output
    short faces::mjpg
    full faces::nokhwa
    full faces::formats_of_vivid
    short camera::pulled
    short camera::stalled
    short camera::errors
    short camera::noise
    short camera::half_frames
    short camera::renumbered
    short camera::absent_at_start
    short camera::ten_cycles
    full camera::thousand_cycles
    short outputs::oled_gone_and_back
    short outputs::oled_bus_hangs
    short outputs::tft_fails_and_comes_back
    short outputs::line_taken
    full outputs::disk_full
    short process::asked_to_stop
    short process::killed
    short process::panicked
    short process::service_watchdog
    short process::hardware_watchdog
    short process::too_hot
];

/// A photograph of tests/data/photos in front of the webcam.
fn photo(name: &str) -> Picture {
    Picture::photo(&Path::new("/rig/photos").join(name))
}

/// Somebody who smiles broadly: happy to any model worth its place.
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

/// Where it does not matter what a face shows, a miniature network tells: the
/// emulated processor takes half a second for the real one.
const QUICK: (&str, &str) = ("\"mobilenet_v2_96\"", "\"/rig/tiny.onnx\"");
