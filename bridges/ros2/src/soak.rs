//! Ten thousand faces, one after the other, through real publishers: the memory
//! of the process stays the same. Time is simulated, so that ids need not rest
//! for real. `scripts/test-ros2 all` runs it, without a subscriber.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::bridge::Bridge;
use crate::clock::Now;
use crate::config::Ros;
use crate::event::Event;
use crate::graph::Graph;
use crate::interfaces::usable;

const FACES: u64 = 10_000;
/// How much the memory may grow after the first tenth of the faces.
const GROWTH_KIB: u64 = 1024;
/// RustDDS frees messages that have arrived every 6 seconds.
const CLEANED: Duration = Duration::from_secs(13);

fn resident_kib() -> u64 {
    thread::sleep(CLEANED);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

#[test]
#[ignore = "takes minutes and talks DDS: scripts/test-ros2 all"]
fn ten_thousand_faces_need_no_more_memory_than_a_thousand() {
    let ros = Ros::default();
    let mut now = Now::read();
    let mut bridge = Bridge::new("camera", "affectd", 'f', now);
    let mut graph = Graph::join(&ros, &usable(&[]).unwrap(), 'f').unwrap();
    let mut messages = Vec::new();
    bridge.connected(now, &mut messages);
    let mut after_a_tenth = 0;
    for track in 0..FACES {
        now.monotonic += Duration::from_secs(1);
        let time = now.monotonic.as_secs_f64();
        let start = format!(r#""schema":1,"time":{time},"frame":1"#);
        let face = format!(
            r#"{{{start},"type":"face","track":{track},"box":[1,2,30,30],"size":[640,480],"label":"happy","confidence":0.5,"presence":0.9,"jaw":0.1,"yaw":1,"pitch":2,"roll":3,"distance_m":1}}"#
        );
        let gone = format!(r#"{{{start},"type":"gone","track":{track}}}"#);
        for line in [&face, &face, &gone] {
            let event = Event::read(serde_json::from_str(line).unwrap()).unwrap();
            bridge.take(event, now, &mut messages);
        }
        bridge.tick(now, &mut messages);
        for message in messages.drain(..) {
            graph.publish(message).unwrap();
        }
        thread::sleep(Duration::from_millis(5));
        if track == FACES / 10 {
            after_a_tenth = resident_kib();
        }
    }
    assert_eq!(bridge.counters.without_id, 0);
    let at_the_end = resident_kib();
    println!(
        "{after_a_tenth} KiB after {} faces, {at_the_end} KiB after {FACES}",
        FACES / 10
    );
    assert!(
        at_the_end <= after_a_tenth + GROWTH_KIB,
        "{after_a_tenth} KiB, then {at_the_end} KiB"
    );
}
