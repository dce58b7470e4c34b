//! `affectd fatigue`: applies the rules of `[fatigue]` to a recording of eye
//! measurements.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use super::CommandResult;
use super::pictures::{Failures, ended};
use crate::decide::fatigue::trace::Trace;
use crate::decide::fatigue::{ClosureKind, Event, FatigueDecision, Options, State, What};
use crate::draw::timeline::{self, Point, Timeline};
use crate::image;
use crate::output::events::FatigueLine;

/// Apply the fatigue rules to a recording of eye measurements
///
/// FILE is comma-separated text: its first line names the columns, each further
/// line is a face in a frame. Columns are time (in seconds), track, presence,
/// left, right (how far each eye is open), left_valid, right_valid, valid (both
/// eyes, 0 or 1), jaw, smile, gaze_down, covered, yaw, pitch, roll, box, reason
/// and frame. time and one eye are enough; missing columns and empty fields are unknown.
/// A line with the reason acknowledged acknowledges the alarm.
/// Settings in comment lines at the top (# drowsy = 0.15) are used, unless an
/// option says otherwise.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recording; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print events as JSON Lines instead of the timeline
    #[arg(long)]
    pub json: bool,

    /// Also draw openness, closures, PERCLOS and states to this PNG file
    #[arg(long, value_name = "FILE.png")]
    pub plot: Option<PathBuf>,

    /// The value that open eyes usually have in the file [default: 1]
    #[arg(long, value_name = "LEVEL")]
    pub open: Option<f32>,

    /// The value that shut eyes usually have in the file [default: 0.05 times
    /// the open one]
    #[arg(long, value_name = "LEVEL")]
    pub shut: Option<f32>,

    /// PERCLOS over 60 s from which a person counts as drowsy
    #[arg(long, value_name = "SHARE")]
    pub drowsy: Option<f32>,

    /// Shortest microsleep, in milliseconds
    #[arg(long, value_name = "MS")]
    pub microsleep_ms: Option<u64>,

    /// Shortest sleep, in milliseconds
    #[arg(long, value_name = "MS")]
    pub asleep_ms: Option<u64>,

    /// Eyes shut for this long mean that the person does not respond, in
    /// milliseconds
    #[arg(long, value_name = "MS")]
    pub unresponsive_ms: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  affectd fatigue drive.csv
  affectd fatigue drive.csv --plot drive.png
  affectd fatigue drive.csv --json | jq 'select(.type == \"closure\")'
  affectd fatigue ear.csv --open 0.29 --shut 0.09    # eye aspect ratios

It measures eye closure; it is not shown to detect sleepiness.";

/// The longest file that is read.
const LONGEST: u64 = 1 << 30;

/// Runs the command.
///
/// # Errors
/// The file cannot be read or is not a recording, an option is out of range, or
/// the plot or standard output cannot be written.
pub fn run(args: &Args) -> CommandResult {
    let name = args.file.display();
    let bytes = read(&args.file).map_err(|error| format!("{name}: {error}"))?;
    let trace = Trace::read(&bytes).map_err(|error| format!("{name}: {error}"))?;
    let options = args.options(trace.options);
    options
        .validate()
        .map_err(|error| format!("{name}: {error}"))?;

    let mut out = BufWriter::new(io::stdout().lock());
    let mut course = Course::default();
    let mut written = Ok(());
    trace.replay(options, |frame, fatigue| {
        let seconds = frame.time.0.as_secs_f64();
        course.look(seconds, fatigue.decision(), fatigue.events());
        for event in fatigue.events() {
            if written.is_err() {
                return;
            }
            written = if args.json {
                write_json(&mut out, *event, frame.number)
            } else {
                write_line(&mut out, event)
            };
        }
    });
    let written = written.and_then(|()| {
        if !args.json {
            course.write_summary(&mut out)?;
        }
        out.flush()
    });
    if let Some(path) = &args.plot {
        let picture = timeline::draw(&Timeline {
            points: &course.points,
            drowsy: options.drowsy,
        });
        image::write_png_rgb(path, &picture)?;
    }
    ended(written, &Failures::default())
}

impl Args {
    fn options(&self, mut options: Options) -> Options {
        if let Some(open) = self.open {
            options.shut *= open / options.open;
            options.open = open;
        }
        if let Some(shut) = self.shut {
            options.shut = shut;
        }
        if let Some(drowsy) = self.drowsy {
            options.drowsy = drowsy;
        }
        let millis = std::time::Duration::from_millis;
        for (option, given) in [
            (&mut options.microsleep, self.microsleep_ms),
            (&mut options.asleep, self.asleep_ms),
            (&mut options.unresponsive, self.unresponsive_ms),
        ] {
            if let Some(given) = given {
                *option = millis(given);
            }
        }
        options
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new(image::STDIN) {
        io::stdin()
            .lock()
            .take(LONGEST + 1)
            .read_to_end(&mut bytes)?;
    } else {
        File::open(path)?
            .take(LONGEST + 1)
            .read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other(
            "this is longer than 1 GiB; cut it into parts",
        ));
    }
    Ok(bytes)
}

fn write_json(out: &mut impl Write, event: Event, frame: u64) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &FatigueLine { event, frame })?;
    out.write_all(b"\n")
}

/// Writes the timeline's line for an event, if it has one.
fn write_line(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let time = event.time.0.as_secs_f64();
    match event.what {
        What::Alarm(alarm) if alarm.is_on && alarm.is_acknowledged => {
            writeln!(out, "{time:10.3}  {}, acknowledged", alarm.state)
        }
        // The state says the same.
        What::State { change: false, .. } | What::Alarm(_) => Ok(()),
        What::Closure { kind, duration, .. } => match kind {
            ClosureKind::Blink => Ok(()),
            _ => writeln!(
                out,
                "{time:10.3}  eyes open again after {:.2} s ({})",
                duration.as_secs_f64(),
                kind.name()
            ),
        },
        What::Yawn { duration, .. } => {
            writeln!(out, "{time:10.3}  yawn of {:.1} s", duration.as_secs_f64())
        }
        What::State { decision, .. } => {
            write!(out, "{time:10.3}  {}", decision.state)?;
            if let Some(reason) = decision.reason {
                write!(out, ": {reason}")?;
            }
            if let Some(track) = decision.track {
                write!(out, ", face {track}")?;
            }
            if let Some(perclos) = decision.perclos {
                write!(out, ", PERCLOS {perclos:.3}")?;
            }
            if !decision.calibrated && decision.state.is_alarm() {
                write!(out, ", not calibrated")?;
            }
            writeln!(out)
        }
    }
}

/// The result of a recording.
#[derive(Default)]
struct Course {
    points: Vec<Point>,
    closures: [u32; 4],
    yawns: u32,
    highest: Option<f32>,
    time_in: [f64; State::ALL.len()],
}

impl Course {
    fn look(&mut self, time: f64, decision: &FatigueDecision, events: &[Event]) {
        if let Some(last) = self.points.last()
            && let Some(index) = State::ALL.iter().position(|state| *state == last.state)
        {
            self.time_in[index] += time - last.time;
        }
        for event in events {
            match event.what {
                What::Closure { kind, .. } => self.closures[kind as usize] += 1,
                What::Yawn { .. } => self.yawns += 1,
                What::State { .. } | What::Alarm(_) => {}
            }
        }
        if let Some(perclos) = decision.perclos {
            self.highest = Some(self.highest.map_or(perclos, |highest| highest.max(perclos)));
        }
        self.points.push(Point {
            time,
            openness: decision.openness,
            is_closure: decision.closure.is_some(),
            perclos: decision.perclos,
            perclos_180: decision.perclos_180,
            state: decision.state,
        });
    }

    fn write_summary(&self, out: &mut impl Write) -> io::Result<()> {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return Ok(());
        };
        let length = last.time - first.time;
        writeln!(out, "\n{} frames in {length:.1} s", self.points.len())?;
        for (state, time) in State::ALL.iter().zip(self.time_in) {
            if time > 0.0 {
                writeln!(out, "{:<14}{time:>10.1} s", state.name())?;
            }
        }
        let [blinks, long, microsleeps, sleeps] = self.closures;
        writeln!(
            out,
            "closures: {blinks} blinks, {long} long, {microsleeps} microsleeps, {sleeps} sleep; \
             {} yawns",
            self.yawns
        )?;
        match self.highest {
            Some(highest) => writeln!(out, "PERCLOS over 60 s: {highest:.3} at most"),
            None => writeln!(out, "PERCLOS over 60 s: unknown, too little valid time"),
        }
    }
}
