//! Applies all rules to synthetic traces, and compares the results with plain
//! integrations.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::frame::Timestamp;

/// Numbers that look random and are always the same.
struct Random(u64);

impl Random {
    /// 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.next()
    }
}

/// Frame times in seconds: `fps` with intervals that differ by up to `jitter` of
/// their length.
fn times(fps: f64, jitter: f64, length: f64, random: &mut Random) -> Vec<f64> {
    let mut times = Vec::new();
    let mut time = random.between(0.0, 1.0 / fps);
    while time < length {
        times.push(time);
        time += (1.0 + random.between(-jitter, jitter)) / fps;
    }
    times
}

/// Lids that shut at these times for these lengths, measured from 0.3 on the
/// way down to 0.5 on the way up. They need 60 ms to shut and 120 ms to open.
#[derive(Debug)]
struct Lids(Vec<(f64, f64)>);

impl Lids {
    const DOWN: f64 = 0.06;
    const UP: f64 = 0.12;

    fn openness(&self, time: f64) -> f64 {
        let near = self.0.iter().map(|(start, length)| {
            // Where the lids begin to move down, are at 0, move up, are at 1.
            let begin = start - 0.7 * Self::DOWN;
            let open = start + length + 0.5 * Self::UP;
            let down = (1.0 - (time - begin) / Self::DOWN).max(0.0);
            let up = (1.0 - (open - time) / Self::UP).max(0.0);
            if time < begin || time > open {
                1.0
            } else {
                down.max(up).min(1.0)
            }
        });
        near.fold(1.0, f64::min)
    }
}

fn at(seconds: f64) -> Timestamp {
    Timestamp(Duration::from_nanos((seconds * 1e9).round() as u64))
}

fn both(openness: f64) -> EyeSample {
    let value = Some(openness as f32);
    EyeSample {
        left: value,
        right: value,
        ..EyeSample::default()
    }
}

fn one(eyes: EyeSample) -> [FaceSample; 1] {
    [FaceSample { track: 1, eyes }]
}

/// The network's value for an openness.
fn raw(openness: f64) -> f64 {
    0.05 + 0.95 * openness
}

/// The result of a trace: the decision after each frame, and events.
struct Course {
    decisions: Vec<(f64, FatigueDecision)>,
    events: Vec<Event>,
}

impl Course {
    fn of(options: Options, samples: impl IntoIterator<Item = (f64, Option<EyeSample>)>) -> Self {
        let mut fatigue = Fatigue::new(options);
        let mut course = Self {
            decisions: Vec::new(),
            events: Vec::new(),
        };
        for (time, eyes) in samples {
            match eyes {
                Some(eyes) => fatigue.look(at(time), &one(eyes)),
                None => fatigue.look(at(time), &[]),
            }
            course.decisions.push((time, *fatigue.decision()));
            course.events.extend(fatigue.events());
        }
        course
    }

    fn states(&self) -> Vec<State> {
        let mut states: Vec<_> = self.decisions.iter().map(|(_, d)| d.state).collect();
        states.dedup();
        states
    }

    fn last(&self) -> &FatigueDecision {
        &self.decisions.last().unwrap().1
    }

    fn gravest(&self) -> State {
        self.decisions.iter().map(|(_, d)| d.state).max().unwrap()
    }

    fn closures(&self) -> Vec<(f64, ClosureKind, f64)> {
        let closures = self.events.iter().filter_map(|event| match event.what {
            What::Closure { kind, duration, .. } => {
                Some((event.time.0.as_secs_f64(), kind, duration.as_secs_f64()))
            }
            _ => None,
        });
        closures.collect()
    }
}

/// PERCLOS over the 60 s before `now`, by plain sums over all frames, each with
/// its time and the openness of the more open eye; `None` if it is not valid.
fn plain_perclos(frames: &[(f64, Option<f64>)], now: f64, longest: f64) -> f64 {
    let counts = |pair: &[(f64, Option<f64>)]| {
        pair[0].1.is_some() && pair[1].1.is_some() && pair[1].0 - pair[0].0 <= longest + 1e-9
    };
    let inside = |from: f64, to: f64| (to.min(now) - from.max(now - 60.0)).max(0.0);
    let valid: f64 = frames
        .windows(2)
        .filter(|pair| counts(pair))
        .map(|pair| inside(pair[0].0, pair[1].0))
        .sum();
    let mut shut = 0.0;
    let mut index = 0;
    while index < frames.len() {
        if !frames[index].1.is_some_and(|openness| openness < 0.3) {
            index += 1;
            continue;
        }
        let start = index;
        let mut deep = 0.0;
        let mut length = 0.0;
        while index + 1 < frames.len()
            && counts(&frames[index..index + 2])
            && frames[index].1.is_some_and(|openness| openness <= 0.5)
        {
            length += frames[index + 1].0 - frames[index].0;
            if frames[index].1.is_some_and(|openness| openness < 0.2) {
                deep += inside(frames[index].0, frames[index + 1].0);
            }
            index += 1;
        }
        if length >= 0.25 - 1e-9 {
            shut += deep;
        }
        index = index.max(start + 1);
    }
    shut / valid
}

#[test]
fn perclos_equals_a_plain_integration() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for fps in [5.0, 7.5, 10.0, 15.0, 24.0, 30.0, 60.0] {
        for (blinks, droops) in [(true, true), (false, true), (true, false)] {
            let mut lids = Vec::new();
            let mut time = 35.0;
            while time < 140.0 {
                let is_droop = droops && (!blinks || random.next() < 0.4);
                let length = if is_droop {
                    random.between(0.5, 1.4)
                } else {
                    random.between(0.08, 0.18)
                };
                lids.push((time, length));
                time += length + random.between(1.0, 5.0);
            }
            let lids = Lids(lids);
            let times = times(fps, 0.25, 140.0, &mut random);
            let samples = times.iter().map(|time| {
                let noise = random.between(-0.03, 0.03);
                (*time, Some(both(raw(lids.openness(*time)) + noise)))
            });
            let course = Course::of(Options::default(), samples.collect::<Vec<_>>());
            let frames: Vec<_> = course
                .decisions
                .iter()
                .map(|(time, d)| (*time, d.openness[0].map(f64::from)))
                .collect();
            // The trace itself, a thousand times per second.
            let continuous: Vec<_> = (0..140_000)
                .map(|millis| f64::from(millis) / 1e3)
                .map(|time| (time, Some(lids.openness(time))))
                .collect();
            let mut compared = 0;
            for (index, (time, decision)) in course.decisions.iter().enumerate() {
                // Between closures, where the result is certain, and only some
                // frames.
                if *time < 100.0 || decision.closure.is_some() || index % 97 != 0 {
                    continue;
                }
                compared += 1;
                let perclos = f64::from(decision.perclos.unwrap());
                let same = plain_perclos(&frames[..=index], *time, 0.5);
                assert!(
                    (perclos - same).abs() <= 0.001,
                    "{fps}: {perclos}, plain {same}"
                );
                let end = (time * 1e3) as usize;
                let truth = plain_perclos(&continuous[..=end], *time, 0.5);
                let within = if fps < 10.0 { 0.02 } else { 0.01 };
                assert!(
                    (perclos - truth).abs() <= within,
                    "{fps}: {perclos}, true {truth}"
                );
            }
            assert!(compared >= 1, "{fps}");
        }
    }
}

#[test]
fn closures_get_their_state_and_length_at_every_rate() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let slow: &[(f64, State)] = &[
        (1.2, State::Ok),
        (1.8, State::Microsleep),
        (2.7, State::Microsleep),
        (3.3, State::Asleep),
        (5.7, State::Asleep),
        (6.3, State::Unresponsive),
    ];
    let fast: &[(f64, State)] = &[
        (1.3, State::Ok),
        (1.7, State::Microsleep),
        (2.8, State::Microsleep),
        (3.2, State::Asleep),
        (5.8, State::Asleep),
        (6.2, State::Unresponsive),
    ];
    for (fps, jitter, lengths) in [
        (5.0, 0.0, slow),
        (5.0, 0.25, slow),
        (10.0, 0.25, fast),
        (15.0, 0.25, fast),
        (30.0, 0.25, fast),
        (60.0, 0.25, fast),
    ] {
        for &(length, expected) in lengths {
            for _ in 0..10 {
                let lids = Lids(vec![(40.0 + random.next(), length)]);
                let times = times(fps, jitter, 55.0, &mut random);
                let samples = times.iter().map(|time| {
                    let noise = random.between(-0.02, 0.02);
                    (*time, Some(both(raw(lids.openness(*time)) + noise)))
                });
                let course = Course::of(Options::default(), samples.collect::<Vec<_>>());
                let gravest = course.decisions.iter().filter(|(time, _)| *time > 39.0);
                let gravest = gravest.map(|(_, d)| d.state).max().unwrap();
                assert_eq!(gravest, expected, "{length} s at {fps}");
                let [(_, _, measured)] = course.closures()[..] else {
                    panic!("{length} s at {fps}: {:?}", course.closures());
                };
                let interval = (1.0 + jitter) / fps + 0.005;
                assert!(
                    (measured - length).abs() <= interval,
                    "{length} s at {fps}: {measured}"
                );
                assert_eq!(course.last().state, State::Ok);
            }
        }
    }
}

#[test]
fn a_gap_of_20_s_leaves_two_thirds_valid() {
    let samples = (0..=900).map(|frame| {
        let time = f64::from(frame) / 15.0;
        let gap = (30.0..50.0).contains(&time);
        (
            time,
            Some(if gap { EyeSample::default() } else { both(1.0) }),
        )
    });
    let course = Course::of(Options::default(), samples);
    let last = course.last();
    assert_eq!(last.window, Duration::from_secs(60));
    assert!((last.valid - 0.667).abs() < 0.002, "{}", last.valid);
    assert_eq!(last.state, State::Ok);
    // After ten seconds of the gap the state was unknown.
    let reading = |time: f64| {
        let (_, decision) = course.decisions.iter().find(|(at, _)| *at >= time).unwrap();
        (decision.state, decision.reason)
    };
    assert_eq!(reading(39.0), (State::Calibrating, None));
    assert_eq!(reading(40.1), (State::NoReading, Some(Reason::EyesHidden)));
    assert_eq!(reading(49.9), (State::NoReading, Some(Reason::EyesHidden)));
}

#[test]
fn states_come_in_their_order_with_reasons() {
    let frame = |frame: u32| f64::from(frame) / 20.0;
    let turned = EyeSample {
        yaw: Some(40.0),
        ..both(1.0)
    };
    let eyes = |time: f64| match time {
        ..40.0 => Some(both(raw(1.0))),
        40.0..52.0 => Some(turned),
        52.0..60.0 => Some(both(raw(1.0))),
        60.0..64.0 => Some(both(raw(0.0))),
        64.0..75.0 => Some(both(raw(1.0))),
        _ => None,
    };
    let course = Course::of(
        Options::default(),
        (0..1800).map(frame).map(|time| (time, eyes(time))),
    );
    assert_eq!(
        course.states(),
        [
            State::Calibrating,
            State::Ok,
            State::NoReading,
            State::Ok,
            State::Microsleep,
            State::Asleep,
            State::Ok,
            State::Nobody,
        ]
    );
    let change = |state: State| {
        let (time, decision) = course
            .decisions
            .iter()
            .find(|(_, d)| d.state == state)
            .unwrap();
        assert_eq!(decision.since, at(*time));
        (*time, decision.reason)
    };
    assert!((change(State::Ok).0 - 30.0).abs() < 0.11);
    assert!((change(State::NoReading).0 - 50.0).abs() < 0.06);
    assert_eq!(change(State::NoReading).1, Some(Reason::Pose));
    assert!((change(State::Microsleep).0 - 61.5).abs() < 0.06);
    assert!((change(State::Asleep).0 - 63.0).abs() < 0.06);
    assert!((change(State::Nobody).0 - 85.0).abs() < 0.06);
    assert_eq!(course.last().track, None);
    // It ended after three seconds of open eyes.
    let awake = course
        .decisions
        .iter()
        .find(|(time, d)| *time > 64.0 && d.state == State::Ok)
        .unwrap();
    assert!((awake.0 - 67.0).abs() < 0.11, "{}", awake.0);
    // Once per second, and at each change.
    let told = course
        .events
        .iter()
        .filter(|event| matches!(event.what, What::State { .. }))
        .count();
    assert!((90..=98).contains(&told), "{told}");
}

#[test]
fn a_person_can_fall_asleep_while_calibrating() {
    let samples = (0..200).map(|frame| {
        let time = f64::from(frame) / 20.0;
        (time, Some(both(raw(if time < 3.0 { 1.0 } else { 0.0 }))))
    });
    let course = Course::of(Options::default(), samples);
    let asleep = course
        .decisions
        .iter()
        .find(|(_, d)| d.state == State::Asleep);
    let (time, decision) = asleep.unwrap();
    assert!((time - 6.0).abs() < 0.11);
    assert!(!decision.calibrated);
    assert_eq!(course.last().state, State::Unresponsive);
}

#[test]
fn an_alarm_is_acknowledged_until_it_becomes_more_severe() {
    let mut fatigue = Fatigue::new(Options::default());
    let mut alarms = Vec::new();
    for frame in 0..1000 {
        let time = f64::from(frame) / 20.0;
        if frame == 20 || frame == 690 || frame == 700 {
            fatigue.acknowledge();
        }
        let shut = (33.0..40.0).contains(&time);
        fatigue.look(at(time), &one(both(raw(if shut { 0.0 } else { 1.0 }))));
        for event in fatigue.events() {
            if let What::Alarm(alarm) = event.what {
                alarms.push((alarm.state, alarm.is_on, alarm.is_acknowledged));
            }
        }
    }
    assert_eq!(
        alarms,
        [
            (State::Microsleep, true, false),
            (State::Microsleep, true, true),
            (State::Asleep, true, false),
            (State::Unresponsive, true, false),
            (State::Unresponsive, false, false),
        ]
    );
    assert_eq!(fatigue.alarm(), None);
}

#[test]
fn drowsiness_needs_both_windows_and_ends_late() {
    // Shut for one second in five, then for one second in thirty.
    let samples = (0..9000).map(|frame| {
        let time = f64::from(frame) / 15.0;
        let period = if time < 300.0 { 5.0 } else { 60.0 };
        let shut = time > 31.0 && time % period < 1.0;
        (time, Some(both(raw(if shut { 0.0 } else { 1.0 }))))
    });
    let course = Course::of(Options::default(), samples);
    assert_eq!(
        course.states(),
        [State::Calibrating, State::Ok, State::Drowsy, State::Ok]
    );
    let (time, decision) = course
        .decisions
        .iter()
        .find(|(_, d)| d.state == State::Drowsy)
        .unwrap();
    // PERCLOS over 180 s is known after 90 s. By then eleven closures have ended,
    // of 1 s each, the first of them at 35 s; the twelfth is shorter than 250 ms
    // so far. The windows hold each interval in two parts at most, to 2
    // microseconds: 11 s are right to 1 ms, and 60 s to 4 ms.
    assert!((90.0..90.2).contains(time), "{time}");
    let expected: f32 = 11.0 / 60.0;
    let within = (0.001 + 0.004 * expected) / 60.0;
    assert!((decision.perclos.unwrap() - expected).abs() < within);
    let awake = course
        .decisions
        .iter()
        .rfind(|(_, d)| d.state == State::Drowsy);
    // After 300 s the window needs 38 s to fall below 0.08, and then a minute
    // must pass.
    assert!(
        (390.0..405.0).contains(&awake.unwrap().0),
        "{:?}",
        awake.unwrap().0
    );
}

#[test]
fn slow_frames_give_no_reading() {
    let samples = |fps: f64| (0..300).map(move |frame| (f64::from(frame) / fps, Some(both(1.0))));
    let slow = Course::of(Options::default(), samples(4.0));
    assert_eq!(slow.last().state, State::NoReading);
    assert_eq!(slow.last().reason, Some(Reason::Rate));
    assert!((slow.last().fps.unwrap() - 4.0).abs() < 0.01);
    let slower = Course::of(Options::default(), samples(0.5));
    assert_eq!(slower.last().reason, Some(Reason::Rate));
    assert_eq!(
        Course::of(Options::default(), samples(5.0)).last().state,
        State::Ok
    );
}

#[test]
fn a_gap_ends_a_closure_and_nobody_never_follows_it() {
    // Shut from 35 s on, and the face is lost after a second.
    let samples = (0..1200).map(|frame| {
        let time = f64::from(frame) / 15.0;
        let eyes = both(raw(if time < 35.0 { 1.0 } else { 0.0 }));
        (time, (time < 36.0).then_some(eyes))
    });
    let course = Course::of(Options::default(), samples);
    assert_eq!(
        course.states(),
        [State::Calibrating, State::Ok, State::NoReading]
    );
    assert_eq!(course.last().reason, Some(Reason::LostWhileClosed));
    assert_eq!(course.closures().len(), 1);
    let (_, kind, length) = course.closures()[0];
    assert_eq!(kind, ClosureKind::Long);
    assert!((length - 1.0).abs() < 0.07);
}

#[test]
fn a_lost_camera_ends_in_no_reading() {
    let mut fatigue = Fatigue::new(Options::default());
    let mut look = |frame: u32, openness: f64| {
        fatigue.look(at(f64::from(frame) / 15.0), &one(both(raw(openness))));
        (fatigue.decision().state, fatigue.clone())
    };
    for frame in 0..500 {
        look(frame, 1.0);
    }
    let (_, mut awake) = look(500, 1.0);
    assert!(awake.lose_camera(at(34.0)));
    assert_eq!(awake.decision().reason, Some(Reason::CameraLost));
    for frame in 501..560 {
        look(frame, 0.0);
    }
    let (state, mut asleep) = look(560, 0.0);
    assert_eq!(state, State::Asleep);
    assert!(asleep.lose_camera(at(38.0)));
    assert!(!asleep.lose_camera(at(38.5)), "once a second is enough");
    assert!(asleep.lose_camera(at(39.0)));
    let decision = *asleep.decision();
    assert_eq!(decision.state, State::NoReading);
    assert_eq!(decision.reason, Some(Reason::LostWhileClosed));
    // It comes back without a face.
    for frame in 600..900 {
        asleep.look(at(f64::from(frame) / 15.0), &[]);
    }
    assert_eq!(asleep.decision().reason, Some(Reason::LostWhileClosed));
    asleep.look(at(60.0), &one(both(1.0)));
    assert_ne!(asleep.decision().reason, Some(Reason::LostWhileClosed));
}

#[test]
fn looking_down_starts_no_closure() {
    for (gaze_down, pitch) in [(Some(0.9), None), (None, Some(-20.0))] {
        let samples = (0..900).map(|frame| {
            let time = f64::from(frame) / 15.0;
            let down = time > 40.0;
            let eyes = EyeSample {
                gaze_down: gaze_down.filter(|_| down),
                pitch: pitch.map(|pitch| if down { pitch } else { 0.0 }),
                yaw: Some(0.0),
                ..both(raw(if down { 0.05 } else { 1.0 }))
            };
            (time, Some(eyes))
        });
        let course = Course::of(Options::default(), samples);
        assert_eq!(
            course.gravest(),
            State::Calibrating,
            "{:?}",
            course.states()
        );
        assert_eq!(course.last().state, State::Ok);
        assert!(course.closures().is_empty());
    }
    // The head falls after the eyes have shut.
    let samples = (0..900).map(|frame| {
        let time = f64::from(frame) / 15.0;
        let eyes = EyeSample {
            pitch: Some(if time > 41.0 { -25.0 } else { 0.0 }),
            yaw: Some(0.0),
            ..both(raw(if time > 40.0 { 0.0 } else { 1.0 }))
        };
        (time, Some(eyes))
    });
    let course = Course::of(Options::default(), samples);
    assert_eq!(course.last().state, State::Unresponsive);
    assert_eq!(course.last().nods, Some(1));
}

#[test]
fn a_turned_head_leaves_the_near_eye() {
    let look = |yaw: f32, left: f64, right: f64| {
        let samples = (0..900).map(|frame| {
            let time = f64::from(frame) / 15.0;
            let turned = time > 40.0;
            let eyes = EyeSample {
                left: Some(raw(if turned { left } else { 1.0 }) as f32),
                right: Some(raw(if turned { right } else { 1.0 }) as f32),
                yaw: Some(if turned { yaw } else { 5.0 }),
                pitch: Some(0.0),
                ..EyeSample::default()
            };
            (time, Some(eyes))
        });
        *Course::of(Options::default(), samples).last()
    };
    // Up to 15 degrees from the rest pose at 5 degrees both eyes count.
    assert_eq!(look(18.0, 0.0, 1.0).state, State::Ok);
    let far_left = look(25.0, 1.0, 0.0);
    assert_eq!(far_left.state, State::Unresponsive);
    assert_eq!(far_left.openness[0], None);
    assert_eq!(look(-20.0, 0.0, 1.0).state, State::Unresponsive);
    assert_eq!(look(38.0, 0.0, 0.0).reason, Some(Reason::Pose));
}

#[test]
fn hidden_eyes_give_no_reading() {
    let samples = (0..300).map(|frame| {
        let eyes = EyeSample {
            covered: Some(0.9),
            ..both(0.0)
        };
        (f64::from(frame) / 15.0, Some(eyes))
    });
    let course = Course::of(Options::default(), samples);
    assert_eq!(course.last().reason, Some(Reason::EyesHidden));
    assert!(course.closures().is_empty());
}

#[test]
fn blinks_give_a_rate_and_a_mean() {
    let lids = Lids((0..40).map(|i| (32.0 + 4.0 * f64::from(i), 0.2)).collect());
    let blink = |fps: f64| {
        let samples = (0..(190.0 * fps) as u32).map(|frame| {
            let time = f64::from(frame) / fps;
            (time, Some(both(raw(lids.openness(time)))))
        });
        *Course::of(Options::default(), samples).last()
    };
    let seen = blink(30.0);
    let (rate, mean) = (seen.blink_rate.unwrap(), seen.blink_duration.unwrap());
    assert!((rate - 13.2).abs() < 0.3, "{rate}");
    assert!((mean.as_secs_f64() - 0.2).abs() < 0.01, "{mean:?}");
    assert_eq!(blink(10.0).blink_rate, None);
}

#[test]
fn yawns_are_counted() {
    let samples = (0..1200).map(|frame| {
        let time = f64::from(frame) / 15.0;
        let yawns = (40.0..45.0).contains(&time) || (60.0..64.0).contains(&time);
        let eyes = EyeSample {
            jaw: Some(if yawns { 0.8 } else { 0.05 }),
            smile: Some(0.1),
            ..both(1.0)
        };
        (time, Some(eyes))
    });
    let course = Course::of(Options::default(), samples);
    assert_eq!(course.last().yawns, Some(2));
    let yawns = course
        .events
        .iter()
        .filter(|e| matches!(e.what, What::Yawn { .. }));
    assert_eq!(yawns.count(), 2);
}

/// A face with a box: track, x and width.
fn face(track: u32, x: f32, width: f32, openness: f64) -> FaceSample {
    let eyes = EyeSample {
        rect: Some([x, 0.3, width, width]),
        ..both(openness)
    };
    FaceSample { track, eyes }
}

fn look_for(fatigue: &mut Fatigue, from: &mut u32, seconds: u32, faces: &[FaceSample]) {
    for _ in 0..15 * seconds {
        fatigue.look(at(f64::from(*from) / 15.0), faces);
        *from += 1;
    }
}

#[test]
fn another_person_is_calibrated_again() {
    let mut fatigue = Fatigue::new(Options::default());
    let mut at = 0;
    look_for(
        &mut fatigue,
        &mut at,
        40,
        &[face(1, 0.4, 0.2, 1.0), face(2, 0.0, 0.15, 1.0)],
    );
    assert_eq!(fatigue.decision().track, Some(1));
    assert_eq!(fatigue.decision().state, State::Ok);
    assert_eq!(fatigue.of(2), None);
    // A slightly larger face is not enough.
    look_for(
        &mut fatigue,
        &mut at,
        5,
        &[face(1, 0.4, 0.2, 1.0), face(2, 0.0, 0.22, 1.0)],
    );
    assert_eq!(fatigue.decision().track, Some(1));
    look_for(
        &mut fatigue,
        &mut at,
        2,
        &[face(1, 0.4, 0.2, 1.0), face(2, 0.0, 0.3, 1.0)],
    );
    assert_eq!(fatigue.decision().track, Some(2));
    assert_eq!(fatigue.decision().state, State::Calibrating);
    assert!(!fatigue.decision().calibrated);
}

#[test]
fn a_look_over_the_shoulder_keeps_the_calibration() {
    let mut before = Fatigue::new(Options::default());
    let mut at = 0;
    look_for(&mut before, &mut at, 40, &[face(1, 0.4, 0.2, 1.0)]);

    let comes_back = |missing: u32, x: f32, openness: f64, other: bool| {
        let (mut fatigue, mut at) = (before.clone(), at);
        let others = [face(9, 0.0, 0.1, 1.0)];
        look_for(
            &mut fatigue,
            &mut at,
            missing,
            if other { &others } else { &[] },
        );
        assert_eq!(
            fatigue.decision().state,
            match (missing, other) {
                (12, _) => State::Nobody,
                (_, true) => State::Calibrating,
                _ => State::Ok,
            }
        );
        let mut faces = vec![face(2, x, 0.2, openness)];
        if other {
            faces.extend(others);
        }
        look_for(&mut fatigue, &mut at, 8, &faces);
        *fatigue.decision()
    };
    let same = comes_back(4, 0.45, 0.95, false);
    assert_eq!((same.state, same.track), (State::Ok, Some(2)));
    assert!(same.window > Duration::from_secs(40));
    // At another place, with other eyes, too late, or after another person.
    assert!(!comes_back(4, 0.0, 1.0, false).calibrated);
    assert!(!comes_back(4, 0.45, 0.7, false).calibrated);
    assert!(!comes_back(12, 0.45, 1.0, false).calibrated);
    assert!(!comes_back(4, 0.45, 1.0, true).calibrated);
}

#[test]
fn a_recording_that_begins_again_resets_everything() {
    let mut fatigue = Fatigue::new(Options::default());
    let mut now = 0;
    look_for(&mut fatigue, &mut now, 40, &[face(1, 0.4, 0.2, 1.0)]);
    assert_eq!(fatigue.decision().state, State::Ok);
    now = 0;
    look_for(&mut fatigue, &mut now, 2, &[face(1, 0.4, 0.2, 1.0)]);
    let decision = *fatigue.decision();
    assert_eq!(
        (decision.state, decision.calibrated),
        (State::Calibrating, false)
    );
    assert!(decision.window < Duration::from_secs(2));
    look_for(&mut fatigue, &mut now, 30, &[face(1, 0.4, 0.2, 1.0)]);
    assert_eq!(fatigue.decision().state, State::Ok);
}

#[test]
fn only_the_region_is_watched() {
    let mut fatigue = Fatigue::new(Options {
        watch: Watch::Region,
        region: Some([0.5, 0.0, 0.5, 1.0]),
        ..Options::default()
    });
    let mut at = 0;
    let passenger = face(1, 0.0, 0.4, 1.0);
    look_for(&mut fatigue, &mut at, 12, &[passenger]);
    assert_eq!(fatigue.decision().state, State::Nobody);
    look_for(
        &mut fatigue,
        &mut at,
        31,
        &[passenger, face(2, 0.6, 0.2, 1.0)],
    );
    assert_eq!(fatigue.decision().track, Some(2));
    assert_eq!(fatigue.decision().state, State::Ok);
}

#[test]
fn everybody_can_be_watched() {
    let mut fatigue = Fatigue::new(Options {
        watch: Watch::All,
        ..Options::default()
    });
    let mut at = 0;
    look_for(
        &mut fatigue,
        &mut at,
        35,
        &[face(1, 0.0, 0.2, 1.0), face(2, 0.6, 0.2, 1.0)],
    );
    assert_eq!(fatigue.of(1).unwrap().state, State::Ok);
    assert_eq!(fatigue.of(2).unwrap().state, State::Ok);
    look_for(
        &mut fatigue,
        &mut at,
        4,
        &[face(1, 0.0, 0.2, 1.0), face(2, 0.6, 0.2, 0.0)],
    );
    assert_eq!(fatigue.of(1).unwrap().state, State::Ok);
    assert_eq!(fatigue.decision().state, State::Asleep);
    assert_eq!(fatigue.decision().track, Some(2));
    // The sleeper wakes and leaves, then the other person leaves.
    look_for(
        &mut fatigue,
        &mut at,
        4,
        &[face(1, 0.0, 0.2, 1.0), face(2, 0.6, 0.2, 1.0)],
    );
    look_for(&mut fatigue, &mut at, 12, &[face(1, 0.0, 0.2, 1.0)]);
    assert_eq!(fatigue.decision().state, State::Ok);
    assert_eq!(fatigue.of(2), None);
    look_for(&mut fatigue, &mut at, 12, &[]);
    assert_eq!(fatigue.decision().state, State::Nobody);
}

#[test]
fn many_faces_bring_no_more_events_than_there_is_room_for() {
    let mut fatigue = Fatigue::new(Options {
        watch: Watch::All,
        ..Options::default()
    });
    let capacity = fatigue.events.capacity();
    let mut random = Random(7);
    for frame in 0..600 {
        let faces: Vec<_> = (0..40)
            .map(|place| {
                let track = 1 + place + 40 * (frame / 100);
                face(track, place as f32 / 40.0, 0.02, random.next().round())
            })
            .collect();
        fatigue.look(at(f64::from(frame) / 15.0), &faces);
        assert!(fatigue.events().len() < capacity);
    }
    assert_eq!(fatigue.events.capacity(), capacity);
}

#[test]
fn the_memory_of_a_person_is_as_stated() {
    let bytes = std::mem::size_of::<person::Person>();
    assert!((19 * 1024..=20 * 1024).contains(&bytes), "{bytes}");
}

#[test]
fn options_are_checked() {
    let options = Options::default();
    assert_eq!(options.validate(), Ok(()));
    let key = |options: Options| options.validate().unwrap_err().key();
    let millis = Duration::from_millis;
    assert_eq!(
        key(Options {
            microsleep: millis(3000),
            ..options
        }),
        "asleep_ms"
    );
    assert_eq!(
        key(Options {
            asleep: millis(7000),
            ..options
        }),
        "unresponsive_ms"
    );
    assert_eq!(
        key(Options {
            microsleep: millis(100),
            ..options
        }),
        "microsleep_ms"
    );
    assert_eq!(
        key(Options {
            drowsy: 0.0,
            ..options
        }),
        "drowsy"
    );
    assert_eq!(
        key(Options {
            drowsy: f32::NAN,
            ..options
        }),
        "drowsy"
    );
    assert_eq!(
        key(Options {
            watch: Watch::Region,
            ..options
        }),
        "watch"
    );
    let region = |region| Options {
        watch: Watch::Region,
        region: Some(region),
        ..options
    };
    assert_eq!(region([0.5, 0.0, 0.5, 1.0]).validate(), Ok(()));
    assert_eq!(key(region([0.5, 0.0, 0.6, 1.0])), "region");
    assert_eq!(key(region([0.5, 0.0, f32::NAN, 1.0])), "region");
    assert_eq!(
        key(Options {
            region: Some([0.0, 0.0, 1.0, 1.0]),
            ..options
        }),
        "region"
    );
    assert_eq!(
        key(Options {
            open: 0.29,
            shut: 0.2,
            ..options
        }),
        "open"
    );
}

/// A piece of a trace: its length in tenths of a second, and the openness of the
/// eyes; `None` for eyes that are not seen.
fn pieces() -> impl Strategy<Value = Vec<(u32, Option<f64>)>> {
    let openness = prop_oneof![
        4 => Just(Some(1.0)),
        2 => Just(Some(0.0)),
        1 => Just(Some(0.1)),
        1 => Just(Some(0.25)),
        1 => Just(Some(0.4)),
        3 => Just(None),
    ];
    prop::collection::vec((1_u32..60, openness), 1..60)
}

/// Frames of a trace after 40 s of open eyes.
fn trace(
    pieces: &[(u32, Option<f64>)],
    fps: f64,
    jitter: f64,
    seed: u64,
) -> Vec<(f64, Option<f64>)> {
    let mut ends = Vec::new();
    let mut end = 40.0;
    for (tenths, openness) in pieces {
        end += f64::from(*tenths) / 10.0;
        ends.push((end, *openness));
    }
    let mut random = Random(seed | 1);
    times(fps, jitter, end, &mut random)
        .into_iter()
        .map(|time| {
            let piece = ends.iter().find(|(end, _)| time < *end).unwrap();
            (time, if time < 40.0 { Some(1.0) } else { piece.1 })
        })
        .collect()
}

fn sample(openness: Option<f64>, of: impl Fn(f64) -> f64) -> Option<EyeSample> {
    Some(openness.map_or_else(EyeSample::default, |openness| both(of(openness))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// For any alarm, the eyes were seen shut for its time, in frames close to
    /// each other.
    #[test]
    fn invalid_time_makes_no_alarm(
        pieces in pieces(), fps in 5.0..60.0_f64, jitter in 0.0..0.25_f64, seed in any::<u64>(),
    ) {
        let frames = trace(&pieces, fps, jitter, seed);
        let samples = frames.iter().map(|(time, openness)| (*time, sample(*openness, raw)));
        let course = Course::of(Options::default(), samples);
        let mut seen_shut: f64 = 0.0;
        let mut longest: f64 = 0.0;
        for (pair, (_, decision)) in frames.windows(2).zip(&course.decisions[1..]) {
            let [(from, first), (to, second)] = pair else { unreachable!() };
            if let Some(open) = second && *open > 0.5 {
                // This frame still ends the closure.
                if first.is_some_and(|first| first < 0.5) {
                    longest = longest.max(seen_shut + to - from);
                }
                seen_shut = 0.0;
            } else if first.is_some() && second.is_some() {
                seen_shut += to - from;
                longest = longest.max(seen_shut);
            }
            let least = match decision.state {
                State::Microsleep => 1.5,
                State::Asleep => 3.0,
                State::Unresponsive => 6.0,
                _ => 0.0,
            };
            prop_assert!(longest >= least - 1e-6, "{:?} after {longest} s", decision.state);
            if decision.state == State::Ok {
                longest = 0.0;
            }
        }
    }

    /// Neither a person's own scale nor, after five blinks, a shift changes the
    /// result.
    #[test]
    fn scale_and_shift_change_nothing(
        pieces in pieces(), fps in 10.0..60.0_f64, scale in 0.7..1.4_f64, shift in 0.0..0.1_f64, seed in any::<u64>(),
    ) {
        let mut frames = trace(&pieces, fps, 0.2, seed);
        for (time, openness) in &mut frames {
            // Five blinks within the first 40 s, of 250 ms, seen at any rate.
            let in_blink = *time > 5.0 && *time < 35.0 && (*time / 6.0).fract() < 0.25 / 6.0;
            if in_blink {
                *openness = Some(0.0);
            }
        }
        let course = |change: &dyn Fn(f64) -> f64| {
            let samples = frames.iter().map(|(time, openness)| {
                (*time, sample(*openness, |openness| change(raw(openness))))
            });
            Course::of(Options::default(), samples.collect::<Vec<_>>())
        };
        let plain = course(&|raw| raw);
        for other in [course(&|raw| scale * raw), course(&|raw| raw + shift)] {
            prop_assert_eq!(plain.closures(), other.closures());
            for ((time, a), (_, b)) in plain.decisions.iter().zip(&other.decisions) {
                prop_assert_eq!((a.state, a.reason, a.closure), (b.state, b.reason, b.closure), "{}", time);
                prop_assert_eq!(a.perclos, b.perclos);
            }
        }
    }

    /// Any numbers and any times are accepted, without a panic.
    #[test]
    fn any_input_is_accepted(
        frames in prop::collection::vec((any::<u64>(), prop::collection::vec((0_u32..5, any::<[Option<f32>; 6]>(), any::<[f32; 4]>()), 0..4)), 0..200),
        all in any::<bool>(),
    ) {
        let watch = if all { Watch::All } else { Watch::Largest };
        let mut fatigue = Fatigue::new(Options { watch, ..Options::default() });
        for (time, faces) in frames {
            let faces: Vec<_> = faces.into_iter().map(|(track, [left, right, jaw, yaw, pitch, gaze_down], rect)| {
                let eyes = EyeSample { left, right, jaw, yaw, pitch, gaze_down, rect: Some(rect), ..EyeSample::default() };
                FaceSample { track, eyes }
            }).collect();
            // Up to some years, and mostly close to each other.
            let time = if time % 3 == 0 { time >> 8 } else { time % 1_000_000_000_000 };
            fatigue.look(Timestamp(Duration::from_nanos(time)), &faces);
            let decision = fatigue.decision();
            prop_assert!((0.0..=1.0).contains(&decision.valid));
            for share in [decision.perclos, decision.perclos_180].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }
    }
}
