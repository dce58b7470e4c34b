//! Recordings of eye measurements: comma-separated values, only numbers.
//!
//! A row is a face in a frame. Columns are found by their names, so that a
//! short file (`time,left,right,jaw,pitch,yaw,valid`) works too; the values of
//! a missing column are unknown. A frame without a face is a row with an empty
//! `track`; a lost camera is a row with the reason `camera_lost`. If an alarm
//! is acknowledged, a row with the reason `acknowledged` comes before the frame
//! with which the alarm becomes silent. Comment lines before the columns
//! contain the settings that matter, so that a recording leads to the same
//! events when it is read again.

use std::io::{self, Write};
use std::time::Duration;

use super::{EyeSample, FaceSample, Fatigue, Options, Reason};
use crate::frame::Timestamp;
use crate::suggest::suggestion;

/// The columns, in the order in which they are written. `frame` is the frame's
/// number.
pub const COLUMNS: [&str; 17] = [
    "time",
    "track",
    "presence",
    "left",
    "right",
    "left_valid",
    "right_valid",
    "jaw",
    "smile",
    "gaze_down",
    "covered",
    "yaw",
    "pitch",
    "roll",
    "box",
    "reason",
    "frame",
];

/// In short files: whether both eyes are valid.
const VALID: &str = "valid";

/// In the column `reason`: the alarm was acknowledged.
const ACKNOWLEDGED: &str = "acknowledged";

/// Writes the settings as comments, and the line of columns.
///
/// # Errors
/// Those of the writer.
pub fn write_header(out: &mut impl Write, options: &Options) -> io::Result<()> {
    let millis = Duration::as_millis;
    writeln!(out, "# affectd fatigue recording, version 1")?;
    writeln!(out, "# watch = \"{}\"", options.watch)?;
    if let Some(region) = options.region {
        writeln!(out, "# region = {region:?}")?;
    }
    writeln!(
        out,
        "# keep_calibration_s = {}",
        options.keep_calibration.as_secs_f64()
    )?;
    writeln!(out, "# drowsy = {}", options.drowsy)?;
    writeln!(out, "# microsleep_ms = {}", millis(&options.microsleep))?;
    writeln!(out, "# asleep_ms = {}", millis(&options.asleep))?;
    writeln!(out, "# unresponsive_ms = {}", millis(&options.unresponsive))?;
    writeln!(out, "# open = {}", options.open)?;
    writeln!(out, "# shut = {}", options.shut)?;
    writeln!(out, "{}", COLUMNS.join(","))
}

/// The contents of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row {
    Face(FaceSample),
    /// A frame without a face.
    NoFace,
    CameraLost,
    /// The alarm is acknowledged with the frame of the next row.
    Acknowledged,
}

/// Writes a row.
///
/// # Errors
/// Those of the writer.
pub fn write_row(out: &mut impl Write, time: Timestamp, frame: u64, row: &Row) -> io::Result<()> {
    let (seconds, nanos) = (time.0.as_secs(), time.0.subsec_nanos());
    write!(out, "{seconds}.{nanos:09},")?;
    let (eyes, reason) = match row {
        Row::Face(face) => {
            write!(out, "{}", face.track)?;
            (face.eyes, face.eyes.reason.map_or("", Reason::name))
        }
        Row::NoFace => (EyeSample::default(), ""),
        Row::CameraLost => (EyeSample::default(), Reason::CameraLost.name()),
        Row::Acknowledged => (EyeSample::default(), ACKNOWLEDGED),
    };
    write!(out, ",")?;
    let number = |out: &mut dyn Write, value: Option<f32>| match value {
        Some(value) => write!(out, "{value},"),
        None => write!(out, ","),
    };
    for value in [eyes.presence, eyes.left, eyes.right] {
        number(out, value)?;
    }
    match row {
        Row::Face(_) => {
            let valid = [eyes.left, eyes.right].map(|value| u8::from(value.is_some()));
            write!(out, "{},{},", valid[0], valid[1])?;
        }
        Row::NoFace | Row::CameraLost | Row::Acknowledged => write!(out, ",,")?,
    }
    for value in [
        eyes.jaw,
        eyes.smile,
        eyes.gaze_down,
        eyes.covered,
        eyes.yaw,
        eyes.pitch,
        eyes.roll,
    ] {
        number(out, value)?;
    }
    if let Some([x, y, width, height]) = eyes.rect {
        write!(out, "{x} {y} {width} {height}")?;
    }
    writeln!(out, ",{reason},{frame}")
}

/// A frame of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub time: Timestamp,
    /// The frame's number; counted from 0 if the file does not have it.
    pub number: u64,
    /// Its faces, in [`Trace::faces`].
    faces: std::ops::Range<usize>,
    pub camera_lost: bool,
    /// Whether the alarm is acknowledged with this frame.
    pub is_acknowledged: bool,
}

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The settings in the file's comments, with defaults for missing ones.
    pub options: Options,
    pub frames: Vec<Frame>,
    faces: Vec<FaceSample>,
    /// Whether an acknowledgement was read that belongs to the next frame.
    is_acknowledged_next: bool,
}

/// An error in a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// From 1.
    pub line: u64,
    pub problem: Problem,
}

/// The error in a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("unknown column '{name}'{}; columns are {} and {VALID}",
        did_you_mean(name), COLUMNS.join(", "))]
    UnknownColumn { name: String },
    #[error("column '{0}' is there twice; remove one of them")]
    ColumnTwice(String),
    #[error(
        "column '{0}' is missing; the first line must name the columns, such as time,left,right"
    )]
    NoColumn(&'static str),
    #[error("{fields} fields, but the first line names {columns} columns")]
    Fields { fields: usize, columns: usize },
    #[error("{column} is '{text}', which is not {expected}; leave unknown values empty")]
    Value {
        column: &'static str,
        text: String,
        expected: &'static str,
    },
    #[error("the time {time} s is before {before} s, that of the row above; sort the rows by time")]
    TimeGoesBack { time: String, before: String },
    #[error("the setting '{setting}' cannot be read; correct it or remove the line")]
    Setting { setting: String },
    #[error("this is not UTF-8 text; save it as UTF-8")]
    NotText,
    #[error("the file has no rows")]
    Empty,
}

fn did_you_mean(name: &str) -> String {
    suggestion(name, COLUMNS.into_iter().chain([VALID]))
}

impl Trace {
    /// Reads a recording.
    ///
    /// # Errors
    /// The first error, with its line.
    ///
    /// ```
    /// use affectd::decide::fatigue::trace::Trace;
    /// let trace = Trace::read(b"time,left,right\n0.00,0.9,0.8\n0.03,,\n").unwrap();
    /// assert_eq!(trace.frames.len(), 2);
    /// let error = Trace::read(b"time,lefft\n").unwrap_err();
    /// assert!(error.to_string().starts_with("line 1: unknown column 'lefft', did you mean 'left'?"));
    /// ```
    pub fn read(bytes: &[u8]) -> Result<Self, TraceError> {
        let options = settings(bytes)?;
        let mut record = csv::StringRecord::new();
        let mut lines = lines(bytes);
        let Some((line, header)) = lines.next() else {
            return Err(TraceError {
                line: 1,
                problem: Problem::Empty,
            });
        };
        split(line, header, &mut record)?;
        let columns = Columns::read(&record).map_err(|problem| TraceError { line, problem })?;

        let mut trace = Self {
            options,
            frames: Vec::new(),
            faces: Vec::new(),
            is_acknowledged_next: false,
        };
        for (line, text) in lines {
            split(line, text, &mut record)?;
            let read = columns
                .row(&record)
                .and_then(|(time, number, row)| trace.push(time, number, &row));
            read.map_err(|problem| TraceError { line, problem })?;
        }
        if trace.frames.is_empty() {
            return Err(TraceError {
                line,
                problem: Problem::Empty,
            });
        }
        Ok(trace)
    }

    /// The faces in a frame.
    #[must_use]
    pub fn faces(&self, frame: &Frame) -> &[FaceSample] {
        &self.faces[frame.faces.clone()]
    }

    /// Applies the rules to all frames, and calls `each` after each frame.
    pub fn replay(&self, options: Options, mut each: impl FnMut(&Frame, &Fatigue)) {
        let mut fatigue = Fatigue::new(options);
        for frame in &self.frames {
            if frame.is_acknowledged {
                fatigue.acknowledge();
            }
            if frame.camera_lost {
                fatigue.lose_camera(frame.time);
            } else {
                fatigue.look(frame.time, self.faces(frame));
            }
            each(frame, &fatigue);
        }
    }

    fn push(&mut self, time: Timestamp, number: Option<u64>, row: &Row) -> Result<(), Problem> {
        let last = self
            .frames
            .last()
            .map(|frame| (frame.time, frame.faces.clone()));
        if let Some((before, _)) = last
            && time < before
        {
            let seconds = |time: Timestamp| time.0.as_secs_f64().to_string();
            return Err(Problem::TimeGoesBack {
                time: seconds(time),
                before: seconds(before),
            });
        }
        if *row == Row::Acknowledged {
            self.is_acknowledged_next = true;
            return Ok(());
        }
        if let Row::Face(face) = row {
            // Another face of the same frame.
            if let Some((before, faces)) = last
                && before == time
                && !self.is_acknowledged_next
                && !faces.is_empty()
                && self.faces[faces]
                    .iter()
                    .all(|other| other.track != face.track)
                && let Some(frame) = self.frames.last_mut()
            {
                self.faces.push(*face);
                frame.faces.end += 1;
                return Ok(());
            }
            self.faces.push(*face);
        }
        let end = self.faces.len();
        self.frames.push(Frame {
            time,
            number: number.unwrap_or(self.frames.len() as u64),
            faces: end - usize::from(matches!(row, Row::Face(_)))..end,
            camera_lost: *row == Row::CameraLost,
            is_acknowledged: std::mem::take(&mut self.is_acknowledged_next),
        });
        Ok(())
    }
}

/// The lines that are neither empty nor comments, with their numbers.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    (1..)
        .zip(lines)
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// Splits a line into its fields. The csv reader would not count comment lines.
fn split(line: u64, text: &[u8], record: &mut csv::StringRecord) -> Result<(), TraceError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .buffer_capacity(256)
        .from_reader(text);
    reader
        .read_record(record)
        .map(|_| ())
        .map_err(|_| TraceError {
            line,
            problem: Problem::NotText,
        })
}

/// The settings in the comments before the line of columns.
fn settings(bytes: &[u8]) -> Result<Options, TraceError> {
    let mut options = Options::default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let Some(comment) = line.strip_prefix(b"#") else {
            break;
        };
        let comment = String::from_utf8_lossy(comment);
        let Some((key, value)) = comment.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if set(&mut options, key, value).is_none() {
            return Err(TraceError {
                line: index as u64 + 1,
                problem: Problem::Setting {
                    setting: comment.trim().to_owned(),
                },
            });
        }
    }
    Ok(options)
}

/// Takes a setting; `None` if its value is invalid. Other keys are ignored.
fn set(options: &mut Options, key: &str, value: &str) -> Option<()> {
    let millis = || value.parse().ok().map(Duration::from_millis);
    match key {
        "watch" => options.watch = value.trim_matches('"').parse().ok()?,
        "region" => {
            let list = value.strip_prefix('[')?.strip_suffix(']')?;
            options.region = Some(four(list)?);
        }
        "keep_calibration_s" => {
            let seconds: f64 = value.parse().ok()?;
            options.keep_calibration = Duration::try_from_secs_f64(seconds).ok()?;
        }
        "drowsy" => options.drowsy = value.parse().ok()?,
        "microsleep_ms" => options.microsleep = millis()?,
        "asleep_ms" => options.asleep = millis()?,
        "unresponsive_ms" => options.unresponsive = millis()?,
        "open" => options.open = value.parse().ok()?,
        "shut" => options.shut = value.parse().ok()?,
        _ => {}
    }
    Some(())
}

/// Four numbers between commas or spaces.
fn four(text: &str) -> Option<[f32; 4]> {
    let mut numbers = [0.0; 4];
    let mut parts = text.split([',', ' ']).filter(|part| !part.is_empty());
    for number in &mut numbers {
        *number = parts.next()?.parse().ok().filter(|n: &f32| n.is_finite())?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Where each column is.
struct Columns {
    places: [Option<usize>; COLUMNS.len()],
    valid: Option<usize>,
    count: usize,
}

impl Columns {
    fn read(header: &csv::StringRecord) -> Result<Self, Problem> {
        let mut columns = Self {
            places: [None; COLUMNS.len()],
            valid: None,
            count: header.len(),
        };
        for (place, name) in header.iter().enumerate() {
            let lower = name.trim_start_matches('\u{feff}').to_lowercase();
            let column = if lower == VALID {
                &mut columns.valid
            } else if let Some(index) = COLUMNS.iter().position(|known| *known == lower) {
                &mut columns.places[index]
            } else {
                return Err(Problem::UnknownColumn {
                    name: name.to_owned(),
                });
            };
            if column.replace(place).is_some() {
                return Err(Problem::ColumnTwice(name.to_owned()));
            }
        }
        if columns.place("time").is_none() {
            return Err(Problem::NoColumn("time"));
        }
        if columns.place("left").is_none() && columns.place("right").is_none() {
            return Err(Problem::NoColumn("left"));
        }
        Ok(columns)
    }

    fn place(&self, name: &str) -> Option<usize> {
        let index = COLUMNS.iter().position(|known| *known == name)?;
        self.places[index]
    }

    /// The time, the frame's number and the other contents of a row.
    fn row(&self, record: &csv::StringRecord) -> Result<(Timestamp, Option<u64>, Row), Problem> {
        if record.len() != self.count {
            return Err(Problem::Fields {
                fields: record.len(),
                columns: self.count,
            });
        }
        let text = |column: &str| {
            let field = record.get(self.place(column)?)?;
            Some(field).filter(|field| !field.is_empty())
        };
        let wrong = |column: &'static str, text: &str, expected: &'static str| Problem::Value {
            column,
            text: text.to_owned(),
            expected,
        };
        let number = |column: &'static str| -> Result<Option<f32>, Problem> {
            let Some(text) = text(column) else {
                return Ok(None);
            };
            match text.parse::<f32>() {
                Ok(number) if number.is_nan() => Ok(None),
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(wrong(column, text, "a number")),
            }
        };
        let flag = |column: &'static str, place: Option<usize>| -> Result<bool, Problem> {
            let field = place
                .and_then(|place| record.get(place))
                .unwrap_or_default();
            match &*field.to_lowercase() {
                "" | "1" | "1.0" | "true" => Ok(true),
                "0" | "0.0" | "false" => Ok(false),
                _ => Err(wrong(column, field, "0 or 1")),
            }
        };
        let time = text("time").unwrap_or_default();
        let time =
            seconds(time).ok_or_else(|| wrong("time", time, "a number of seconds from 0 on"))?;
        let whole = |column| -> Result<Option<u64>, Problem> {
            let parsed = |text: &str| {
                text.parse()
                    .map_err(|_| wrong(column, text, "a whole number"))
            };
            text(column).map(parsed).transpose()
        };
        let frame = whole("frame")?;
        let reason = text("reason");
        if reason == Some(ACKNOWLEDGED) {
            return Ok((time, frame, Row::Acknowledged));
        }
        let reason = reason
            .map(|text| {
                let reason = text.parse::<Reason>();
                reason.map_err(|_| wrong("reason", text, "a reason that affectd knows"))
            })
            .transpose()?;
        if reason == Some(Reason::CameraLost) {
            return Ok((time, frame, Row::CameraLost));
        }
        let track = match (self.place("track"), whole("track")?) {
            (Some(_), None) => return Ok((time, frame, Row::NoFace)),
            // Without this column it is always the same face.
            (None, _) => 1,
            (Some(_), Some(track)) => u32::try_from(track)
                .map_err(|_| wrong("track", &track.to_string(), "a face's number"))?,
        };
        let valid = flag(VALID, self.valid)?;
        let left_valid = valid && flag("left_valid", self.place("left_valid"))?;
        let right_valid = valid && flag("right_valid", self.place("right_valid"))?;
        let rect = text("box")
            .map(|text| {
                four(text).ok_or_else(|| wrong("box", text, "four numbers x y width height"))
            })
            .transpose()?;
        let eyes = EyeSample {
            left: number("left")?.filter(|_| left_valid),
            right: number("right")?.filter(|_| right_valid),
            gaze_down: number("gaze_down")?,
            covered: number("covered")?,
            jaw: number("jaw")?,
            smile: number("smile")?,
            yaw: number("yaw")?,
            pitch: number("pitch")?,
            roll: number("roll")?,
            presence: number("presence")?,
            rect,
            reason,
        };
        Ok((time, frame, Row::Face(FaceSample { track, eyes })))
    }
}

/// A time in seconds, to the nanosecond if it has at most nine decimals.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !whole.is_empty() && digits(whole) && digits(part) && part.len() <= 9 {
        let nanos = format!("{part:0<9}").parse().ok()?;
        return Some(Timestamp(Duration::new(whole.parse().ok()?, nanos)));
    }
    // More decimals, or 1e3.
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::super::Watch;
    use super::*;
    use proptest::prelude::*;

    fn problem(text: &str) -> String {
        Trace::read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_short_file_is_enough() {
        let text =
            "Time, left,right,jaw,valid\n0,0.9,0.8,0.1,1\n0.5,0.9,,nan,true\n1e0,0.9,0.8,,0\n";
        let trace = Trace::read(text.as_bytes()).unwrap();
        let eyes: Vec<_> = trace
            .frames
            .iter()
            .map(|frame| trace.faces(frame)[0].eyes)
            .collect();
        assert_eq!(eyes[0].left, Some(0.9));
        assert_eq!((eyes[1].right, eyes[1].jaw), (None, None));
        assert_eq!(eyes[2], EyeSample::default());
        assert_eq!(trace.frames[2].time, Timestamp::from_millis(1000));
        assert_eq!(trace.frames[2].number, 2);
    }

    #[test]
    fn errors_are_reported_with_their_line() {
        for (text, expected) in [
            ("", "line 1: the file has no rows"),
            ("time,left\n", "line 1: the file has no rows"),
            (
                "# x\ntime,lefft\n",
                "line 2: unknown column 'lefft', did you mean 'left'?",
            ),
            ("time,left,left\n", "line 1: column 'left' is there twice"),
            ("left,right\n", "line 1: column 'time' is missing"),
            ("time,jaw\n", "line 1: column 'left' is missing"),
            (
                "time,left\n0,1\n1,x\n",
                "line 3: left is 'x', which is not a number",
            ),
            (
                "time,left\n0,1\n1,inf\n",
                "line 3: left is 'inf', which is not a number",
            ),
            (
                "time,left\n0,1\n1\n",
                "line 3: 1 fields, but the first line names 2",
            ),
            (
                "time,left\n-1,1\n",
                "line 2: time is '-1', which is not a number of seconds",
            ),
            (
                "time,left\n0,1\n\n3,1\n2.5,1\n",
                "line 5: the time 2.5 s is before 3 s",
            ),
            (
                "time,left,valid\n0,1,yes\n",
                "line 2: valid is 'yes', which is not 0 or 1",
            ),
            (
                "time,left,track\n0,1,-4\n",
                "line 2: track is '-4', which is not a whole number",
            ),
            (
                "time,left,box\n0,1,1 2\n",
                "line 2: box is '1 2', which is not four numbers",
            ),
            ("time,left,reason\n0,1,fog\n", "line 2: reason is 'fog'"),
            (
                "# drowsy = much\ntime,left\n0,1\n",
                "line 1: the setting 'drowsy = much'",
            ),
            ("time;left\n", "line 1: unknown column 'time;left'"),
        ] {
            let told = problem(text);
            assert!(told.starts_with(expected), "{told} for {expected}");
        }
        assert_eq!(
            Trace::read(b"time,left\n0,\xff\n").unwrap_err().problem,
            Problem::NotText
        );
    }

    #[test]
    fn rows_of_one_time_are_one_frame() {
        let text = "time,track,left\n0,1,1\n0,2,1\n1,,\n2,2,1\n2,2,1\n";
        let trace = Trace::read(text.as_bytes()).unwrap();
        let faces: Vec<_> = trace
            .frames
            .iter()
            .map(|frame| trace.faces(frame).len())
            .collect();
        assert_eq!(faces, [2, 0, 1, 1]);
    }

    fn sample() -> impl Strategy<Value = FaceSample> {
        let number = || proptest::option::of(-100.0_f32..100.0);
        let numbers = [(); 10].map(|()| number());
        let reason = proptest::option::of(prop::sample::select(&Reason::ALL[..4]));
        let rect = proptest::option::of([0.0..1.0_f32, 0.0..1.0, 0.0..1.0, 0.0..1.0]);
        (any::<u32>(), numbers, reason, rect).prop_map(|(track, numbers, reason, rect)| {
            let [
                left,
                right,
                gaze_down,
                covered,
                jaw,
                smile,
                yaw,
                pitch,
                roll,
                presence,
            ] = numbers;
            let eyes = EyeSample {
                left,
                right,
                gaze_down,
                covered,
                jaw,
                smile,
                yaw,
                pitch,
                roll,
                presence,
                rect,
                reason,
            };
            FaceSample { track, eyes }
        })
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_the_same(
            rows in prop::collection::vec((1_u64..1_000_000_000_000, proptest::option::of(sample()), any::<bool>()), 1..50),
            drowsy in 0.02_f32..0.9, open in 0.1_f32..2.0,
        ) {
            let options = Options {
                watch: Watch::Region,
                region: Some([0.1, 0.2, 0.3, 0.4]),
                keep_calibration: Duration::from_millis(7300),
                drowsy,
                open,
                shut: open / 3.0,
                ..Options::default()
            };
            let mut text = Vec::new();
            write_header(&mut text, &options).unwrap();
            let mut nanos = 0;
            let mut written = Vec::new();
            for (number, (step, face, is_acknowledged)) in rows.into_iter().enumerate() {
                nanos += step;
                let time = Timestamp(Duration::from_nanos(nanos));
                let row = face.map_or(if step % 2 == 0 { Row::NoFace } else { Row::CameraLost }, Row::Face);
                let number = 3 * number as u64;
                if is_acknowledged {
                    write_row(&mut text, time, number, &Row::Acknowledged).unwrap();
                }
                write_row(&mut text, time, number, &row).unwrap();
                written.push((time, number, row, is_acknowledged));
            }
            let trace = Trace::read(&text).unwrap();
            prop_assert_eq!(trace.options, options);
            let read: Vec<_> = trace.frames.iter().map(|frame| {
                let row = match trace.faces(frame) {
                    [face] => Row::Face(*face),
                    _ if frame.camera_lost => Row::CameraLost,
                    _ => Row::NoFace,
                };
                (frame.time, frame.number, row, frame.is_acknowledged)
            }).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
            let mut text = if head { b"time,left,right\n".to_vec() } else { Vec::new() };
            text.extend(bytes);
            let _ = Trace::read(&text);
        }
    }
}
