//! The program's command line and its check of the configuration.

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_affectd-ros2"))
        .args(arguments)
        .env_remove("AFFECTD_LOG")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_packaged_configuration_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/ros2.toml");
    let output = run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let text = out(&output);
    for part in [
        ": valid\n",
        "event socket: /run/affectd/events.sock\n",
        "ROS domain: 0\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn problems_are_named_and_nothing_is_started() {
    let file = std::env::temp_dir().join(format!("affectd-ros2-{}.toml", std::process::id()));
    std::fs::write(&file, "[ros]\ndomain = \"five\"\n\n[ros2]\n").unwrap();
    for command in ["check", "run"] {
        let output = run(&[command, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let text = error(&output);
        assert!(
            text.contains(".toml:2: ros.domain: must be a whole number"),
            "{text}"
        );
        assert!(
            text.contains(".toml:4: ros2: unknown key; did you mean 'ros'?"),
            "{text}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    let output = run(&["check", "--config", "/nonexistent/ros2.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error(&output).contains("/nonexistent/ros2.toml"),
        "{}",
        error(&output)
    );
}

#[test]
fn help_version_and_wrong_usage() {
    let help = out(&run(&["--help"]));
    for part in [
        "check",
        "--config FILE",
        "Examples:",
        "ros2 topic echo /humans/faces/tracked",
    ] {
        assert!(help.contains(part), "{help}");
    }
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    let version = out(&run(&["--version"]));
    assert_eq!(
        version,
        format!("affectd-ros2 {}\n", env!("CARGO_PKG_VERSION"))
    );
    let output = run(&["--domain", "5"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("--domain"), "{}", error(&output));
}

/// The manual page names the same commands and options as `--help`.
#[test]
fn the_manual_has_what_the_help_has() {
    let manual = include_str!("../packaging/affectd-ros2.1").replace('\\', "");
    let help = out(&run(&["--help"]));
    let words = help.split_whitespace();
    let options: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
    assert!(options.len() >= 4, "{options:?}");
    for option in options {
        assert!(manual.contains(option), "{option} is not in the manual");
    }
    for command in ["run", "check"] {
        assert!(manual.contains(&format!(".B {command}\n")), "{command}");
    }
}
