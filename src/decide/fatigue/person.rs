//! One person's state.

use std::time::Duration;

use super::calibration::{EyeLevels, RestPose};
use super::closures::{self, Blinks, Closures, Ended, Winks};
use super::decision::FatigueDecision;
use super::event::{ClosureKind, Event, What};
use super::gestures::{Nods, Yawns};
use super::options::{Options, Watch};
use super::pace::Pace;
use super::sample::EyeSample;
use super::state::{Reason, State};
use super::windows::{self, Kind, Windows};
use crate::frame::Timestamp;

/// After this time without usable eyes, or without a face, the state is
/// unknown.
pub(super) const BLIND: Duration = Duration::from_secs(10);
/// Frames per second below which there is no reading.
const RATE_LEAST: f32 = 4.5;
/// Frames per second from which blinks are measured.
const BLINK_RATE_LEAST: f32 = 15.0;
/// From this yaw relative to the rest pose on, the far eye does not count, or
/// neither eye counts.
const YAW_ONE: f32 = 15.0;
const YAW_NONE: f32 = 30.0;
/// If the head is further below its rest pose than this, no closure starts.
const PITCH_DOWN: f32 = -12.0;
/// Eyes that look down start no closure.
const GAZE_DOWN: f32 = 0.5;
/// From this value of `covered` on, the eyes are not used.
const COVERED: f32 = 0.5;
/// How long eyes must be open to end a microsleep, and to end more severe
/// states.
const OPEN_AFTER_MICROSLEEP: Duration = Duration::from_secs(2);
const OPEN_AFTER_SLEEP: Duration = Duration::from_secs(3);
/// Eyes that were shut for this time when they were lost were not just
/// blinking.
const LOST_CLOSED: Duration = Duration::from_millis(250);
/// Blinks of up to this length are used for the shut level: 100 to 400 ms are
/// usual.
const ORDINARY_BLINK: Duration = Duration::from_millis(400);
/// A closure of this length restarts the count of open time.
const OPEN_BROKEN_BY: Duration = Duration::from_millis(500);
/// `drowsy` over 180 s, as a part of the threshold over 60 s.
const DROWSY_LONG: f32 = 2.0 / 3.0;
/// Drowsiness ends when PERCLOS is below this part of the threshold for this
/// time.
const DROWSY_OFF: f32 = 8.0 / 15.0;
const DROWSY_OFF_AFTER: Duration = Duration::from_secs(60);
/// The share of a window that must be valid.
const VALID_LEAST: f32 = 0.5;
/// How long the open level of a face that came back is measured, and by how
/// much it may differ.
const CHECK: Duration = Duration::from_secs(5);
const CHECK_WITHIN: f32 = 0.2;

/// The values of the last frame, if it had usable eyes.
#[derive(Clone, Copy, Debug)]
struct Seen {
    raw: [Option<f32>; 2],
    /// Whether the head was frontal and the gaze not down.
    is_frontal: bool,
    is_open: bool,
    is_deep: bool,
}

/// The state of a person: never more than 20 KiB.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// The face's number; `None` while this place is free.
    pub track: Option<u32>,
    /// The last box of the face, as fractions of the picture.
    pub rect: [f32; 4],
    /// When the face was last seen.
    pub last_seen: Duration,
    /// The time of the last frame.
    last_frame: Duration,
    seen: Option<Seen>,
    /// When eyes were last usable.
    last_usable: Duration,
    /// Whether the eyes were shut when they were lost.
    is_lost_closed: bool,
    camera_lost: bool,
    /// Time without usable eyes by its reason.
    blind: [(Reason, Duration); 4],
    levels: [EyeLevels; 2],
    rest: RestPose,
    /// Whether the open level of a face that came back is being compared.
    is_checked: bool,
    closures: Closures,
    winks: Winks,
    blinks: Blinks,
    windows: Windows,
    yawns: Yawns,
    nods: Nods,
    alarm: Option<State>,
    open_for: Duration,
    is_drowsy: bool,
    /// Since when PERCLOS is below the level that ends drowsiness.
    awake_since: Option<Duration>,
    decision: FatigueDecision,
    next_report: Duration,
}

/// The parts of a frame that are the same for all persons.
pub(super) struct Frame<'f> {
    pub now: Duration,
    pub pace: &'f Pace,
    pub options: &'f Options,
}

impl Person {
    pub fn new(options: &Options) -> Self {
        let levels = || EyeLevels::new(options.open, options.shut);
        Self {
            track: None,
            rect: [0.0, 0.0, 1.0, 1.0],
            last_seen: Duration::ZERO,
            last_frame: Duration::ZERO,
            seen: None,
            last_usable: Duration::ZERO,
            is_lost_closed: false,
            camera_lost: false,
            blind: NOT_BLIND,
            levels: [levels(), levels()],
            rest: RestPose::default(),
            is_checked: false,
            closures: Closures::new(),
            winks: Winks::default(),
            blinks: Blinks::new(),
            windows: Windows::new(),
            yawns: Yawns::new(),
            nods: Nods::new(),
            alarm: None,
            open_for: Duration::ZERO,
            is_drowsy: false,
            awake_since: None,
            decision: FatigueDecision::default(),
            next_report: Duration::ZERO,
        }
    }

    pub const fn decision(&self) -> &FatigueDecision {
        &self.decision
    }

    /// Whether the eyes were shut when they were lost, or an alarm is on: then
    /// another face is not watched instead at once.
    pub const fn is_grave(&self) -> bool {
        self.is_lost_closed || self.alarm.is_some()
    }

    /// Starts with another person.
    pub fn start(&mut self, track: u32, now: Duration) {
        self.track = Some(track);
        self.last_seen = now;
        self.last_usable = now;
        self.seen = None;
        self.is_lost_closed = false;
        self.start_measuring(now);
    }

    /// Frees the place.
    pub fn release(&mut self) {
        self.track = None;
        self.seen = None;
        self.last_frame = Duration::ZERO;
        self.last_seen = Duration::ZERO;
        self.decision = FatigueDecision::default();
        self.next_report = Duration::ZERO;
    }

    /// Forgets all measurements.
    fn start_measuring(&mut self, now: Duration) {
        self.blind = NOT_BLIND;
        for levels in &mut self.levels {
            levels.reset();
        }
        self.rest = RestPose::default();
        self.is_checked = false;
        self.closures.reset();
        self.winks = Winks::default();
        self.blinks.reset();
        self.windows.restart(now);
        self.yawns.reset();
        self.nods.reset();
        self.alarm = None;
        self.open_for = Duration::ZERO;
        self.is_drowsy = false;
        self.awake_since = None;
    }

    /// Continues with a face that was missing and has another number now.
    pub fn resume(&mut self, track: u32) {
        self.track = Some(track);
        self.is_checked = true;
        for levels in &mut self.levels {
            levels.begin_check();
        }
    }

    /// Takes a frame; `eyes` is `None` if the face is not in it. Adds events to
    /// `events`.
    pub fn look(&mut self, frame: &Frame<'_>, eyes: Option<&EyeSample>, events: &mut Vec<Event>) {
        let now = frame.now;
        self.camera_lost = false;
        self.windows.advance(now);
        let longest = frame.pace.longest_interval();
        let since_last = now.saturating_sub(self.last_frame);
        let was_seen_lately = self.last_seen == self.last_frame && since_last <= longest;
        let usable = match eyes {
            Some(eyes) => self.usable(eyes),
            None => Err(None),
        };

        // The interval up to now has the values of the frame before.
        let counted = self
            .seen
            .filter(|_| usable.is_ok() && since_last <= longest && !since_last.is_zero());
        if let Some(seen) = counted {
            self.pass(&seen, self.last_frame, now);
        }

        if let Some(eyes) = eyes {
            self.collect_rest(eyes, since_last.min(longest));
            self.last_seen = now;
            if let Some(rect) = eyes.rect {
                self.rect = rect;
            }
        }
        match usable {
            Ok(raw) => {
                let is_gap = now.saturating_sub(self.last_usable) > longest;
                if is_gap && let Some(ended) = self.closures.cut() {
                    self.note_closure(&ended, frame, events);
                }
                self.is_lost_closed = false;
                self.blind = NOT_BLIND;
                self.last_usable = now;
                self.see(
                    raw,
                    eyes.unwrap_or(&NO_EYES),
                    counted.map(|_| since_last),
                    frame,
                    events,
                );
            }
            Err(reason) => {
                self.seen = None;
                self.decision.openness = [None; 2];
                if now.saturating_sub(self.last_usable) > longest {
                    self.is_lost_closed |= self.closures.length() >= LOST_CLOSED;
                    if let Some(ended) = self.closures.cut() {
                        self.note_closure(&ended, frame, events);
                    }
                }
                if let Some(reason) = reason {
                    self.note_blind(reason, since_last.min(longest));
                }
            }
        }
        self.last_frame = now;

        let track = self.track.unwrap_or_default();
        let face = eyes.unwrap_or(&NO_EYES);
        let last = was_seen_lately.then_some(now - since_last);
        let yawn = self.yawns.look(
            now,
            last,
            known(face.jaw),
            known(face.smile),
            self.rest.jaw(),
        );
        if let Some(duration) = yawn {
            let what = What::Yawn { track, duration };
            push(events, now, what);
        }
        self.nods
            .look(now, known(face.pitch), self.closures.length());
        self.check(now);
        self.settle(frame, events);
    }

    /// Notes that no frames come.
    pub fn lose_camera(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) {
        self.camera_lost = true;
        self.windows.advance(frame.now);
        self.is_lost_closed |= self.closures.length() >= LOST_CLOSED;
        if let Some(ended) = self.closures.cut() {
            self.note_closure(&ended, frame, events);
        }
        self.seen = None;
        self.decision.openness = [None; 2];
        self.settle(frame, events);
    }

    /// The raw values of the eyes that count, or why neither counts.
    fn usable(&self, eyes: &EyeSample) -> Result<[Option<f32>; 2], Option<Reason>> {
        let yaw = known(eyes.yaw).map_or(0.0, |yaw| yaw - self.rest.yaw());
        if yaw.abs() > YAW_NONE {
            return Err(Some(Reason::Pose));
        }
        if eyes.covered.is_some_and(|covered| covered >= COVERED) {
            return Err(Some(eyes.reason.unwrap_or(Reason::EyesHidden)));
        }
        let (mut left, mut right) = (known(eyes.left), known(eyes.right));
        // With the nose to the picture's right, the person's left eye is the
        // far one.
        if yaw > YAW_ONE {
            left = None;
        } else if yaw < -YAW_ONE {
            right = None;
        }
        if left.is_none() && right.is_none() {
            let hidden = if yaw.abs() > YAW_ONE {
                Reason::Pose
            } else {
                Reason::EyesHidden
            };
            return Err(Some(eyes.reason.unwrap_or(hidden)));
        }
        Ok([left, right])
    }

    /// Takes an interval that counts.
    fn pass(&mut self, seen: &Seen, from: Duration, to: Duration) {
        let interval = to - from;
        self.windows.add(from, to, Kind::Valid);
        self.closures.pass(from, to, &mut self.windows);
        if seen.is_open {
            self.open_for += interval;
        }
        // Shut eyes do not show the open level of a face that came back.
        if seen.is_frontal && !(self.is_checked && seen.is_deep) {
            for (levels, raw) in self.levels.iter_mut().zip(seen.raw) {
                if let Some(raw) = raw {
                    levels.collect(raw, interval);
                }
            }
            let [left, right] = &mut self.levels;
            left.borrow_from(right);
            right.borrow_from(left);
        }
    }

    /// Takes a frame with usable eyes.
    fn see(
        &mut self,
        raw: [Option<f32>; 2],
        eyes: &EyeSample,
        interval: Option<Duration>,
        frame: &Frame<'_>,
        events: &mut Vec<Event>,
    ) {
        let [left, right] = &self.levels;
        let openness = [
            raw[0].map(|raw| left.openness(raw)),
            raw[1].map(|raw| right.openness(raw)),
        ];
        let pitch = known(eyes.pitch).map_or(0.0, |pitch| pitch - self.rest.pitch());
        let yaw = known(eyes.yaw).map_or(0.0, |yaw| yaw - self.rest.yaw());
        let looks_down = known(eyes.gaze_down).is_some_and(|down| down > GAZE_DOWN);
        let may_start = !looks_down && pitch >= PITCH_DOWN;
        let ended = self
            .closures
            .look(openness, raw, frame.pace.usual_interval(), may_start);
        if let Some(ended) = ended {
            self.note_closure(&ended, frame, events);
        }
        self.winks.look(openness, interval);
        let most_open = openness.into_iter().flatten().fold(0.0, f32::max);
        self.seen = Some(Seen {
            raw,
            is_frontal: may_start && yaw.abs() <= YAW_ONE,
            is_open: !self.closures.is_shut(),
            is_deep: most_open < closures::DEEP,
        });
        self.decision.openness = openness;
    }

    fn collect_rest(&mut self, eyes: &EyeSample, time: Duration) {
        if let (Some(yaw), Some(pitch)) = (known(eyes.yaw), known(eyes.pitch)) {
            self.rest.collect(yaw, pitch, known(eyes.jaw), time);
        } else if eyes.yaw.is_none() && eyes.pitch.is_none() {
            self.rest.collect(0.0, 0.0, known(eyes.jaw), time);
        }
    }

    fn note_blind(&mut self, reason: Reason, time: Duration) {
        if let Some(place) = self.blind.iter_mut().find(|(known, _)| *known == reason) {
            place.1 += time;
        }
    }

    /// The reason for most of the time without usable eyes.
    fn blind_reason(&self) -> Reason {
        let longest = self.blind.iter().max_by_key(|(_, time)| *time);
        match longest {
            Some((reason, time)) if !time.is_zero() => *reason,
            _ => Reason::EyesHidden,
        }
    }

    fn note_closure(&mut self, ended: &Ended, frame: &Frame<'_>, events: &mut Vec<Event>) {
        let Options {
            microsleep, asleep, ..
        } = *frame.options;
        let kind = if ended.length <= closures::BLINK_LONGEST {
            ClosureKind::Blink
        } else if ended.length < microsleep {
            ClosureKind::Long
        } else if ended.length < asleep {
            ClosureKind::Microsleep
        } else {
            ClosureKind::Sleep
        };
        if ended.length <= ORDINARY_BLINK {
            for (levels, minimum) in self.levels.iter_mut().zip(ended.minima) {
                if let Some(minimum) = minimum {
                    levels.note_blink(minimum);
                }
            }
        }
        if kind == ClosureKind::Blink {
            self.blinks.note(frame.now, ended.length);
        }
        self.raise(ended.length, frame.options);
        push(
            events,
            frame.now,
            What::Closure {
                track: self.track.unwrap_or_default(),
                kind,
                duration: ended.length,
            },
        );
    }

    /// Raises the alarm for a closure of this length.
    fn raise(&mut self, length: Duration, options: &Options) {
        let called = if length >= options.unresponsive {
            State::Unresponsive
        } else if length >= options.asleep {
            State::Asleep
        } else if length >= options.microsleep {
            State::Microsleep
        } else {
            if length >= OPEN_BROKEN_BY {
                self.open_for = Duration::ZERO;
            }
            return;
        };
        self.open_for = Duration::ZERO;
        self.alarm = self.alarm.max(Some(called));
    }

    /// Compares the open level of a face that came back, when it is known.
    fn check(&mut self, now: Duration) {
        if !self.is_checked {
            return;
        }
        let mut compared = false;
        for levels in &self.levels {
            let (time, level) = levels.checked();
            if time < CHECK {
                continue;
            }
            compared = true;
            if (level / levels.open_level() - 1.0).abs() > CHECK_WITHIN {
                self.start_measuring(now);
                return;
            }
        }
        self.is_checked = !compared;
    }

    /// Decides on the state, and reports it if it changed or a second has
    /// passed.
    fn settle(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) {
        let now = frame.now;
        self.raise(self.closures.length(), frame.options);
        let missing = now.saturating_sub(self.last_seen);
        let blind = now.saturating_sub(self.last_usable);
        let open_long = match self.alarm {
            Some(State::Microsleep) => self.open_for >= OPEN_AFTER_MICROSLEEP,
            Some(_) => self.open_for >= OPEN_AFTER_SLEEP,
            None => false,
        };
        if open_long || blind >= BLIND || self.camera_lost {
            self.alarm = None;
        }

        let short = self.windows.short(now);
        let long = self.windows.long(now);
        let perclos = (short.valid * 2 >= windows::SHORT).then(|| short.shut_share());
        let perclos_180 = (long.valid * 2 >= windows::LONG).then(|| long.shut_share());
        self.settle_drowsiness(now, frame.options.drowsy, perclos, perclos_180);
        let calibrated = self.levels.iter().any(EyeLevels::is_calibrated);
        let fps = frame.pace.fps();

        let is_thin = |share: &windows::Share, window| {
            share.length >= window && share.valid_share() < VALID_LEAST
        };
        let before = (self.decision.state, self.decision.reason);
        let (state, reason) = if let Some(alarm) = self.alarm {
            (alarm, None)
        } else if self.camera_lost {
            let reason = if self.is_lost_closed {
                Reason::LostWhileClosed
            } else {
                Reason::CameraLost
            };
            (State::NoReading, Some(reason))
        } else if missing >= BLIND {
            if self.is_lost_closed {
                (State::NoReading, Some(Reason::LostWhileClosed))
            } else {
                (State::Nobody, None)
            }
        } else if blind >= BLIND {
            let reason = if self.is_lost_closed {
                Reason::LostWhileClosed
            } else {
                self.blind_reason()
            };
            (State::NoReading, Some(reason))
        } else if missing > Duration::ZERO {
            // A face that is missing for a short time changes nothing.
            before
        } else if fps.is_some_and(|fps| fps < RATE_LEAST) {
            (State::NoReading, Some(Reason::Rate))
        } else if is_thin(&short, windows::SHORT) || is_thin(&long, windows::LONG) {
            (State::NoReading, Some(self.blind_reason()))
        } else if !calibrated {
            (State::Calibrating, None)
        } else if self.is_drowsy {
            (State::Drowsy, None)
        } else {
            (State::Ok, None)
        };

        let length = self.closures.length();
        let blinks = fps
            .filter(|fps| *fps >= BLINK_RATE_LEAST)
            .and_then(|_| self.blinks.mean(now, windows::LONG));
        let minutes = long.valid.as_secs_f32() / 60.0;
        let is_nobody = state == State::Nobody;
        let valid = short.valid_share();
        let decision = FatigueDecision {
            track: self
                .track
                .filter(|_| !is_nobody || frame.options.watch == Watch::All),
            state,
            reason,
            since: self.decision.since,
            openness: self.decision.openness,
            perclos: perclos.filter(|_| calibrated),
            perclos_180: perclos_180.filter(|_| calibrated),
            window: short.length,
            valid,
            closure: (!length.is_zero()).then_some(length),
            blink_rate: blinks
                .filter(|_| minutes > 0.0)
                .map(|(count, _)| count as f32 / minutes),
            blink_duration: blinks.map(|(_, mean)| mean),
            yawns: self.yawns.count(now),
            nods: self.nods.count(now),
            winks: self.winks.count(),
            calibrated,
            fps,
            confidence: valid * if calibrated { 1.0 } else { 0.5 },
        };
        let is_new = decision.track != self.decision.track || (state, reason) != before;
        self.decision = decision;
        if is_new {
            self.decision.since = Timestamp(now);
        }
        if is_new || now >= self.next_report {
            // Counted from the time at which the last report was due, so that
            // the rate of frames does not delay it.
            let next = self.next_report + REPORT;
            self.next_report = if is_new || next <= now {
                now + REPORT
            } else {
                next
            };
            let what = What::State {
                decision: self.decision,
                change: is_new,
            };
            push(events, now, what);
        }
    }

    fn settle_drowsiness(
        &mut self,
        now: Duration,
        threshold: f32,
        perclos: Option<f32>,
        perclos_180: Option<f32>,
    ) {
        let Some(short) = perclos else {
            self.awake_since = None;
            return;
        };
        if !self.is_drowsy {
            self.is_drowsy = short >= threshold
                && perclos_180.is_some_and(|long| long >= DROWSY_LONG * threshold);
            self.awake_since = None;
        } else if short < DROWSY_OFF * threshold {
            let since = *self.awake_since.get_or_insert(now);
            if now.saturating_sub(since) >= DROWSY_OFF_AFTER {
                self.is_drowsy = false;
            }
        } else {
            self.awake_since = None;
        }
    }
}

/// How often an unchanged state is reported.
const REPORT: Duration = Duration::from_secs(1);

const NOT_BLIND: [(Reason, Duration); 4] = [
    (Reason::EyesHidden, Duration::ZERO),
    (Reason::Pose, Duration::ZERO),
    (Reason::Dark, Duration::ZERO),
    (Reason::Glare, Duration::ZERO),
];

const NO_EYES: EyeSample = EyeSample {
    left: None,
    right: None,
    gaze_down: None,
    covered: None,
    jaw: None,
    smile: None,
    yaw: None,
    pitch: None,
    roll: None,
    presence: None,
    rect: None,
    reason: None,
};

/// A number from a network or a file, if it is finite.
fn known(value: Option<f32>) -> Option<f32> {
    value.filter(|value| value.is_finite())
}

/// There is room for all events of a frame. Further ones would be dropped, so
/// that no memory is allocated.
pub(super) fn push(events: &mut Vec<Event>, now: Duration, what: What) {
    if events.len() < events.capacity() {
        events.push(Event {
            time: Timestamp(now),
            what,
        });
    }
}
