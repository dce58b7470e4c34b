//! Decides whose eyes are watched, and whether a face that comes back is the
//! same person.

use std::time::Duration;

use super::decision::FatigueDecision;
use super::event::{Alarm, Event, What};
use super::options::{Options, Watch};
use super::pace::Pace;
use super::person::{BLIND, Frame, Person, push};
use super::sample::FaceSample;
use super::state::{Reason, State};
use crate::frame::Timestamp;
use crate::track::SLOTS;

/// Another face is watched instead if its area is this much larger, for this
/// time.
const LARGER: f32 = 1.5;
const LARGER_FOR: Duration = Duration::from_secs(1);
/// How long a watched face must be missing before another one is watched; after
/// an alarm or with the eyes last seen shut, [`BLIND`].
const MISSING: Duration = Duration::from_secs(1);
/// The box of a face that comes back overlaps the last box by at least this
/// part of the smaller one.
const OVERLAP: f32 = 0.1;
/// The largest number of events per person and frame: a closure, a yawn, a
/// state.
const EVENTS_EACH: usize = 4;
/// A clock that goes back by more than this was set back.
const CLOCK_SET_BACK: Duration = Duration::from_secs(1);

/// Decides on the eyes of the watched persons, in memory of fixed size: 20 KiB
/// per person. There is memory for one person, or for [`SLOTS`] persons if
/// everybody is watched.
#[derive(Clone, Debug)]
pub struct Fatigue {
    options: Options,
    pace: Pace,
    persons: Box<[Person]>,
    /// Whether another face was in the region while the watched face was
    /// missing.
    other_seen: bool,
    /// Since when another face is larger than the watched one.
    larger_since: Option<(u32, Duration)>,
    pub(super) events: Vec<Event>,
    now: Option<Timestamp>,
    /// The start time, for `nobody` before the first face.
    began: Duration,
    /// The decision while there is no person.
    empty: FatigueDecision,
    next_report: Duration,
    camera_lost_at: Option<Duration>,
    alarm: Option<Alarm>,
    is_acknowledgement_asked: bool,
    /// Whether an acknowledgement was asked for before the last frame.
    was_acknowledgement_asked: bool,
}

impl Fatigue {
    /// A watch without persons. Options should [validate](Options::validate).
    #[must_use]
    pub fn new(options: Options) -> Self {
        let count = match options.watch {
            Watch::Largest | Watch::Region => 1,
            Watch::All => SLOTS,
        };
        Self {
            persons: (0..count).map(|_| Person::new(&options)).collect(),
            events: Vec::with_capacity(EVENTS_EACH * count + 2),
            pace: Pace::default(),
            other_seen: false,
            larger_since: None,
            now: None,
            began: Duration::ZERO,
            empty: FatigueDecision::default(),
            next_report: Duration::ZERO,
            camera_lost_at: None,
            alarm: None,
            is_acknowledgement_asked: false,
            was_acknowledgement_asked: false,
            options,
        }
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Takes a frame and all faces in it, whether they count for other stages
    /// or not. A time before the last one counts as the same instant, unless
    /// the clock was set back by more than a second: then everything starts
    /// again.
    pub fn look(&mut self, now: Timestamp, faces: &[FaceSample]) {
        let before = self.now;
        let now = match before {
            Some(before) if before.since(now) > CLOCK_SET_BACK => {
                self.clear();
                now
            }
            Some(before) => now.max(before),
            None => now,
        };
        self.events.clear();
        match self.now.replace(now) {
            Some(before) => self.pace.note(now.since(before)),
            None => self.began = now.0,
        }
        if self.camera_lost_at.take().is_some() {
            self.pace.clear();
        }
        match self.options.watch {
            Watch::Largest | Watch::Region => self.look_at_one(now.0, faces),
            Watch::All => self.look_at_all(now.0, faces),
        }
        self.look_at_nobody(now.0, None);
        self.follow_alarm(now.0);
    }

    /// Forgets everybody, for example before frames with another clock.
    pub fn clear(&mut self) {
        for person in &mut self.persons {
            person.release();
        }
        self.pace.clear();
        self.other_seen = false;
        self.larger_since = None;
        self.events.clear();
        self.now = None;
        self.empty = FatigueDecision::default();
        self.next_report = Duration::ZERO;
        self.camera_lost_at = None;
        self.alarm = None;
        self.is_acknowledgement_asked = false;
        self.was_acknowledgement_asked = false;
    }

    /// Notes that no frames come. Can be called at any rate; it has an effect
    /// at the first call and then once per second. Returns whether it had an
    /// effect.
    pub fn lose_camera(&mut self, now: Timestamp) -> bool {
        let now = now.max(self.now.unwrap_or_default());
        let again = self.camera_lost_at.map(|at| at + Duration::from_secs(1));
        self.events.clear();
        if again.is_some_and(|again| now.0 < again) {
            return false;
        }
        self.camera_lost_at = Some(now.0);
        self.now = Some(now);
        let frame = Frame {
            now: now.0,
            pace: &self.pace,
            options: &self.options,
        };
        for person in &mut self.persons {
            if person.track.is_some() {
                person.lose_camera(&frame, &mut self.events);
            }
        }
        self.look_at_nobody(now.0, Some(Reason::CameraLost));
        self.follow_alarm(now.0);
        true
    }

    /// Acknowledges the alarm that is on, with the next frame. It stays
    /// acknowledged until it ends or becomes more severe.
    pub const fn acknowledge(&mut self) {
        self.is_acknowledgement_asked = true;
    }

    /// Whether the last frame took an acknowledgement, with an effect or without.
    #[must_use]
    pub const fn took_acknowledgement(&self) -> bool {
        self.was_acknowledgement_asked
    }

    /// The alarm that is on.
    #[must_use]
    pub const fn alarm(&self) -> Option<Alarm> {
        self.alarm
    }

    fn follow_alarm(&mut self, now: Duration) {
        let state = self.decision().state;
        let is_asked = std::mem::take(&mut self.is_acknowledgement_asked);
        self.was_acknowledgement_asked = is_asked;
        let before = self.alarm;
        self.alarm = state.is_alarm().then(|| {
            let is_graver = before.is_none_or(|before| state > before.state);
            let was_acknowledged = before.is_some_and(|before| before.is_acknowledged);
            Alarm {
                state,
                is_on: true,
                is_acknowledged: (was_acknowledged || is_asked && before.is_some()) && !is_graver,
            }
        });
        if self.alarm != before {
            let over = before.map(|before| Alarm {
                is_on: false,
                ..before
            });
            if let Some(alarm) = self.alarm.or(over) {
                push(&mut self.events, now, What::Alarm(alarm));
            }
        }
    }

    /// The events of the last frame, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The decision about a face of the last frame; `None` if it is not
    /// watched.
    #[must_use]
    pub fn of(&self, track: u32) -> Option<&FatigueDecision> {
        self.persons
            .iter()
            .find(|person| person.track == Some(track))
            .map(Person::decision)
    }

    /// The overall decision: about the watched person, or about the one in the
    /// most severe state.
    #[must_use]
    pub fn decision(&self) -> &FatigueDecision {
        self.persons
            .iter()
            .filter(|person| person.track.is_some())
            .map(Person::decision)
            .max_by_key(|decision| decision.state)
            .unwrap_or(&self.empty)
    }

    fn is_in_region(&self, face: &FaceSample) -> bool {
        let (Some([x, y, width, height]), Watch::Region) =
            (self.options.region, self.options.watch)
        else {
            return true;
        };
        let rect = rect(face);
        let (centre_x, centre_y) = (rect[0] + rect[2] / 2.0, rect[1] + rect[3] / 2.0);
        (x..=x + width).contains(&centre_x) && (y..=y + height).contains(&centre_y)
    }

    fn look_at_one(&mut self, now: Duration, faces: &[FaceSample]) {
        let watched = self.persons[0].track;
        let current = faces
            .iter()
            .find(|face| Some(face.track) == watched && self.is_in_region(face));
        let others = || {
            faces
                .iter()
                .filter(|face| Some(face.track) != watched && self.is_in_region(face))
        };
        let largest = others().max_by(|a, b| area(a).total_cmp(&area(b)));
        let count = others().count();

        let next = match (current, largest) {
            (Some(current), Some(other)) if area(other) >= LARGER * area(current) => {
                let since = match self.larger_since {
                    Some((track, since)) if track == other.track => since,
                    _ => now,
                };
                self.larger_since = Some((other.track, since));
                if now - since >= LARGER_FOR {
                    Next::Start(other)
                } else {
                    Next::Same(Some(current))
                }
            }
            (Some(current), _) => {
                self.larger_since = None;
                Next::Same(Some(current))
            }
            (None, None) => Next::Same(None),
            (None, Some(other)) if watched.is_none() => Next::Start(other),
            (None, Some(other)) => {
                let person = &self.persons[0];
                let missing = now.saturating_sub(person.last_seen);
                let is_back = count == 1
                    && !self.other_seen
                    && missing <= self.options.keep_calibration
                    && overlap(person.rect, rect(other)) >= OVERLAP;
                let wait = if person.is_grave() { BLIND } else { MISSING };
                if is_back {
                    Next::Resume(other)
                } else {
                    self.other_seen = true;
                    if missing >= wait {
                        Next::Start(other)
                    } else {
                        Next::Same(None)
                    }
                }
            }
        };
        let person = &mut self.persons[0];
        let face = match next {
            Next::Same(face) => face,
            Next::Start(face) => {
                person.start(face.track, now);
                Some(face)
            }
            Next::Resume(face) => {
                person.resume(face.track);
                Some(face)
            }
        };
        if face.is_some() {
            self.other_seen = false;
        }
        if person.track.is_some() {
            let frame = Frame {
                now,
                pace: &self.pace,
                options: &self.options,
            };
            person.look(&frame, face.map(|face| &face.eyes), &mut self.events);
        }
    }

    fn look_at_all(&mut self, now: Duration, faces: &[FaceSample]) {
        let mut is_anybody_new = false;
        for face in faces {
            let is_known = |person: &Person| person.track == Some(face.track);
            if self.persons.iter().any(is_known) {
                continue;
            }
            let is_missing =
                |person: &Person| faces.iter().all(|face| person.track != Some(face.track));
            let back = self.persons.iter_mut().find(|person| {
                person.track.is_some()
                    && is_missing(person)
                    && now.saturating_sub(person.last_seen) <= self.options.keep_calibration
                    && overlap(person.rect, rect(face)) >= OVERLAP
            });
            if let Some(person) = back {
                person.resume(face.track);
                continue;
            }
            is_anybody_new = true;
            // A free place, or that of the person who is missing longest.
            let place = self
                .persons
                .iter_mut()
                .filter(|person| is_missing(person))
                .min_by_key(|person| (person.track.is_some(), person.last_seen));
            if let Some(person) = place {
                person.start(face.track, now);
            }
        }
        let frame = Frame {
            now,
            pace: &self.pace,
            options: &self.options,
        };
        for person in &mut self.persons {
            let Some(track) = person.track else {
                continue;
            };
            let face = faces.iter().find(|face| face.track == track);
            person.look(&frame, face.map(|face| &face.eyes), &mut self.events);
            let is_gone = face.is_none()
                && now.saturating_sub(person.last_seen) >= BLIND.max(self.options.keep_calibration);
            // A person who was lost with shut eyes is remembered until another
            // face is seen.
            if is_gone && (person.decision().state == State::Nobody || is_anybody_new) {
                person.release();
            }
        }
    }

    /// Updates the decision while there is no person at all.
    fn look_at_nobody(&mut self, now: Duration, reason: Option<Reason>) {
        if self.persons.iter().any(|person| person.track.is_some()) {
            self.next_report = now;
            return;
        }
        let (state, reason) = if reason.is_some() {
            (State::NoReading, reason)
        } else if self.empty.state == State::Nobody || now.saturating_sub(self.began) >= BLIND {
            (State::Nobody, None)
        } else {
            (State::Calibrating, None)
        };
        let is_new = (state, reason) != (self.empty.state, self.empty.reason);
        if is_new {
            self.empty = FatigueDecision {
                state,
                reason,
                since: Timestamp(now),
                ..FatigueDecision::default()
            };
        }
        self.empty.fps = self.pace.fps();
        if is_new || now >= self.next_report {
            self.next_report = now + Duration::from_secs(1);
            let what = What::State {
                decision: self.empty,
                change: is_new,
            };
            push(&mut self.events, now, what);
        }
    }
}

/// What a frame means for the single watched person.
enum Next<'f> {
    Same(Option<&'f FaceSample>),
    /// Another person.
    Start(&'f FaceSample),
    /// The same person under another number.
    Resume(&'f FaceSample),
}

fn rect(face: &FaceSample) -> [f32; 4] {
    face.eyes.rect.unwrap_or([0.0, 0.0, 1.0, 1.0])
}

fn area(face: &FaceSample) -> f32 {
    let [_, _, width, height] = rect(face);
    width * height
}

/// The common area as a part of the smaller of two boxes.
fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let along = |axis: usize| {
        let end = (a[axis] + a[axis + 2]).min(b[axis] + b[axis + 2]);
        (end - a[axis].max(b[axis])).max(0.0)
    };
    let smaller = (a[2] * a[3]).min(b[2] * b[3]);
    if smaller > 0.0 {
        along(0) * along(1) / smaller
    } else {
        0.0
    }
}
