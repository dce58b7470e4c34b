//! The scenarios of the rig: the real affectd against real kernel drivers. Runs
//! in the guest that `scripts/test-rig` boots, and nowhere else; README.md
//! explains the whole.
//!
//! Each scenario is a function that panics if affectd fails. `scripts/test-rig`
//! shows what is printed.

mod daemon;
mod displays;
mod guest;
mod scenarios;
mod webcam;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Instant;

use scenarios::{SCENARIOS, Scenario};

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if asked.iter().any(|arg| arg == "list") {
        for scenario in SCENARIOS {
            println!("PASS {} ({})", scenario.name, scenario.set());
        }
        println!("{} passed, 0 failed (listed only)", SCENARIOS.len());
        return;
    }
    assert!(
        Path::new("/run/rig/gpio").exists(),
        "this runs in the guest only: scripts/test-rig"
    );
    if !guest::has_screen() {
        without_screen("/rig/robot.toml");
    }
    let (mut passed, mut failed) = (0, 0);
    for scenario in SCENARIOS {
        if !is_asked(scenario, &asked) {
            continue;
        }
        let start = Instant::now();
        let result = panic::catch_unwind(AssertUnwindSafe(scenario.run));
        let complaints = kernel_complaints();
        let seconds = start.elapsed().as_secs_f32();
        match (result, complaints.is_empty()) {
            (Ok(notes), true) => {
                passed += 1;
                println!("PASS {} ({seconds:.1} s){}", scenario.name, notes);
            }
            (result, _) => {
                failed += 1;
                println!("FAIL {} ({seconds:.1} s)", scenario.name);
                if let Err(panic) = result {
                    let message = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied())
                        .unwrap_or("a panic without a message");
                    tell(message);
                }
                tell(&complaints);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
}

/// Takes the screen out of a board file.
fn without_screen(board: &str) {
    let text = fs::read_to_string(board).expect(board);
    let screen = "[[display]]\nkind = \"framebuffer\"\npath = \"/dev/fb0\"\n\n";
    assert!(text.contains(screen), "{board} has no screen");
    fs::write(board, text.replace(screen, "")).expect(board);
}

fn is_asked(scenario: &Scenario, asked: &[String]) -> bool {
    asked.iter().any(|arg| match arg.as_str() {
        "few" => scenario.few,
        "short" => scenario.short,
        "full" => true,
        prefix => scenario.name.starts_with(prefix),
    })
}

fn tell(message: &str) {
    for line in message.lines() {
        println!("  | {line}");
    }
}

/// Errors and warnings of the kernel since the last call, which none of the
/// drivers should cause.
fn kernel_complaints() -> String {
    let log = std::process::Command::new("/bin/dmesg")
        .arg("-c")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let mut all = fs::read_to_string("/out/kernel.log").unwrap_or_default();
    all.push_str(&log);
    let _ = fs::write("/out/kernel.log", all);
    log.lines()
        .filter(|line| {
            ["BUG:", "Oops", "WARNING:", "Call Trace"]
                .iter()
                .any(|complaint| line.contains(complaint))
        })
        .collect::<Vec<_>>()
        .join("\n")
}
