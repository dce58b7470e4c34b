//! `affectd test-outputs`: tests without a face whether each wire of a board
//! does what the board file says.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use embedded_hal::digital::{InputPin as _, OutputPin as _, PinState};

use super::result::CommandResult;
use crate::board::{Board, BoardSource};
use crate::control::client;
use crate::decide::{ExpressionDecision, FaceDecision, Label};
use crate::frame::{Rect, Timestamp};
use crate::observe::Observations;
use crate::observe::expression::{Expression, Probabilities};
use crate::output::gpio::{Bank, Cdev, InputOptions, LineId, LineOptions, SafeLevel};
use crate::output::{Camera, FaceReport, PausedBy, Report, display};
use crate::track::Slot;

/// Test the wiring: each GPIO line on for half a second, the inputs, the displays
///
/// Switches the lines on one after the other and prints the name and the line
/// of each. Then it shows every picture on each display, and then the inputs
/// while you press them. Needs no camera. It refuses while the daemon runs, and
/// leaves the lines at their safe level.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  sudo systemctl stop affectd
  affectd test-outputs
  affectd test-outputs --board robot.toml --inputs 60")]
pub struct Args {
    /// This board file alone, in place of the system's
    #[arg(long, value_name = "FILE")]
    board: Option<PathBuf>,

    /// How many seconds the inputs are shown; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    inputs: u64,
}

/// How long each line is on, and each picture is shown.
const ON: Duration = Duration::from_millis(500);

/// How often the inputs are read.
const POLL: Duration = Duration::from_millis(20);

/// Tests everything that the board file names.
///
/// # Errors
/// The board file has problems, the daemon runs, or a line cannot be opened.
pub fn run(args: &Args) -> CommandResult {
    let board = Board::load(&BoardSource::of(args.board.clone()))?;
    if let Some(control) = &board.control
        && let Ok(status) = client::ask(&control.socket, "status")
    {
        return Err(format!(
            "affectd is running (process {}) and uses the lines and displays; stop it first: \
             systemctl stop affectd",
            status["pid"]
        )
        .into());
    }
    let mut out = io::stdout().lock();
    let mut failed = 0;
    if let Some(options) = &board.gpio {
        let mut bank = Cdev::find(&options.chip)?;
        failed += lines(&mut bank, &options.chip, &options.lines, ON, &mut out)?;
    }
    for options in &board.displays {
        failed += pictures(options, &mut out)?;
    }
    if let Some(options) = &board.gpio {
        let inputs = [
            ("acknowledge", &options.acknowledge),
            ("pause", &options.pause),
            ("baseline", &options.baseline),
        ];
        let inputs: Vec<_> = inputs
            .into_iter()
            .filter_map(|(name, input)| Some((name, input.as_ref()?)))
            .collect();
        let mut bank = Cdev::find(&options.chip)?;
        let time = Duration::from_secs(args.inputs);
        failed += show_inputs(&mut bank, &options.chip, &inputs, time, &mut out)?;
    }
    if board.gpio.is_none() && board.displays.is_empty() {
        writeln!(out, "the board file names neither GPIO lines nor displays")?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Takes every line at its safe level, and switches one after the other on.
/// Returns how many failed.
fn lines<B: Bank>(
    bank: &mut B,
    chip: &str,
    lines: &[LineOptions],
    on: Duration,
    out: &mut impl Write,
) -> io::Result<usize> {
    let level = |line: &LineOptions, on: bool| PinState::from(on != line.active_low);
    let mut failed = 0;
    let mut taken = Vec::new();
    for line in lines {
        let safe = line.safe == SafeLevel::On;
        match bank.request(line, level(line, safe)) {
            Ok(pin) => taken.push((line, pin)),
            Err(error) => {
                failed += 1;
                writeln!(out, "WRONG   {error}")?;
            }
        }
    }
    // All off first, so that each is seen alone.
    for (line, pin) in &mut taken {
        failed += note(pin.set_state(level(line, false)), chip, line, out)?;
    }
    for (line, pin) in &mut taken {
        let active = if line.active_low { ", low when on" } else { "" };
        write!(
            out,
            "on      {:<12} {} of {chip}{active} ",
            line.role, line.line
        )?;
        out.flush()?;
        let mut wrong = pin.set_state(level(line, true)).err();
        thread::sleep(on);
        wrong = wrong.or(pin.set_state(level(line, false)).err());
        writeln!(out)?;
        failed += note(wrong.map_or(Ok(()), Err), chip, line, out)?;
    }
    for (line, pin) in &mut taken {
        let safe = line.safe == SafeLevel::On;
        failed += note(pin.set_state(level(line, safe)), chip, line, out)?;
    }
    Ok(failed)
}

fn note<E: Display>(
    result: Result<(), E>,
    chip: &str,
    line: &LineOptions,
    out: &mut impl Write,
) -> io::Result<usize> {
    match result {
        Ok(()) => Ok(0),
        Err(error) => {
            writeln!(
                out,
                "WRONG   {} ({} of {chip}): {error}",
                line.role, line.line
            )?;
            Ok(1)
        }
    }
}

/// Prints each input's state, and each change of it. Returns how many inputs
/// failed.
fn show_inputs<B: Bank>(
    bank: &mut B,
    chip: &str,
    inputs: &[(&'static str, &InputOptions)],
    time: Duration,
    out: &mut impl Write,
) -> io::Result<usize> {
    if inputs.is_empty() || time.is_zero() {
        return Ok(0);
    }
    struct Shown<'i, P> {
        name: &'static str,
        line: &'i LineId,
        active_low: bool,
        pin: P,
        was_active: Option<bool>,
    }
    let mut failed = 0;
    let mut taken = Vec::new();
    for (name, input) in inputs {
        match bank.request_input(&input.line, name) {
            Ok(pin) => taken.push(Shown {
                name,
                line: &input.line,
                active_low: input.active_low,
                pin,
                was_active: None,
            }),
            Err(error) => {
                failed += 1;
                writeln!(out, "WRONG   {error}")?;
            }
        }
    }
    if !taken.is_empty() {
        writeln!(out, "inputs are shown for {} s: press them", time.as_secs())?;
    }
    let start = Instant::now();
    while !taken.is_empty() {
        let mut broken = Vec::new();
        for (index, input) in taken.iter_mut().enumerate() {
            let Shown { name, line, .. } = input;
            match input.pin.is_high() {
                Ok(is_high) => {
                    let is_active = is_high != input.active_low;
                    if input.was_active.replace(is_active) != Some(is_active) {
                        let state = if is_active {
                            "pressed or on"
                        } else {
                            "not pressed"
                        };
                        writeln!(out, "input   {name:<12} {line} of {chip}: {state}")?;
                        out.flush()?;
                    }
                }
                Err(error) => {
                    writeln!(out, "WRONG   {name} ({line} of {chip}): {error}")?;
                    broken.push(index);
                }
            }
        }
        for index in broken.into_iter().rev() {
            failed += 1;
            taken.remove(index);
        }
        if start.elapsed() >= time {
            break;
        }
        thread::sleep(POLL);
    }
    Ok(failed)
}

/// Shows every picture on a display. Returns how many displays failed: 0 or 1.
fn pictures(options: &display::Options, out: &mut impl Write) -> io::Result<usize> {
    let name = options.kind.to_string();
    let opened = display::probe(options).and_then(|()| display::open(options));
    let mut display = match opened {
        Ok(display) => display,
        Err(error) => {
            writeln!(out, "WRONG   {name}: {error}")?;
            return Ok(1);
        }
    };
    let faces = Expression::ALL.map(|expression| face(Label::Expression(expression), expression));
    let unsure = face(Label::Uncertain, Expression::Neutral);
    let by = PausedBy {
        control: true,
        gpio: false,
    };
    let reason = "a test of the display";
    let named = Expression::ALL.iter().map(|expression| expression.name());
    let shown = named
        .zip(&faces)
        .chain([("uncertain", &unsure)])
        .map(|(label, face)| (label, Camera::Streaming, Some(face)))
        .chain([
            ("no face", Camera::Streaming, None),
            ("no camera", Camera::Lost { reason }, None),
            ("paused", Camera::Paused { by }, None),
            ("starting", Camera::Starting, None),
        ]);
    for (label, camera, face) in shown {
        writeln!(out, "shows   {label:<12} {name}")?;
        out.flush()?;
        display.update(&Report {
            timestamp: Timestamp::now(),
            is_new: true,
            camera,
            frame_size: (640, 480),
            faces: face.map_or(&[][..], std::slice::from_ref),
            ..Report::default()
        });
        // A slow bus or a low max_fps takes longer.
        let interval = Duration::from_secs_f32((1.0 / options.max_fps).clamp(0.0, 10.0));
        thread::sleep(ON.max(interval * 2));
    }
    display.finish();
    Ok(0)
}

/// A face that looks like this.
fn face(label: Label, expression: Expression) -> FaceReport {
    let mut probabilities = [0.05; Expression::COUNT];
    probabilities[expression.index()] = match label {
        Label::Expression(_) => 0.7,
        Label::Uncertain => 0.3,
    };
    FaceReport {
        id: 1,
        slot: Slot::default(),
        rect: Rect::new(220, 140, 200, 200),
        searched: Timestamp::default(),
        observed: Observations::default(),
        distance: None,
        decision: FaceDecision {
            expression: ExpressionDecision {
                label,
                confidence: probabilities[expression.index()],
                probabilities: Probabilities(probabilities),
                since: Timestamp::default(),
            },
            baseline: None,
            facing: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::rc::Rc;

    use embedded_hal::digital::{ErrorType, InputPin, OutputPin};

    use super::*;
    use crate::output::gpio::Role;

    /// Lines that write down what happens to them.
    #[derive(Clone, Default)]
    struct Wires(Rc<RefCell<Vec<String>>>);

    struct Wire(String, Wires);

    impl ErrorType for Wire {
        type Error = Infallible;
    }

    impl OutputPin for Wire {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.1.0.borrow_mut().push(format!("{} low", self.0));
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.1.0.borrow_mut().push(format!("{} high", self.0));
            Ok(())
        }
    }

    impl InputPin for Wire {
        fn is_high(&mut self) -> Result<bool, Infallible> {
            Ok(true)
        }

        fn is_low(&mut self) -> Result<bool, Infallible> {
            Ok(false)
        }
    }

    impl Bank for Wires {
        type Pin = Wire;
        type Input = Wire;
        type Error = String;

        fn request(&mut self, line: &LineOptions, level: PinState) -> Result<Wire, String> {
            let name = line.role.to_string();
            if name == "sad" {
                return Err("line 9 for sad: in use by 'blink'".to_owned());
            }
            let mut wire = Wire(name, self.clone());
            let Ok(()) = wire.set_state(level);
            Ok(wire)
        }

        fn request_input(&mut self, line: &LineId, _: &str) -> Result<Wire, String> {
            Ok(Wire(line.to_string(), self.clone()))
        }
    }

    fn line(role: Role, offset: u32) -> LineOptions {
        LineOptions::new(role, LineId::Offset(offset))
    }

    #[test]
    fn each_line_is_on_alone_and_safe_at_the_end() {
        let mut wires = Wires::default();
        let mut face = line(Role::Face, 3);
        face.active_low = true;
        face.safe = SafeLevel::On;
        let all = [
            line(Role::Expression(Expression::Happy), 2),
            face,
            line(Role::Expression(Expression::Sad), 9),
        ];
        let mut out = Vec::new();
        let failed = lines(&mut wires, "chip", &all, Duration::ZERO, &mut out).unwrap();
        assert_eq!(failed, 1);
        assert_eq!(
            *wires.0.borrow(),
            [
                // Safe, then off, then each on and off, then safe.
                "happy low",
                "face low",
                "happy low",
                "face high",
                "happy high",
                "happy low",
                "face low",
                "face high",
                "happy low",
                "face low",
            ]
        );
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("WRONG   line 9 for sad: in use by 'blink'\n"),
            "{text}"
        );
        assert!(
            text.contains("on      happy        line 2 of chip"),
            "{text}"
        );
        assert!(text.contains("line 3 of chip, low when on"), "{text}");
    }

    #[test]
    fn inputs_are_shown_as_the_board_file_means_them() {
        let mut wires = Wires::default();
        let [plain, inverted] = [(7, false), (8, true)].map(|(offset, active_low)| InputOptions {
            line: LineId::Offset(offset),
            active_low,
        });
        let inputs = [("acknowledge", &plain), ("pause", &inverted)];
        let mut out = Vec::new();
        let time = Duration::from_millis(30);
        assert_eq!(
            show_inputs(&mut wires, "chip", &inputs, time, &mut out).unwrap(),
            0
        );
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "input   acknowledge  line 7 of chip: pressed or on",
                "input   pause        line 8 of chip: not pressed",
            ]
        );
    }
}
