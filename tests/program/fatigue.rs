//! `affectd fatigue` on recordings.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::pictures::{affectd, lines, stderr, stdout};

/// A short recording: open eyes, and four seconds of shut eyes from 40 s on.
fn sleep(folder: &Path, open: f64, shut: f64) -> PathBuf {
    let mut text = "time,left,right\n".to_owned();
    for frame in 0..1500 {
        let time = f64::from(frame) / 30.0;
        let eye = if (40.0..44.0).contains(&time) {
            shut
        } else {
            open
        };
        writeln!(text, "{time:.4},{eye},{eye}").unwrap();
    }
    let path = folder.join("sleep.csv");
    fs::write(&path, text).unwrap();
    path
}

fn of_type<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

#[test]
fn a_recording_gives_a_timeline() {
    let folder = tempfile::tempdir().unwrap();
    let file = sleep(folder.path(), 1.0, 0.03);
    let output = affectd(["fatigue".as_ref(), file.as_os_str()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let states = ["calibrating", "ok", "microsleep", "asleep", "ok"];
    let mut rest = &*text;
    for state in states {
        let at = rest
            .find(state)
            .unwrap_or_else(|| panic!("no {state} in {text}"));
        rest = &rest[at + state.len()..];
    }
    assert!(
        text.contains("eyes open again after 4.00 s (sleep)"),
        "{text}"
    );
    assert!(text.contains("closures: 0 blinks, 0 long, 0 microsleeps, 1 sleep; 0 yawns"));
}

#[test]
fn events_have_what_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let file = sleep(folder.path(), 0.3, 0.08);
    let args = ["fatigue", "--json", "--open", "0.29", "--shut", "0.09"];
    let output = affectd(args.iter().map(AsRef::as_ref).chain([file.as_os_str()]));
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = lines(&output);
    let [closure] = of_type(&lines, "closure")[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(closure["kind"], "sleep");
    assert_eq!(closure["duration_ms"], 4000);
    let states = of_type(&lines, "fatigue");
    assert!(states.len() >= 50, "once a second");
    let asleep = states
        .iter()
        .find(|line| line["state"] == "asleep")
        .unwrap();
    assert_eq!(asleep["change"], true);
    assert_eq!(asleep["calibrated"], true);
    assert_eq!(asleep["time"], asleep["since"]);
    assert_eq!(asleep["closure_ms"], 3000);
    // An unknown value is null.
    for key in ["reason", "perclos_180", "blink_rate", "yawns", "nods"] {
        assert!(
            asleep[key].is_null() && asleep.get(key).is_some(),
            "{key}: {asleep}"
        );
    }
}

#[test]
fn options_replace_settings_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = sleep(folder.path(), 1.0, 0.03);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("# asleep_ms = 5000\n{text}")).unwrap();
    let gravest = |args: &[&str]| {
        let args = ["fatigue", "--json"].iter().chain(args).map(AsRef::as_ref);
        let lines = lines(&affectd(args.chain([file.as_os_str()])));
        let states = of_type(&lines, "fatigue");
        let asleep = states.iter().any(|line| line["state"] == "asleep");
        let microsleep = states.iter().any(|line| line["state"] == "microsleep");
        (microsleep, asleep)
    };
    assert_eq!(gravest(&[]), (true, false));
    assert_eq!(gravest(&["--asleep-ms", "2500"]), (true, true));
    let wrong = ["--microsleep-ms", "5500"];
    let output = affectd(
        ["fatigue"]
            .iter()
            .chain(&wrong)
            .map(AsRef::as_ref)
            .chain([file.as_os_str()]),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("asleep_ms is 5000 and microsleep_ms 5500"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_plot_is_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let file = sleep(folder.path(), 1.0, 0.03);
    let plot = folder.path().join("plot.png");
    let output = affectd([
        "fatigue".as_ref(),
        file.as_os_str(),
        "--plot".as_ref(),
        plot.as_os_str(),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let picture = affectd::image::read_rgb(&plot).unwrap();
    assert_eq!((picture.width, picture.height), (1280, 580));
    let nowhere = folder.path().join("no/plot.png");
    let output = affectd([
        "fatigue".as_ref(),
        file.as_os_str(),
        "--plot".as_ref(),
        nowhere.as_os_str(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("plot.png"), "{}", stderr(&output));
}

#[test]
fn errors_in_a_file_are_reported_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.csv");
    for (text, expected) in [
        (
            "time,left\n1,1\n0.5,1\n",
            "bad.csv: line 3: the time 0.5 s is before 1 s",
        ),
        (
            "time,lefft\n1,1\n",
            "bad.csv: line 1: unknown column 'lefft', did you mean 'left'?",
        ),
        (
            "time,left\n1,half\n",
            "bad.csv: line 2: left is 'half', which is not a number",
        ),
        ("", "bad.csv: line 1: the file has no rows"),
    ] {
        fs::write(&path, text).unwrap();
        let output = affectd(["fatigue".as_ref(), path.as_os_str()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let output = affectd([
        "fatigue".as_ref(),
        folder.path().join("none.csv").as_os_str(),
    ]);
    assert!(
        stderr(&output).contains("none.csv: "),
        "{}",
        stderr(&output)
    );
}
