//! A recording: Y4M, or Motion-JPEG by the first byte of the input.
#![no_main]

use std::time::Duration;

use affectd::capture::{self, Captured, Options, Pace, SourceSpec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let suffix = if kind % 2 == 0 { ".y4m" } else { ".mjpeg" };
    let file = tempfile::Builder::new()
        .suffix(suffix)
        .tempfile_in("/dev/shm")
        .expect("room in /dev/shm");
    std::fs::write(file.path(), bytes).expect("room in /dev/shm");
    let options = Options {
        source: SourceSpec::Replay(file.path().to_owned()),
        pace: Pace::Fast,
        ..Options::default()
    };
    let Ok(mut source) = capture::open(&options) else {
        return;
    };
    let mut last = None;
    // The splitter and the reader may skip broken data, but they must make
    // progress.
    for _ in 0..1000 {
        match source.next(Duration::from_millis(1)) {
            Captured::Frame(frame) => {
                assert!(last <= Some(frame.timestamp), "time goes back");
                last = Some(frame.timestamp);
            }
            Captured::Ended => return,
            Captured::Waiting | Captured::Skipped | Captured::Lost { .. } => {}
        }
    }
});
