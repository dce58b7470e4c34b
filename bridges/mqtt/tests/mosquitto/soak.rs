//! Two weeks' worth of events at high speed, without loss or growth. A part of
//! that in each run of the tests; `scripts/test-bridges --soak` takes all of it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::json;

use crate::support::{Bridge, Broker, Daemon, line};

/// Memory that is touched late, such as a queue that fills for the first time.
const SLACK_KIB: u64 = 1024;

#[test]
fn two_weeks_pass_without_loss_or_growth() {
    let hours: u32 = std::env::var("AFFECTD_SOAK_HOURS")
        .ok()
        .and_then(|hours| hours.parse().ok())
        .unwrap_or(4);
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let subscriber = broker.subscribe("affectd/r/change");
    let bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    daemon.face("neutral");
    bridge.await_log("connected as");
    let online = broker.subscribe("affectd/r/availability");
    online.text("/availability", "online");

    let labels = ["happy", "sad", "uncertain", "neutral"];
    let mut stream = daemon.stream();
    let mut expected = VecDeque::new();
    let mut last = "neutral";
    let (mut sent, mut received) = (0_u64, 0_u64);
    let mut resident = Vec::new();
    let began = std::time::Instant::now();
    for hour in 0..hours {
        let mut lines = String::new();
        for second in 0..3600 {
            let time = 1000.0 + f64::from(hour * 3600 + second);
            let label = labels[second as usize / 5 % labels.len()];
            let is_new = label != last;
            let face = json!({
                "track": 1 + second / 600, "leading": true, "box": [1, 2, 3, 4], "size": [640, 480],
                "label": label, "confidence": 0.87, "since": time, "change": is_new,
                "probabilities": {"angry": 0.1, "disgust": 0.1, "fear": 0.1, "happy": 0.2,
                                  "sad": 0.2, "surprise": 0.1, "neutral": 0.2},
            });
            if is_new {
                expected.push_back(label);
                last = label;
            }
            if second % 600 == 0 {
                let gone = json!({"track": (1 + second / 600 + 4) % 6 + 1});
                write!(lines, "{}", line("gone", time, &gone)).unwrap();
            }
            write!(lines, "{}", line("face", time, &face)).unwrap();
            let fatigue = json!({"track": 1, "state": "ok", "reason": null, "since": 1.0,
                                 "valid": 0.9, "perclos": 0.1, "change": false});
            write!(lines, "{}", line("fatigue", time, &fatigue)).unwrap();
            if second % 10 == 0 {
                let health =
                    json!({"camera": "streaming", "fps": 30.0, "hot": false, "change": false});
                write!(lines, "{}", line("health", time, &health)).unwrap();
            }
            // As much at once as the socket takes; the bridge sets the speed.
            if second % 100 == 99 {
                stream.write_all(lines.as_bytes()).unwrap();
                sent += lines.lines().count() as u64;
                lines.clear();
            }
        }
        while expected.len() > 100 || (hour + 1 == hours && !expected.is_empty()) {
            let wanted = expected.pop_front().unwrap();
            let message = subscriber.find(wanted, |_| true);
            assert_eq!(message.json()["event_type"], wanted, "change {received}");
            received += 1;
        }
        resident.push(bridge.resident_kib());
    }
    let per_second = sent as f64 / began.elapsed().as_secs_f64();
    println!(
        "{hours} hours: {sent} lines, {received} changes, {per_second:.0} lines a second, {resident:?} KiB"
    );
    assert!(received > u64::from(hours) * 700, "{received}");
    // Nothing about trouble with the broker or the socket.
    assert_eq!(bridge.logged("WARN"), 0, "{}", bridge.log());
    let early = resident[resident.len() / 10];
    let late = *resident.last().unwrap();
    assert!(late <= early + SLACK_KIB, "{resident:?}");
}
