//! Turns reports into levels; the module above describes the rules.

use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded_hal::digital::{OutputPin, PinState};

use super::bank::{Bank, RETRY_FIRST, RETRY_LONGEST};
use super::inputs::{Button, Input, Switch};
use super::levels::{Level, Levels};
use super::options::{InputOptions, LineOptions, Options};
use super::role::{Role, SafeLevel};
use crate::decide::Label;
use crate::fault::FaultLog;
use crate::frame::Timestamp;
use crate::output::{Camera, Changes, Output, Report};

/// The shortest time between two changes of a heartbeat line: it blinks once
/// per second while at least 2 frames per second are processed.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// A frame whose time is older by up to this does not set the clock back.
const LATE: Duration = Duration::from_secs(1);

/// Lines of a [`Bank`] that follow reports.
///
/// Allocates nothing after it is built, and makes a system call only for a
/// level that changes, and one per report to read a button.
#[derive(Debug)]
pub struct Lines<B: Bank> {
    bank: B,
    lines: Vec<Line<B::Pin>>,
    acknowledge: Option<Button<B::Input>>,
    baseline: Option<Button<B::Input>>,
    switch: Option<Switch<B::Input>>,
    levels: Arc<Levels>,
    min_pulse: Duration,
    safe_after: Duration,
    /// The state that the one-hot group shows, and since when.
    shown: Shown,
    shown_since: Timestamp,
    face_since: Option<Timestamp>,
    facing_since: Option<Timestamp>,
    beat: bool,
    beat_since: Option<Timestamp>,
    /// When the last frame came; `None` without a camera.
    last_frame: Option<Timestamp>,
    now: Timestamp,
    /// A pause is reported.
    is_paused: bool,
    finished: bool,
    edges: u64,
}

/// The state that the one-hot group shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Nothing yet, or safe levels.
    Nothing,
    Nobody,
    Face(Label),
}

#[derive(Debug)]
struct Line<P> {
    options: LineOptions,
    /// `None` while the line is not available.
    pin: Option<P>,
    on: bool,
    /// Since when the line follows its pattern.
    pattern_since: Option<Timestamp>,
    /// The level must be set even if it does not change.
    suspect: bool,
    fault: FaultLog,
    retry_at: Timestamp,
    retry_after: Duration,
}

impl<P> Line<P> {
    fn level(&self, on: bool) -> PinState {
        PinState::from(on != self.options.active_low)
    }

    /// Whether the line is on at this time of its pattern, if it follows one.
    fn is_on_in_pattern(&self, now: Timestamp, is_silent: bool) -> bool {
        match (&self.options.pattern, self.pattern_since) {
            (Some(_), _) if is_silent => false,
            (Some(pattern), Some(since)) => pattern.is_on(now.since(since)),
            _ => true,
        }
    }

    /// The line's level for those who look at it.
    fn known_level(&self) -> Level {
        match self.pin {
            Some(_) => Level::of(self.on),
            None => Level::Unknown,
        }
    }

    fn safe(&self) -> bool {
        self.options.safe == SafeLevel::On
    }
}

impl<B: Bank> Lines<B> {
    /// Requests each line of `options` from the bank, at its safe level.
    ///
    /// # Errors
    /// An error for each line that is not available; the others are released
    /// again.
    pub fn new(mut bank: B, options: &Options) -> Result<Self, Vec<B::Error>> {
        let mut lines = Vec::with_capacity(options.lines.len());
        let mut errors = Vec::new();
        let chip = &options.chip;
        for options in &options.lines {
            let mut line = Line {
                options: options.clone(),
                pin: None,
                on: options.safe == SafeLevel::On,
                pattern_since: None,
                suspect: false,
                fault: FaultLog::new(format!(
                    "GPIO chip '{chip}', {} for {}",
                    options.line, options.role
                )),
                retry_at: Timestamp::default(),
                retry_after: RETRY_FIRST,
            };
            match bank.request(options, line.level(line.on)) {
                Ok(pin) => {
                    line.pin = Some(pin);
                    lines.push(line);
                }
                Err(error) => errors.push(error),
            }
        }
        let mut input = |options: &Option<InputOptions>, purpose| {
            let input = Input::request(&mut bank, chip, options.as_ref()?, purpose);
            input.map_err(|error| errors.push(error)).ok()
        };
        let acknowledge = input(&options.acknowledge, "acknowledge").map(Button::new);
        let baseline = input(&options.baseline, "baseline").map(Button::new);
        let mut switch = input(&options.pause, "pause").map(Switch::new);
        // The position is needed before the first report, to decide whether the
        // camera is opened.
        if let Some(switch) = &mut switch {
            switch.begin(&mut bank);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            bank,
            lines,
            acknowledge,
            baseline,
            switch,
            levels: Arc::new(Levels::new(options)),
            min_pulse: options.min_pulse,
            safe_after: options.safe_after,
            shown: Shown::Nothing,
            shown_since: Timestamp::default(),
            face_since: None,
            facing_since: None,
            beat: false,
            beat_since: None,
            last_frame: None,
            now: Timestamp::default(),
            is_paused: false,
            finished: false,
            edges: 0,
        })
    }

    /// Whether the switch asks for a pause, as it was last read.
    #[must_use]
    pub fn asks_pause(&self) -> bool {
        self.switch.as_ref().is_some_and(Switch::is_on)
    }

    /// The levels of the lines, which others may look at while these change.
    #[must_use]
    pub fn levels(&self) -> Arc<Levels> {
        Arc::clone(&self.levels)
    }

    /// How often setting or requesting a line failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.lines.iter().map(|line| line.fault.total()).sum()
    }

    /// Lines that are not available now.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.lines.iter().filter(|line| line.pin.is_none()).count()
    }

    /// The time of a report on a clock that does not go back by small steps: a
    /// frame was taken before it arrived, perhaps also before the report that
    /// no frame came. If the clock goes back by more, all times count from now.
    fn follow_clock(&mut self, now: Timestamp) -> Timestamp {
        if now < self.now {
            if self.now.since(now) <= LATE {
                return self.now;
            }
            self.shown_since = now;
            self.face_since = self.face_since.map(|_| now);
            self.facing_since = self.facing_since.map(|_| now);
            self.beat_since = self.beat_since.map(|_| now);
            self.last_frame = self.last_frame.map(|_| now);
            for line in &mut self.lines {
                line.retry_at = now;
                line.pattern_since = line.pattern_since.map(|_| now);
            }
        }
        self.now = now;
        now
    }

    /// Sets every line to its safe level, and forgets the shown state.
    fn make_safe(&mut self) {
        self.shown = Shown::Nothing;
        self.face_since = None;
        self.facing_since = None;
        self.beat = false;
        self.beat_since = None;
        for line in &mut self.lines {
            line.pattern_since = None;
        }
        let is_paused = self.is_paused && !self.finished;
        self.drive(|line| line.safe() || (is_paused && line.options.role == Role::Paused));
    }

    /// Sets each line to the level that `wanted` gives; lines that go off come
    /// first.
    fn drive(&mut self, wanted: impl Fn(&Line<B::Pin>) -> bool) {
        let mut lost = false;
        for pass in [false, true] {
            for (index, line) in self.lines.iter_mut().enumerate() {
                let on = wanted(line);
                if on == pass {
                    match set(&mut self.bank, line, on, self.now) {
                        Set::Changed => self.edges += 1,
                        Set::Lost => lost = true,
                        Set::Unchanged | Set::Missing => {}
                    }
                    self.levels.note(index, line.known_level());
                }
            }
        }
        if lost {
            // Perhaps the whole chip is gone, and its other lines were just not
            // used yet.
            for line in &mut self.lines {
                line.suspect = true;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// The line already had its level.
    Unchanged,
    /// The line was set to its level.
    Changed,
    /// The line failed just now.
    Lost,
    /// The line failed before, and is not available yet.
    Missing,
}

/// Sets a line to a level; requests it again first if it failed before.
fn set<B: Bank>(bank: &mut B, line: &mut Line<B::Pin>, on: bool, now: Timestamp) -> Set {
    let level = line.level(on);
    let needless = line.on == on && !line.suspect;
    line.on = on;
    let (result, error) = match &mut line.pin {
        Some(_) if needless => return Set::Unchanged,
        Some(pin) => match pin.set_state(level) {
            Ok(()) => {
                line.suspect = false;
                return Set::Changed;
            }
            Err(error) => (Set::Lost, error.to_string()),
        },
        None if now < line.retry_at => return Set::Missing,
        None => match bank.request(&line.options, level) {
            Ok(pin) => {
                line.fault.cleared();
                line.pin = Some(pin);
                line.suspect = false;
                line.retry_after = RETRY_FIRST;
                return Set::Changed;
            }
            Err(error) => (Set::Missing, error.to_string()),
        },
    };
    // The line is released, so that it can be requested again.
    line.pin = None;
    line.fault.occurred(&error);
    line.retry_at = Timestamp(now.0.saturating_add(line.retry_after));
    line.retry_after = (line.retry_after * 2).min(RETRY_LONGEST);
    result
}

impl<B: Bank> Lines<B> {
    /// Whether the button was pressed since it was last read.
    fn is_acknowledge_pressed(&mut self) -> bool {
        let Some(button) = self.acknowledge.as_mut().filter(|_| !self.finished) else {
            return false;
        };
        let is_pressed = button.is_pressed_now(&mut self.bank, self.now);
        self.levels.note_input("acknowledge", button.level());
        is_pressed
    }

    /// Whether the button was pressed since it was last read.
    fn is_baseline_pressed(&mut self) -> bool {
        let Some(button) = self.baseline.as_mut().filter(|_| !self.finished) else {
            return false;
        };
        let is_pressed = button.is_pressed_now(&mut self.bank, self.now);
        self.levels.note_input("baseline", button.level());
        is_pressed
    }

    /// Whether the switch asks for a pause.
    fn read_switch(&mut self) -> bool {
        let Some(switch) = self.switch.as_mut().filter(|_| !self.finished) else {
            return false;
        };
        let is_on = switch.read(&mut self.bank, self.now, Instant::now());
        self.levels.note_input("pause", switch.level());
        is_on
    }

    fn show(&mut self, report: &Report<'_>) {
        if self.finished {
            return;
        }
        let now = self.follow_clock(report.timestamp);
        if report.camera != Camera::Streaming || report.shutdown.is_some() {
            self.last_frame = None;
            self.is_paused = matches!(report.camera, Camera::Paused { .. });
            return self.make_safe();
        }
        self.is_paused = false;
        let last_frame = *self.last_frame.get_or_insert(now);
        if report.is_new {
            self.last_frame = Some(now);
        } else if now.since(last_frame) >= self.safe_after {
            return self.make_safe();
        }

        let leading = report.leading().map_or(Shown::Nobody, |face| {
            Shown::Face(face.decision.expression.label)
        });
        let lit = |shown| matches!(shown, Shown::Face(_));
        let min_pulse = self.min_pulse;
        let pulse_over = |since| now.since(since) >= min_pulse;

        if self.shown != leading && (!lit(self.shown) || pulse_over(self.shown_since)) {
            self.shown = leading;
            self.shown_since = now;
        }
        let faces_here = report
            .faces
            .iter()
            .any(|face| face.decision.facing.is_some_and(|facing| facing.is_facing));
        for (since, is_on) in [
            (&mut self.face_since, lit(leading)),
            (&mut self.facing_since, faces_here),
        ] {
            if is_on {
                since.get_or_insert(now);
            } else if since.is_some_and(pulse_over) {
                *since = None;
            }
        }
        if report.is_new
            && self
                .beat_since
                .is_none_or(|since| now.since(since) >= HEARTBEAT)
        {
            self.beat = !self.beat;
            self.beat_since = Some(now);
        }

        let (shown, beat) = (self.shown, self.beat);
        let (face, facing) = (self.face_since.is_some(), self.facing_since.is_some());
        let fatigue = report.fatigue.map(|fatigue| fatigue.decision.state);
        for line in &mut self.lines {
            if let Role::Fatigue(role) = line.options.role
                && fatigue.is_some_and(|state| role.is_on(state))
            {
                line.pattern_since.get_or_insert(now);
            } else {
                line.pattern_since = None;
            }
        }
        let is_silent = report
            .fatigue
            .is_some_and(|fatigue| fatigue.is_acknowledged);
        self.drive(|line| match line.options.role {
            Role::Expression(expression) => shown == Shown::Face(Label::Expression(expression)),
            Role::Uncertain => shown == Shown::Face(Label::Uncertain),
            Role::Face => face,
            Role::Facing => facing,
            Role::Heartbeat => beat,
            Role::Paused => false,
            Role::Fatigue(role) => {
                fatigue.is_some_and(|state| role.is_on(state))
                    && line.is_on_in_pattern(now, is_silent)
            }
        });
    }
}

impl<B: Bank> Output for Lines<B> {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        let before = self.edges;
        self.show(report);
        Changes {
            edges: self.edges - before,
            is_acknowledged: self.is_acknowledge_pressed(),
            asks_pause: self.read_switch(),
            asks_baseline: self.is_baseline_pressed(),
        }
    }

    /// Sets safe levels and releases the lines. Makes one system call per line.
    fn finish(&mut self) {
        if !self.finished {
            self.is_paused = false;
            self.make_safe();
            self.finished = true;
            self.acknowledge = None;
            self.baseline = None;
            self.switch = None;
            for (index, line) in self.lines.iter_mut().enumerate() {
                line.pin = None;
                self.levels.note(index, Level::Unknown);
            }
        }
    }
}

/// Lines that go out of scope get their safe levels, also in a panic that
/// unwinds. In a release a panic ends the process, and the kernel releases the
/// lines.
impl<B: Bank> Drop for Lines<B> {
    fn drop(&mut self) {
        self.finish();
    }
}
