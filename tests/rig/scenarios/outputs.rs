//! Displays, buses, lines and disks that fail.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::daemon::{Start, command};
use crate::displays::{Oled, Shown, Tft};
use crate::guest::{all_safe, chip, lines, set, states_on, wait_until};
use crate::webcam::Webcam;

use super::{HAPPY, NOBODY, QUICK, photo, robot};

const I2C: &str = "/sys/kernel/debug/recorded-i2c";
const SPI: &str = "/sys/kernel/debug/recorded-spi";

/// A display without power loses its memory. When it is back, it is initialised
/// and fully drawn.
pub fn oled_gone_and_back() -> String {
    let webcam = Webcam::plug(&photo(NOBODY));
    let mut oled = Oled::new();
    let board = robot(&[QUICK]);
    let mut daemon = Start {
        board: &board,
        ..Start::new("outputs-oled-gone")
    }
    .go();
    daemon.expect_type("none");
    wait_until("the first picture", || {
        oled.shown() == Shown::read_text("no-face.txt")
    });

    set(format!("{I2C}/present"), "N");
    webcam.show(&photo(HAPPY));
    daemon.expect_type("face");
    wait_until("a line", || states_on().len() == 1);
    webcam.show(&photo(NOBODY));
    daemon.expect_type("none");
    wait_until("lines off", all_safe);

    let mut oled = Oled::new();
    set(format!("{I2C}/present"), "Y");
    let back = wait_until("the picture", || {
        oled.shown() == Shown::read_text("no-face.txt")
    });
    assert!(oled.initialised > 0, "the display was not initialised");
    daemon.stop();
    format!(": drawn again after {:.1} s", back.as_secs_f32())
}

/// A bus that hangs delays its own thread and nothing else.
pub fn oled_bus_hangs() -> String {
    const HANG_MS: &str = "10000";
    let webcam = Webcam::plug(&photo(NOBODY));
    let board = robot(&[QUICK]);
    let mut daemon = Start {
        board: &board,
        ..Start::new("outputs-oled-hangs")
    }
    .go();
    daemon.expect_type("none");
    set(format!("{I2C}/hang_ms"), HANG_MS);
    let asked = || fs::read_to_string(format!("{I2C}/asked")).expect("asked");
    let before = asked();
    webcam.show(&photo(HAPPY));
    daemon.expect_type("face");
    wait_until("a transfer that hangs", || asked() != before);
    let on = wait_until("a line", || states_on().len() == 1);
    webcam.show(&photo(NOBODY));
    daemon.expect_type("none");
    let off = wait_until("lines off", all_safe);
    set(format!("{I2C}/hang_ms"), "0");
    let mut oled = Oled::new();
    let back = wait_until("the picture", || {
        oled.shown() == Shown::read_text("no-face.txt")
    });
    daemon.stop();
    format!(
        ": meanwhile lines followed events by {} and {} ms; drawn again after {:.1} s",
        on.as_millis(),
        off.as_millis(),
        back.as_secs_f32()
    )
}

pub fn tft_fails_and_comes_back() -> String {
    let webcam = Webcam::plug(&photo(NOBODY));
    let mut tft = Tft::new();
    let board = robot(&[QUICK]);
    let mut daemon = Start {
        board: &board,
        ..Start::new("outputs-tft-fails")
    }
    .go();
    daemon.expect_type("none");
    Shown::wait_for_same("nobody-tft", "/tmp/tft.png", || tft.shown());
    set(format!("{SPI}/fail"), "Y");
    webcam.show(&photo(HAPPY));
    daemon.expect_type("face");
    // Without power its memory is gone.
    let mut tft = Tft::new();
    thread::sleep(Duration::from_secs(1));
    set(format!("{SPI}/fail"), "N");
    webcam.show(&photo(NOBODY));
    daemon.expect_type("none");
    let back = Shown::wait_for_same("nobody-tft-again", "/tmp/tft.png", || tft.shown());
    daemon.stop();
    format!(": drawn again after {:.1} s", back.as_secs_f32())
}

/// If another program holds a line, the error names the line and the program.
pub fn line_taken() -> String {
    let mut chip = gpio_cdev::Chip::new(chip()).expect("the simulated chip");
    let held = chip
        .get_line(lines::HAPPY)
        .and_then(|line| line.request(gpio_cdev::LineRequestFlags::OUTPUT, 0, "another program"))
        .expect("a free line");
    let output = command(&["run", "--board", "/rig/robot.toml"])
        .output()
        .expect("affectd");
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("GPIO19") && told.contains("another program"),
        "{told}"
    );
    drop(held);
    String::new()
}

/// Events continue when there is room again, and no line is broken.
pub fn disk_full() -> String {
    let mount = |args: &[&str]| {
        let status = Command::new("/bin/mount")
            .args(args)
            .status()
            .expect("mount");
        assert!(status.success(), "mount {args:?}");
    };
    fs::create_dir_all("/tmp/disk").expect("a folder");
    mount(&["-t", "tmpfs", "-o", "size=16k", "small", "/tmp/disk"]);
    fs::write("/tmp/disk/ballast", vec![0; 8192]).expect("room for it");
    let file = "/tmp/disk/events.jsonl";
    let board = robot(&[
        QUICK,
        (
            "stdout = true",
            "stdout = true\nperiod_ms = 20\nfile = \"/tmp/disk/events.jsonl\"",
        ),
    ]);
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = Start {
        board: &board,
        ..Start::new("outputs-disk-full")
    }
    .go();
    let length = || fs::metadata(file).map_or(0, |about| about.len());
    wait_until("a full disk", || {
        daemon.drain();
        rustix::fs::statvfs("/tmp/disk").expect("a disk").f_bfree == 0
    });
    let full = length();
    daemon.expect_type("face");
    assert!(states_on().len() == 1, "lines do not follow");
    mount(&["-o", "remount,size=1m", "/tmp/disk"]);
    wait_until("more events on the disk", || {
        daemon.drain();
        length() > full + 2000
    });
    daemon.stop();
    let text = fs::read_to_string(file).expect(file);
    let whole = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line))
        .filter(|event| event["type"] == "dropped")
        .count();
    let status = Command::new("/bin/umount").arg("/tmp/disk").status();
    assert!(status.is_ok_and(|status| status.success()));
    format!(
        ": {} lines, {whole} of them about dropped ones",
        text.lines().count()
    )
}
