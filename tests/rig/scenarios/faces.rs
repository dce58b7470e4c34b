//! Faces, and how every output shows them.

use std::process::Command;

use serde_json::json;

use crate::daemon::Start;
use crate::displays::{Oled, Shown, Tft, framebuffer};
use crate::guest::{SCREEN, all_safe, has_screen, level, lines, modprobe, states_on, wait_until};
use crate::webcam::Webcam;

use super::{HAPPY, NOBODY, photo, robot};

/// A smiling person comes, leaves and comes back; lines, both displays, the
/// screen and the events show it.
pub fn yuyv_on_every_output() -> String {
    let webcam = Webcam::plug(&photo(NOBODY));
    let (mut oled, mut tft) = (Oled::new(), Tft::new());
    let mut daemon = Start::new("faces-yuyv").go();
    let hello = daemon.expect_type("hello");
    assert_eq!(hello["live"], true);
    let mut outputs = vec![
        "gpio",
        "display SSD1306 on /dev/i2c-1",
        "display ST7789 on /dev/spidev0.0",
        "display /dev/fb0",
        "display /tmp/oled.png",
        "display /tmp/tft.png",
        "display /tmp/screen.png",
    ];
    outputs.retain(|output| has_screen() || !output.ends_with("fb0"));
    assert_eq!(hello["outputs"], json!(outputs));
    daemon.expect_type("none");
    assert!(all_safe(), "{:?} are on with nobody there", states_on());
    wait_until("the OLED's picture for nobody", || {
        oled.shown() == Shown::read_text("no-face.txt")
    });

    webcam.show(&photo(HAPPY));
    let face = daemon.expect_face("happy");
    assert_eq!(face["size"], json!([320, 240]));
    wait_until("the happy line alone", || states_on() == [lines::HAPPY]);
    wait_until("the face line, active low", || !level(lines::FACE));

    // The face on the left and the word at the top. The bars are left out,
    // because they depend on the model's probabilities.
    let expected = Shown::read_text("happy.txt");
    wait_until("the OLED's happy face", || {
        let shown = oled.shown();
        shown.corner(60, 64) == expected.corner(60, 64)
            && shown.corner(128, 14) == expected.corner(128, 14)
    });
    Shown::wait_for_same("happy-oled", "/tmp/oled.png", || oled.shown());
    Shown::wait_for_same("happy-tft", "/tmp/tft.png", || tft.shown());
    if has_screen() {
        Shown::wait_for_same("happy-framebuffer", "/tmp/screen.png", || {
            framebuffer(SCREEN.0, SCREEN.1)
        });
    }
    assert!(level(18), "the TFT's backlight is off");

    webcam.show(&photo(NOBODY));
    daemon.expect_type("none");
    wait_until("lines off", all_safe);

    drop(webcam);
    daemon.expect_type("camera_lost");
    let expected = Shown::read_text("no-camera.txt");
    wait_until("the OLED's crossed camera", || {
        oled.shown().corner(60, 64) == expected.corner(60, 64)
    });
    let goodbye = daemon.stop();
    assert!(all_safe(), "{:?} are on after the end", states_on());
    assert!(
        !oled.shown().pixels.contains(&[255; 3]),
        "the OLED is lit after the end"
    );
    assert!(!level(18), "the TFT's backlight is on after the end");
    format!(": {} frames", goodbye["frames"])
}

pub fn mjpg() -> String {
    seen_by(
        "faces-mjpg",
        &robot(&[("format = \"yuyv\"", "format = \"mjpg\"")]),
        &[],
    )
}

/// The portable source opens the same camera.
pub fn nokhwa() -> String {
    let args = [
        "--source", "nokhwa:0", "--format", "yuyv", "--size", "320x240",
    ];
    seen_by("faces-nokhwa", "/rig/robot.toml", &args)
}

fn seen_by(log: &str, board: &str, args: &[&str]) -> String {
    let webcam = Webcam::plug(&photo(HAPPY));
    wait_until("the node", || !crate::guest::cameras().is_empty());
    let mut daemon = Start {
        board,
        args,
        ..Start::new(log)
    }
    .go();
    let source = daemon.expect_type("hello")["source"].clone();
    daemon.expect_face("happy");
    wait_until("the happy line alone", || states_on() == [lines::HAPPY]);
    webcam.show(&photo(NOBODY));
    daemon.expect_type("none");
    wait_until("lines off", all_safe);
    daemon.stop();
    format!(": {source}")
}

/// The kernel's virtual camera has the formats that the webcam lacks. Its test
/// picture has no face; this shows that the driver's buffers are read.
pub fn formats_of_vivid() -> String {
    modprobe(&["vivid", "n_devs=1", "node_types=0x1", "num_inputs=1"]);
    wait_until("vivid's node", || !crate::guest::cameras().is_empty());
    for format in ["grey", "nv12", "i420", "uyvy", "y16"] {
        let args = ["--source", "card:vivid", "--format", format];
        let mut daemon = Start {
            args: &args,
            ..Start::new("faces-vivid")
        }
        .go();
        let hello = daemon.expect_type("hello");
        let source = hello["source"].as_str().unwrap();
        assert!(source.contains(format), "{source} for {format}");
        daemon.expect("nobody", |event| {
            assert_ne!(event["type"], "camera_lost", "{format}: {event}");
            event["type"] == "none"
        });
        daemon.stop();
    }
    let status = Command::new("/bin/rmmod").arg("vivid").status();
    assert!(status.is_ok_and(|status| status.success()), "rmmod vivid");
    String::new()
}
