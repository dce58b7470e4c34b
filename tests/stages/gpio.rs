//! The physical levels of GPIO lines, recorded through embedded-hal's traits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::reports::face;
use affectd::decide::fatigue::{FatigueDecision, State};
use affectd::decide::{Facing, Label};
use affectd::frame::Timestamp;
use affectd::observe::expression::Expression;
use affectd::output::gpio::{
    Bank, FatigueRole, InputOptions, LineId, LineOptions, Lines, Options, Pattern, Role, SafeLevel,
};
use affectd::output::{Camera, Changes, FatigueReport, Output, PausedBy, Report};
use embedded_hal::digital::{ErrorKind, ErrorType, InputPin, OutputPin, PinState};

/// The physical side: levels by line, a log of what happened, and the lines
/// that must fail.
#[derive(Default)]
struct Wires {
    levels: BTreeMap<String, bool>,
    log: Vec<String>,
    failing: Vec<String>,
    refusing: Vec<String>,
}

#[derive(Clone, Default)]
struct Board(Rc<RefCell<Wires>>);

struct Pin {
    line: String,
    wires: Rc<RefCell<Wires>>,
}

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl embedded_hal::digital::Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for Pin {
    type Error = Broken;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Broken> {
        self.set_state(PinState::Low)
    }

    fn set_high(&mut self) -> Result<(), Broken> {
        self.set_state(PinState::High)
    }

    fn set_state(&mut self, state: PinState) -> Result<(), Broken> {
        let mut wires = self.wires.borrow_mut();
        if wires.failing.contains(&self.line) {
            wires.log.push(format!("{} fails", self.line));
            return Err(Broken);
        }
        let high = state == PinState::High;
        wires.levels.insert(self.line.clone(), high);
        wires.log.push(format!("{}={}", self.line, u8::from(high)));
        Ok(())
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let entry = format!("{} released", self.line);
        self.wires.borrow_mut().log.push(entry);
    }
}

impl InputPin for Pin {
    fn is_high(&mut self) -> Result<bool, Broken> {
        let wires = self.wires.borrow();
        if wires.failing.contains(&self.line) {
            return Err(Broken);
        }
        Ok(wires.levels.get(&self.line).copied().unwrap_or(false))
    }

    fn is_low(&mut self) -> Result<bool, Broken> {
        Ok(!self.is_high()?)
    }
}

impl Bank for Board {
    type Pin = Pin;
    type Input = Pin;
    type Error = String;

    fn request(&mut self, line: &LineOptions, level: PinState) -> Result<Pin, String> {
        let LineId::Name(name) = &line.line else {
            return Err("the tests use names".to_owned());
        };
        let mut wires = self.0.borrow_mut();
        if wires.refusing.contains(name) {
            wires.log.push(format!("{name} refused"));
            return Err(format!("{name} is taken"));
        }
        let high = level == PinState::High;
        wires.levels.insert(name.clone(), high);
        wires
            .log
            .push(format!("{name} requested={}", u8::from(high)));
        Ok(Pin {
            line: name.clone(),
            wires: Rc::clone(&self.0),
        })
    }

    fn request_input(&mut self, line: &LineId, _: &str) -> Result<Pin, String> {
        let LineId::Name(name) = line else {
            return Err("the tests use names".to_owned());
        };
        if self.0.borrow().refusing.contains(name) {
            return Err(format!("{name} is taken"));
        }
        Ok(Pin {
            line: name.clone(),
            wires: Rc::clone(&self.0),
        })
    }
}

impl Board {
    /// Presses or releases a button.
    fn press(&self, line: &str, high: bool) {
        self.0.borrow_mut().levels.insert(line.to_owned(), high);
    }

    /// The lines that are high, by name.
    fn high(&self) -> Vec<String> {
        let wires = self.0.borrow();
        let high = wires.levels.iter().filter(|(_, high)| **high);
        high.map(|(name, _)| name.clone()).collect()
    }

    fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().log)
    }
}

/// Every role except those of fatigue, which have tests of their own.
fn roles() -> impl Iterator<Item = Role> {
    Role::all().filter(|role| !matches!(role, Role::Fatigue(_)))
}

/// A line for each role, named after it.
fn options() -> Options {
    Options {
        chip: "pinctrl-test".to_owned(),
        lines: roles()
            .map(|role| LineOptions::new(role, LineId::Name(role.to_string())))
            .collect(),
        min_pulse: Duration::ZERO,
        safe_after: Duration::from_millis(500),
        ..Options::default()
    }
}

fn without_heartbeat() -> Options {
    let mut options = options();
    options.lines.retain(|line| line.role != Role::Heartbeat);
    options
}

const HAPPY: Option<Label> = Some(Label::Expression(Expression::Happy));
const SAD: Option<Label> = Some(Label::Expression(Expression::Sad));
const FEAR: Option<Label> = Some(Label::Expression(Expression::Fear));

/// Lines, and the number of the next frame.
struct Rig {
    board: Board,
    lines: Lines<Board>,
    frame: u64,
    is_new: bool,
}

impl Rig {
    fn new(options: &Options) -> Self {
        let board = Board::default();
        let lines = Lines::new(board.clone(), options).unwrap();
        Self {
            board,
            lines,
            frame: 0,
            is_new: false,
        }
    }

    fn report(&mut self, millis: u64, camera: Camera<'_>, labels: &[Option<Label>]) -> Vec<String> {
        let faces: Vec<_> = (1..)
            .zip(labels.iter().flatten())
            .map(|(id, label)| face(id, *label, 0.9))
            .collect();
        self.lines.update(&Report {
            timestamp: Timestamp::from_millis(millis),
            frame: self.frame,
            is_new: std::mem::take(&mut self.is_new),
            camera,
            faces: &faces,
            ..Report::default()
        });
        self.board.high()
    }

    /// Reports a new frame; returns the lines that are high after it.
    fn frame(&mut self, millis: u64, label: Option<Label>) -> Vec<String> {
        self.frame += 1;
        self.is_new = true;
        self.report(millis, Camera::Streaming, &[label])
    }

    /// Reports a wait without a frame.
    fn wait(&mut self, millis: u64, label: Option<Label>) -> Vec<String> {
        self.report(millis, Camera::Streaming, &[label])
    }
}

const NONE: [&str; 0] = [];

#[test]
fn each_state_has_its_line() {
    let mut rig = Rig::new(&without_heartbeat());
    assert_eq!(rig.board.high(), NONE);
    let mut millis = 0;
    for expression in Expression::ALL {
        millis += 40;
        let mut expected = vec!["face".to_owned(), expression.to_string()];
        expected.sort();
        let label = Some(Label::Expression(expression));
        assert_eq!(rig.frame(millis, label), expected);
    }
    assert_eq!(
        rig.frame(400, Some(Label::Uncertain)),
        ["face", "uncertain"]
    );
    assert_eq!(rig.frame(440, None), NONE);
}

#[test]
fn one_line_goes_off_before_another_goes_on_and_only_changes_are_written() {
    let mut rig = Rig::new(&without_heartbeat());
    rig.frame(0, SAD);
    rig.board.take_log();
    // Happy is before sad in the list of lines, but its level still changes
    // after sad's.
    rig.frame(40, HAPPY);
    assert_eq!(rig.board.take_log(), ["sad=0", "happy=1"]);
    for millis in (80..400).step_by(40) {
        rig.frame(millis, HAPPY);
    }
    assert_eq!(rig.board.take_log(), NONE);
}

#[test]
fn the_leading_face_is_shown() {
    let mut rig = Rig::new(&without_heartbeat());
    rig.is_new = true;
    let high = rig.report(0, Camera::Streaming, &[HAPPY, SAD]);
    assert_eq!(high, ["face", "happy"]);
}

#[test]
fn a_pulse_has_its_shortest_length() {
    let mut options = without_heartbeat();
    options.min_pulse = Duration::from_millis(100);
    let mut rig = Rig::new(&options);
    assert_eq!(rig.frame(1000, HAPPY), ["face", "happy"]);
    // Only one line is on: sad waits for the end of happy's pulse …
    assert_eq!(rig.frame(1040, SAD), ["face", "happy"]);
    assert_eq!(rig.frame(1099, SAD), ["face", "happy"]);
    assert_eq!(rig.frame(1100, SAD), ["face", "sad"]);
    // … and fear, which has ended by then, is never shown.
    assert_eq!(rig.frame(1140, FEAR), ["face", "sad"]);
    assert_eq!(rig.frame(1180, None), ["sad"]);
    assert_eq!(rig.frame(1200, None), NONE);
    // There is no shortest time for off.
    assert_eq!(rig.frame(1201, SAD), ["face", "sad"]);
}

#[test]
fn a_pulse_ends_during_a_wait_too() {
    let mut options = without_heartbeat();
    options.min_pulse = Duration::from_millis(100);
    let mut rig = Rig::new(&options);
    rig.frame(0, HAPPY);
    rig.frame(40, None);
    assert_eq!(rig.wait(99, None), ["face", "happy"]);
    assert_eq!(rig.wait(100, None), NONE);
}

#[test]
fn heartbeat_follows_processed_frames() {
    let mut options = options();
    options.lines.retain(|line| line.role == Role::Heartbeat);
    options.safe_after = Duration::from_secs(3600);
    let mut rig = Rig::new(&options);
    let mut changes = Vec::new();
    let mut before = rig.board.high();
    for millis in (0..3000).step_by(40) {
        let after = rig.frame(millis, None);
        if after != before {
            changes.push(millis);
        }
        before = after;
    }
    assert_eq!(changes, [0, 520, 1040, 1560, 2080, 2600]);
    // It does not change when no frames come.
    for millis in (3000..9000).step_by(100) {
        assert_eq!(rig.wait(millis, None), before);
    }
}

/// Two lines that are safe when on, one of them active-low.
fn with_safe_lines() -> Options {
    let mut options = without_heartbeat();
    for line in &mut options.lines {
        match line.role {
            Role::Uncertain => line.safe = SafeLevel::On,
            Role::Expression(Expression::Angry) => {
                line.safe = SafeLevel::On;
                line.active_low = true;
            }
            _ => {}
        }
    }
    options
}

#[test]
fn lines_are_safe_from_the_first_moment() {
    let rig = Rig::new(&with_safe_lines());
    // Requested with the right level at once: no glitch before the first set.
    let mut expected: Vec<_> = roles()
        .filter(|role| *role != Role::Heartbeat)
        .map(|role| format!("{role} requested={}", u8::from(role == Role::Uncertain)))
        .collect();
    expected.sort();
    let mut log = rig.board.take_log();
    log.sort();
    assert_eq!(log, expected);
}

#[test]
fn lines_are_safe_at_the_end() {
    let mut rig = Rig::new(&with_safe_lines());
    assert_eq!(rig.frame(0, HAPPY), ["angry", "face", "happy"]);
    rig.lines.finish();
    assert_eq!(rig.board.high(), ["uncertain"]);
    let log = rig.board.take_log();
    let released = log.iter().filter(|entry| entry.ends_with("released"));
    // All roles but heartbeat.
    assert_eq!(released.count(), roles().count() - 1);
    // Nothing changes a line after the end, neither a report nor dropping the
    // lines.
    rig.frame(40, HAPPY);
    drop(rig.lines);
    assert_eq!(rig.board.take_log(), NONE);
}

#[test]
fn lines_are_safe_after_a_panic() {
    let mut rig = Rig::new(&with_safe_lines());
    rig.frame(0, HAPPY);
    // Unwinding after a panic drops the lines, too.
    drop(rig.lines);
    assert_eq!(rig.board.high(), ["uncertain"]);
}

#[test]
fn lines_are_safe_while_there_is_no_camera() {
    let mut options = with_safe_lines();
    // Longer than the wait: the safe level does not wait for a pulse.
    options.min_pulse = Duration::from_secs(10);
    let mut rig = Rig::new(&options);
    let safe = ["uncertain"];
    assert_eq!(rig.report(0, Camera::Starting, &[]), safe);
    assert_eq!(rig.frame(40, HAPPY), ["angry", "face", "happy"]);
    let lost = Camera::Lost {
        reason: "unplugged",
    };
    assert_eq!(rig.report(80, lost, &[HAPPY]), safe);
    assert_eq!(rig.report(5000, lost, &[HAPPY]), safe);
    assert_eq!(rig.frame(5040, SAD), ["angry", "face", "sad"]);
}

#[test]
fn lines_are_safe_when_frames_stop() {
    let mut rig = Rig::new(&with_safe_lines());
    let happy = ["angry", "face", "happy"];
    assert_eq!(rig.frame(1000, HAPPY), happy);
    assert_eq!(rig.wait(1499, HAPPY), happy);
    assert_eq!(rig.wait(1500, HAPPY), ["uncertain"]);
    assert_eq!(rig.wait(9000, HAPPY), ["uncertain"]);
    // Slow frames, with longer intervals than that, do not count as stopped.
    assert_eq!(rig.frame(10_000, HAPPY), happy);
    assert_eq!(rig.frame(11_000, HAPPY), happy);
}

#[test]
fn active_low_is_on_when_low() {
    let mut options = without_heartbeat();
    for line in &mut options.lines {
        line.active_low = true;
    }
    let mut rig = Rig::new(&options);
    let all: Vec<_> = {
        let mut names: Vec<_> = options.lines.iter().map(|l| l.role.to_string()).collect();
        names.sort();
        names
    };
    let all_but = |off: &[&str]| -> Vec<String> {
        let kept = all.iter().filter(|name| !off.contains(&name.as_str()));
        kept.cloned().collect()
    };
    assert_eq!(rig.board.high(), all);
    assert_eq!(rig.frame(0, HAPPY), all_but(&["face", "happy"]));
    assert_eq!(rig.frame(40, None), all);
    rig.frame(80, SAD);
    rig.lines.finish();
    assert_eq!(rig.board.high(), all);
}

#[test]
fn a_line_that_fails_stops_no_other_and_is_asked_for_again() {
    let mut rig = Rig::new(&without_heartbeat());
    rig.frame(0, SAD);
    rig.board.0.borrow_mut().failing.push("happy".to_owned());
    rig.board.0.borrow_mut().refusing.push("happy".to_owned());
    rig.board.take_log();

    assert_eq!(rig.frame(40, HAPPY), ["face"]);
    assert_eq!(
        rig.board.take_log(),
        ["sad=0", "happy fails", "happy released"]
    );
    assert_eq!(rig.lines.failing(), 1);
    // The others are set again, in case the whole chip was gone.
    rig.frame(80, HAPPY);
    assert_eq!(rig.board.take_log().len(), roles().count() - 2);

    // At growing intervals: 100 ms, 200 ms, 400 ms, ….
    let mut attempts = Vec::new();
    for millis in (100..4000).step_by(20) {
        rig.frame(millis, HAPPY);
        if !rig.board.take_log().is_empty() {
            attempts.push(millis);
        }
    }
    assert_eq!(attempts, [140, 340, 740, 1540, 3140]);
    assert_eq!(rig.frame(4000, SAD), ["face", "sad"]);
    assert_eq!(rig.frame(4040, HAPPY), ["face"]);

    rig.board.0.borrow_mut().failing.clear();
    rig.board.0.borrow_mut().refusing.clear();
    // When the line is back, it gets its present level at once.
    rig.board.take_log();
    assert_eq!(rig.frame(7000, HAPPY), ["face", "happy"]);
    assert_eq!(rig.board.take_log(), ["happy requested=1"]);
    assert_eq!((rig.lines.failing(), rig.lines.failures()), (0, 6));
    assert_eq!(rig.frame(7040, SAD), ["face", "sad"]);
}

#[test]
fn a_vanished_chip_is_noticed_on_lines_that_do_not_change() {
    let mut rig = Rig::new(&with_safe_lines());
    rig.frame(0, HAPPY);
    // All lines fail, and two are set by this change.
    let names: Vec<_> = roles().map(|role| role.to_string()).collect();
    rig.board.0.borrow_mut().failing = names;
    rig.frame(40, SAD);
    rig.frame(80, SAD);
    assert_eq!(rig.lines.failing(), roles().count() - 1);
    // The chip is back, with all its lines low.
    {
        let mut wires = rig.board.0.borrow_mut();
        wires.failing.clear();
        wires.levels.values_mut().for_each(|high| *high = false);
    }
    assert_eq!(rig.frame(200, SAD), ["angry", "face", "sad"]);
}

#[test]
fn unavailable_lines_are_all_named_and_the_others_are_released() {
    let board = Board::default();
    board.0.borrow_mut().refusing = vec!["happy".to_owned(), "face".to_owned()];
    let errors = Lines::new(board.clone(), &options()).err().unwrap();
    assert_eq!(errors, ["happy is taken", "face is taken"]);
    let log = board.take_log();
    let count = |end: &str| log.iter().filter(|entry| entry.ends_with(end)).count();
    // All lines except these two.
    let taken = roles().count() - 2;
    assert_eq!((count("requested=0"), count("released")), (taken, taken));
}

/// Between two frames of a slow camera the loop reports a wait, whose time is
/// later than that of the next frame.
#[test]
fn a_pulse_ends_though_frames_come_late() {
    let mut options = without_heartbeat();
    options.min_pulse = Duration::from_millis(100);
    let mut rig = Rig::new(&options);
    rig.frame(0, HAPPY);
    // 15 frames per second, each of which comes 30 ms after it was taken.
    for taken in [67, 133, 200] {
        rig.wait(taken + 14, SAD);
        rig.frame(taken, SAD);
    }
    assert_eq!(rig.board.high(), ["face", "sad"]);
}

#[test]
fn a_recording_that_starts_again_does_not_hold_a_line() {
    let mut options = without_heartbeat();
    options.min_pulse = Duration::from_millis(100);
    let mut rig = Rig::new(&options);
    rig.frame(1_000_000, HAPPY);
    // The clock goes back; the pulse counts from here.
    assert_eq!(rig.frame(0, SAD), ["face", "happy"]);
    assert_eq!(rig.frame(100, SAD), ["face", "sad"]);
    // The time without frames counts from here, too.
    assert_eq!(rig.wait(599, SAD), ["face", "sad"]);
    assert_eq!(rig.wait(600, SAD), NONE);
}

#[test]
fn names_are_read_as_they_are_written() {
    for role in Role::all() {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    let error = "hapy".parse::<Role>().unwrap_err().to_string();
    assert!(error.contains("did you mean 'happy'"), "{error}");
    let error = "qqq".parse::<Role>().unwrap_err().to_string();
    assert!(!error.contains("did you mean"), "{error}");
    assert_eq!("17".parse(), Ok(LineId::Offset(17)));
    assert_eq!("GPIO17".parse(), Ok(LineId::Name("GPIO17".to_owned())));
    assert_eq!("on".parse(), Ok(SafeLevel::On));
    assert!("high".parse::<SafeLevel>().is_err());
}

#[test]
fn a_line_is_on_while_a_face_points_to_the_camera() {
    let mut options = without_heartbeat();
    options.min_pulse = Duration::from_millis(100);
    let mut rig = Rig::new(&options);
    let mut high = |millis: u64, facing: [bool; 2]| {
        let faces = [(1, facing[0]), (2, facing[1])].map(|(id, is_facing)| {
            let mut face = face(id, Label::Uncertain, 0.4);
            face.decision.facing = Some(Facing {
                is_facing,
                since: Timestamp::default(),
            });
            face
        });
        rig.lines.update(&Report {
            timestamp: Timestamp::from_millis(millis),
            is_new: true,
            camera: Camera::Streaming,
            faces: &faces,
            ..Report::default()
        });
        rig.board.high().iter().any(|line| line == "facing")
    };
    assert!(!high(1000, [false, false]));
    // Any face that counts, not only the leading one.
    assert!(high(1040, [false, true]));
    // For at least a pulse.
    assert!(high(1080, [false, false]));
    assert!(!high(1200, [false, false]));
}

/// Lines for all states of fatigue.
fn fatigue_lines() -> (Board, Lines<Board>) {
    let roles = FatigueRole::ALL.map(Role::Fatigue);
    let options = Options {
        lines: roles
            .map(|role| LineOptions::new(role, LineId::Name(role.to_string())))
            .into(),
        min_pulse: Duration::from_secs(5),
        ..options()
    };
    let board = Board::default();
    let lines = Lines::new(board.clone(), &options).unwrap();
    (board, lines)
}

fn show_state(lines: &mut Lines<Board>, millis: u64, state: State, is_new: bool) {
    let decision = FatigueDecision {
        state,
        ..FatigueDecision::default()
    };
    lines.update(&Report {
        timestamp: Timestamp::from_millis(millis),
        is_new,
        camera: Camera::Streaming,
        fatigue: Some(FatigueReport {
            decision: &decision,
            events: &[],
            samples: &[],
            is_acknowledged: false,
            took_acknowledgement: false,
            is_new,
        }),
        ..Report::default()
    });
}

#[test]
fn each_state_of_fatigue_has_its_lines_and_those_of_milder_ones() {
    let (board, mut lines) = fatigue_lines();
    // At the start there is no reading.
    assert_eq!(board.high(), ["no_reading"]);
    for (second, state, expected) in [
        (1, State::Calibrating, vec![]),
        (2, State::Ok, vec!["fatigue_ok"]),
        (3, State::Drowsy, vec!["drowsy"]),
        (4, State::Microsleep, vec!["drowsy", "microsleep"]),
        (5, State::Asleep, vec!["asleep", "drowsy", "microsleep"]),
        (
            6,
            State::Unresponsive,
            vec!["asleep", "drowsy", "microsleep", "unresponsive"],
        ),
        (7, State::Nobody, vec!["nobody"]),
        (8, State::NoReading, vec!["no_reading"]),
    ] {
        // The minimum pulse of 5 s does not apply to them.
        show_state(&mut lines, second * 1000, state, true);
        assert_eq!(board.high(), expected, "{state}");
    }
}

#[test]
fn fatigue_ok_is_off_without_frames() {
    let (board, mut lines) = fatigue_lines();
    show_state(&mut lines, 1000, State::Ok, true);
    show_state(&mut lines, 1400, State::Ok, false);
    assert_eq!(board.high(), ["fatigue_ok"]);
    show_state(&mut lines, 1500, State::Ok, false);
    assert_eq!(board.high(), ["no_reading"]);
    show_state(&mut lines, 1600, State::Ok, true);
    assert_eq!(board.high(), ["fatigue_ok"]);
    lines.update(&Report {
        timestamp: Timestamp::from_millis(1700),
        camera: Camera::Lost { reason: "gone" },
        ..Report::default()
    });
    assert_eq!(board.high(), ["no_reading"]);
    lines.finish();
    assert_eq!(board.high(), ["no_reading"]);
}

#[test]
fn a_line_follows_its_pattern_while_its_state_holds() {
    let millis = Duration::from_millis;
    let pattern = Pattern::new(
        vec![
            vec![millis(200), millis(300)],
            vec![millis(100), millis(100)],
        ],
        Some(millis(2000)),
    );
    let role = Role::Fatigue(FatigueRole::Asleep);
    let options = Options {
        lines: vec![LineOptions {
            pattern: Some(pattern.unwrap()),
            ..LineOptions::new(role, LineId::Name("buzzer".to_owned()))
        }],
        ..options()
    };
    let board = Board::default();
    let mut lines = Lines::new(board.clone(), &options).unwrap();
    show_state(&mut lines, 0, State::Ok, true);
    let mut course = String::new();
    for step in 0..80 {
        let state = if step < 60 { State::Asleep } else { State::Ok };
        show_state(&mut lines, 1000 + 50 * step, state, true);
        course.push(if board.high().is_empty() { '.' } else { '#' });
    }
    let slow = "####......".repeat(4);
    let fast = "##..".repeat(5);
    assert_eq!(course, format!("{slow}{fast}{}", ".".repeat(20)));
}

#[test]
fn a_button_is_reported_once_per_press() {
    let button = Some(InputOptions {
        line: LineId::Name("button".to_owned()),
        active_low: true,
    });
    let options = Options {
        lines: vec![],
        ..options()
    };
    let acknowledge = Options {
        acknowledge: button.clone(),
        ..options.clone()
    };
    reports_once_per_press(&acknowledge, |changes| changes.is_acknowledged);
    let baseline = Options {
        baseline: button,
        ..options
    };
    reports_once_per_press(&baseline, |changes| changes.asks_baseline);
}

fn reports_once_per_press(options: &Options, is_reported: fn(Changes) -> bool) {
    let board = Board::default();
    // Held from the start.
    board.press("button", false);
    let mut lines = Lines::new(board.clone(), options).unwrap();
    let mut millis = 0;
    let mut pressed = |levels: &[bool]| {
        let told = levels.iter().map(|level| {
            board.press("button", *level);
            millis += 50;
            let changes = lines.update(&Report {
                timestamp: Timestamp::from_millis(millis),
                is_new: true,
                camera: Camera::Streaming,
                ..Report::default()
            });
            is_reported(changes)
        });
        told.filter(|told| *told).count()
    };
    assert_eq!(pressed(&[false, false]), 0);
    assert_eq!(pressed(&[true, true, false, false, false]), 1);
    assert_eq!(pressed(&[true, false, true]), 1);
    // It cannot be read for a while, and is pressed meanwhile.
    board.0.borrow_mut().failing.push("button".to_owned());
    assert_eq!(pressed(&[true, false]), 0);
    board.0.borrow_mut().failing.clear();
    assert_eq!(pressed(&[false; 20]), 0);
    assert_eq!(pressed(&[true, false]), 1);
    board.0.borrow_mut().refusing.push("button".to_owned());
    assert_eq!(
        Lines::new(board.clone(), options).err().unwrap(),
        ["button is taken"]
    );
}

#[test]
fn an_acknowledged_alarm_silences_patterns_only() {
    let pattern = Pattern::new(vec![vec![Duration::from_secs(9); 2]], None).unwrap();
    let line = |role: FatigueRole| {
        let role = Role::Fatigue(role);
        LineOptions::new(role, LineId::Name(role.to_string()))
    };
    let buzzer = LineOptions {
        pattern: Some(pattern),
        ..line(FatigueRole::Asleep)
    };
    let options = Options {
        lines: vec![buzzer, line(FatigueRole::Drowsy)],
        ..options()
    };
    let board = Board::default();
    let mut lines = Lines::new(board.clone(), &options).unwrap();
    let decision = FatigueDecision {
        state: State::Asleep,
        ..FatigueDecision::default()
    };
    let mut high = |is_acknowledged: bool| {
        lines.update(&Report {
            is_new: true,
            camera: Camera::Streaming,
            fatigue: Some(FatigueReport {
                decision: &decision,
                events: &[],
                samples: &[],
                is_acknowledged,
                took_acknowledgement: false,
                is_new: true,
            }),
            ..Report::default()
        });
        board.high()
    };
    assert_eq!(high(false), ["asleep", "drowsy"]);
    assert_eq!(high(true), ["drowsy"]);
}

#[test]
fn a_switch_counts_once_it_has_settled_and_a_broken_line_moves_nothing() {
    let options = Options {
        lines: vec![],
        pause: Some(InputOptions {
            line: LineId::Name("switch".to_owned()),
            active_low: true,
        }),
        ..options()
    };
    let settled = Duration::from_millis(60);
    let board = Board::default();
    board.press("switch", true);
    let mut lines = Lines::new(board.clone(), &options).unwrap();
    assert!(!lines.asks_pause());
    // The reports' time may stand still.
    let mut asks = |level: bool, wait: Duration| {
        board.press("switch", level);
        std::thread::sleep(wait);
        let report = Report {
            timestamp: Timestamp::from_millis(20_000),
            ..Report::default()
        };
        lines.update(&report).asks_pause
    };
    // It bounces.
    assert!(!asks(false, Duration::ZERO));
    assert!(!asks(true, Duration::ZERO));
    assert!(!asks(false, settled));
    assert!(asks(false, settled));
    // It cannot be read: its last position holds.
    board.0.borrow_mut().failing.push("switch".to_owned());
    assert!(asks(true, settled));
    assert!(asks(true, settled));
    board.0.borrow_mut().failing.clear();
    drop(lines);

    // On from the start: this is known before a camera is opened.
    board.press("switch", false);
    let mut lines = Lines::new(board.clone(), &options).unwrap();
    assert!(lines.asks_pause());
    lines.finish();
    board.0.borrow_mut().refusing.push("switch".to_owned());
    assert_eq!(
        Lines::new(board.clone(), &options).err().unwrap(),
        ["switch is taken"]
    );
}

#[test]
fn the_line_for_pauses_is_on_during_one_alone() {
    let by = PausedBy {
        control: false,
        gpio: true,
    };
    let mut rig = Rig::new(&with_safe_lines());
    let before = rig.frame(0, Some(Label::Expression(Expression::Happy)));
    assert!(before.contains(&"happy".to_owned()), "{before:?}");
    assert!(!before.contains(&"paused".to_owned()), "{before:?}");
    // The active-low line is safe when it is low.
    assert_eq!(
        rig.report(40, Camera::Paused { by }, &[]),
        ["paused", "uncertain"]
    );
    assert_eq!(rig.report(80, Camera::Starting, &[]), ["uncertain"]);
    rig.report(120, Camera::Paused { by }, &[]);
    rig.lines.finish();
    assert_eq!(rig.board.high(), ["uncertain"]);
}
