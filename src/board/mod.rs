//! The board file: what is connected where, and the settings of the stages, in
//! a few lines of TOML.
//!
//! Each key is optional unless said otherwise, unknown keys are errors, and all
//! problems are reported at once with their lines. `boards/example.toml` shows
//! and explains every key; a test compares it with this code.
//!
//! Relative paths start from the directory of the file that names them, because
//! the user does not choose a daemon's working directory.
//!
//! A system may have several board files above each other ([`BoardSource`]): one
//! for all robots, one for a site, one for this robot.

mod claims;
mod digest;
mod displays;
mod keys;
mod layers;
mod options;
mod reader;
mod sections;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub use claims::{Claim, Resource, clashes};
use layers::Layer;
pub use layers::Places;
pub use options::{Board, ClassifyOptions, DetectOptions, FaceOptions, FatigueOptions};
pub use reader::Problem;
use reader::Reader;

/// A board file that cannot be used.
#[derive(Debug)]
pub enum BoardError {
    /// The file could not be read.
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not UTF-8 text; `found` says what it is.
    Encoding { path: PathBuf, found: String },
    /// All errors, by file and line.
    Problems(Vec<Problem>),
    /// There is no board file.
    Nowhere(Places),
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                write!(f, "board file {}: {source}", path.display())
            }
            Self::Encoding { path, found } => write!(
                f,
                "board file {}: {found}; save it as UTF-8 text",
                path.display()
            ),
            Self::Problems(problems) => {
                let file = problems.first().map(|problem| &problem.file);
                match file {
                    Some(file) if problems.iter().all(|problem| problem.file == *file) => {
                        write!(f, "board file {} cannot be used:", file.display())?;
                    }
                    _ => write!(f, "the board files cannot be used:")?,
                }
                for problem in problems {
                    write!(f, "\n  {}:{problem}", problem.file.display())?;
                }
                Ok(())
            }
            Self::Nowhere(places) => {
                write!(f, "there is no board file: none of ")?;
                for (index, path) in places.files.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", path.display())?;
                }
                write!(f, " exists; write one, or name one on the command line")
            }
        }
    }
}

impl std::error::Error for BoardError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Encoding { .. } | Self::Problems(_) | Self::Nowhere(_) => None,
        }
    }
}

/// Which board files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardSource {
    /// This file alone.
    File(PathBuf),
    /// The files at these places, of which later ones win key by key.
    Layers(Places),
}

impl BoardSource {
    /// A file, if one is named, or else the system's.
    #[must_use]
    pub fn of(file: Option<PathBuf>) -> Self {
        file.map_or_else(|| Self::Layers(Places::default()), Self::File)
    }

    /// The files that exist, the lowest first.
    ///
    /// # Errors
    /// A directory cannot be read, or there is no file.
    pub fn files(&self) -> Result<Vec<PathBuf>, BoardError> {
        match self {
            Self::File(path) => Ok(vec![path.clone()]),
            Self::Layers(places) => {
                let found = places
                    .found()
                    .map_err(|(path, source)| BoardError::Read { path, source })?;
                if found.is_empty() {
                    return Err(BoardError::Nowhere(places.clone()));
                }
                Ok(found)
            }
        }
    }

    fn layers(&self) -> Result<Vec<Layer>, BoardError> {
        let mut files = Vec::new();
        for path in self.files()? {
            let bytes = read(&path).map_err(|source| BoardError::Read {
                path: path.clone(),
                source,
            })?;
            let text = text(&bytes).map_err(|found| BoardError::Encoding {
                path: path.clone(),
                found,
            })?;
            files.push((path, text.to_owned()));
        }
        Ok(Layer::stack(files))
    }

    /// The settings that all files together give, as TOML, with the file and the
    /// line of each key. Problems other than syntax errors are not looked for.
    ///
    /// # Errors
    /// A file cannot be read, or it has a syntax error.
    pub fn effective(&self) -> Result<String, BoardError> {
        let layers = self.layers()?;
        let reader = Reader::new(&layers);
        let table = reader.parse();
        let text = layers::effective(&layers, table.get_ref());
        match reader.into_notes().problems {
            problems if problems.is_empty() => Ok(text),
            problems => Err(BoardError::Problems(problems)),
        }
    }
}

impl Board {
    /// Reads and checks board files, without touching hardware.
    ///
    /// # Errors
    /// A file cannot be read, or has errors; the error lists all of them.
    pub fn load(source: &BoardSource) -> Result<Self, BoardError> {
        let (board, problems) = Self::read(&source.layers()?);
        if problems.is_empty() {
            Ok(board)
        } else {
            Err(BoardError::Problems(problems))
        }
    }

    /// Reads as much as possible of board files that may have errors, and
    /// counts the errors. For commands that need only a part of the file.
    ///
    /// # Errors
    /// A file cannot be read, or it is not text.
    pub fn load_in_part(source: &BoardSource) -> Result<(Self, usize), BoardError> {
        let (board, problems) = Self::read(&source.layers()?);
        Ok((board, problems.len()))
    }

    /// Checks a board file's text; relative paths in it start from `directory`.
    ///
    /// # Errors
    /// All errors, by line.
    ///
    /// ```
    /// use affectd::board::Board;
    /// let text = "[capture]\nsource = '/dev/video0'\nsiez = '640x480'\n[decide]\nenter = 3\n";
    /// let problems = Board::parse(text, "".as_ref()).unwrap_err();
    /// assert_eq!(problems[0].line, 3);
    /// assert_eq!(problems[0].message, "unknown key; did you mean 'size'?");
    /// assert_eq!(problems[1].key, "decide.enter");
    /// ```
    pub fn parse(text: &str, directory: &Path) -> Result<Self, Vec<Problem>> {
        let (board, problems) = Self::read(&[Layer::of_text(text, directory)]);
        if problems.is_empty() {
            Ok(board)
        } else {
            Err(problems)
        }
    }

    fn read(layers: &[Layer]) -> (Self, Vec<Problem>) {
        let reader = Reader::new(layers);
        let table = reader.parse();
        let mut board = sections::board(reader.root(&table));
        let notes = reader.into_notes();
        board.claims = notes.claims;
        board.warnings = notes.warnings;
        (board, notes.problems)
    }
}

/// A board file has some kilobytes; `/dev/zero` has no end.
const LONGEST: u64 = 1 << 20;

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(std::io::Error::other(
            "this is longer than 1 MiB, so it is not a board file",
        ));
    }
    Ok(bytes)
}

/// The text of a board file, or an error that says what the bytes are.
fn text(bytes: &[u8]) -> Result<&str, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // UTF-16 without a byte order mark has a zero in every other byte.
    let utf16 = bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || matches!(bytes, [0, letter, ..] | [letter, 0, ..] if *letter != 0);
    if utf16 {
        return Err("the text is UTF-16".to_owned());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("line {line} has a character that is not UTF-8 (Latin-1?)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{gpio, record};
    use crate::{capture, decide};

    fn problems(text: &str) -> Vec<String> {
        Board::parse(text, Path::new("/etc/affectd"))
            .expect_err("there is something wrong with it")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_id_can_stand_in_a_topic() {
        let board = |id| Board::parse(&format!("id = '{id}'\n{CAMERA}"), Path::new("/"));
        assert_eq!(board("Robot_7-b").unwrap().id.as_deref(), Some("Robot_7-b"));
        for bad in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
            let told = board(bad).unwrap_err();
            assert!(
                told[0].to_string().starts_with("1: id: must be 1 to 64"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_problem_names_the_file_and_the_line_of_its_layer() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let source = BoardSource::Layers(Places::below(root.path()));
        let error = Board::load(&source).unwrap_err().to_string();
        assert!(error.contains("etc/affectd/board.toml exists"), "{error}");

        write(
            "usr/share/affectd/board.toml",
            &format!("name = 'all'\n{CAMERA}"),
        );
        write(
            "etc/affectd/board.d/10-events.toml",
            "[events]\nfile = 'here.jsonl'\n",
        );
        write("etc/affectd/board.d/20-name.toml", "name = 'lobby'\n");
        let board = Board::load(&source).unwrap();
        assert_eq!(board.name, "lobby");
        // A relative path starts from the file that names it.
        assert_eq!(
            board.events.unwrap().file.unwrap(),
            root.path().join("etc/affectd/board.d/here.jsonl")
        );
        let text = source.effective().unwrap();
        assert!(text.contains("20-name.toml:1\n"), "{text}");

        write(
            "etc/affectd/board.d/30-site.toml",
            "# A comment.\n[decide]\nenter = 3\n[events]\nsocket = 'here.jsonl'\n",
        );
        let error = Board::load(&source).unwrap_err().to_string();
        let at = root.path().join("etc/affectd/board.d/30-site.toml");
        let expected = format!("\n  {}:3: decide.enter: must be", at.display());
        assert!(error.contains(&expected), "{error}");
        // A clash with a key of another file says which.
        let other = root.path().join("etc/affectd/board.d/10-events.toml");
        let expected = format!("already used by events.file ({}:2)", other.display());
        assert!(error.contains(&expected), "{error}");
        write("etc/affectd/board.d/30-site.toml", "[decide\n");
        let error = Board::load(&source).unwrap_err().to_string();
        assert!(error.contains("30-site.toml:1: "), "{error}");
    }

    const CAMERA: &str = "[capture]\nsource = '/dev/video0'\n";

    #[test]
    fn every_shipped_board_is_valid() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
        let mut count = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let board =
                    Board::load(&BoardSource::File(path)).unwrap_or_else(|error| panic!("{error}"));
                assert!(!board.name.is_empty());
                count += 1;
            }
        }
        assert!(count >= 7, "{count} boards in {}", directory.display());
    }

    #[test]
    fn the_example_shows_every_key() {
        let text = include_str!("../../boards/example.toml");
        let layers = [Layer::of_text(text, Path::new(""))];
        let reader = Reader::new(&layers);
        let table = reader.parse();
        sections::board(reader.root(&table));
        for key in reader.known_keys() {
            let last = key.rsplit('.').next().unwrap();
            let shown = text.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with(&format!("{last} "))
                    || line.contains(&format!(" {last} = "))
                    || line.starts_with(&format!("[{key}]"))
                    || line.starts_with(&format!("[[{key}]]"))
            });
            assert!(shown, "boards/example.toml does not show {key}");
        }
        assert_eq!(reader.into_notes().problems, []);
    }

    #[test]
    fn the_example_gives_the_defaults() {
        let directory = Path::new("/boards");
        let example = Board::parse(include_str!("../../boards/example.toml"), directory).unwrap();
        let least = Board::parse(CAMERA, directory).unwrap();
        assert_eq!(example.detect.detector, least.detect.detector);
        assert_eq!(example.detect.search, least.detect.search);
        assert_eq!(example.track, least.track);
        assert_eq!(example.decide, least.decide);
        assert_eq!(example.baseline, least.baseline);
        assert_eq!(example.facing, Some(decide::FacingOptions::default()));
        assert_eq!(example.classify.interval, least.classify.interval);
        assert_eq!(example.capture.stall_timeout, least.capture.stall_timeout);
        assert_eq!(example.capture.pace, least.capture.pace);
        assert_eq!(example.capture.repeat, least.capture.repeat);
        assert_eq!(example.capture.turn, least.capture.turn);
        assert_eq!(example.process, least.process);
        let fatigue = example.fatigue.unwrap();
        assert_eq!(fatigue.rules, decide::fatigue::Options::default());
        assert_eq!(
            fatigue.record.unwrap().max_bytes,
            record::Options::MAX_BYTES
        );
        let gpio = gpio::Options::default();
        let shown = example.gpio.unwrap();
        assert_eq!(shown.min_pulse, gpio.min_pulse);
        assert_eq!(shown.safe_after, gpio.safe_after);
        assert_eq!(shown.lines.len(), gpio::Role::all().count());
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_lines() {
        let text = "\
[capture]
source = '/dev/video0'
sise = '640x480'
fps = 'fast'
[detect]
scale_factor = 0.9
[decide]
enter = 0.3
[gpio]
[gpio.lines]
hapy = 4
sad = -1
fear = 7
angry = 7
[dispaly]
";
        let told = problems(text);
        let expected = [
            "3: capture.sise: unknown key; did you mean 'size'?",
            "4: capture.fps: must be a number from 0.1 to 1000, is \"fast\"",
            "6: detect.scale_factor: must be a number from 1.01 to 10, is 0.9",
            "7: decide: leave is 0.35 and enter 0.3",
            "9: gpio.chip: is missing",
            "11: gpio.lines.hapy: unknown key; did you mean 'happy'?",
            "12: gpio.lines.sad: -1 is not a line's offset",
            "14: gpio.lines.angry: line 7 is already used by gpio.lines.fear (line 13)",
            "15: dispaly: unknown key; did you mean 'display'?",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told} for {expected}");
        }
    }

    #[test]
    fn what_needs_a_face_net_is_refused_without_one() {
        let told = problems(&format!(
            "{CAMERA}[face]\nmodel = 'none'\neyes = './eyes'\npresence = 0.4\n\
             [facing]\ncone_deg = 90\n[decide.baseline]\nmode = 'auto'\nstrength = 2\n\
             [gpio]\nchip = 'x'\n[gpio.inputs]\nbaseline = 3\n"
        ));
        let expected = [
            "3: face: presence is 0.4 and presence_keep 0.5",
            "5: face.eyes: needs a face net",
            "7: facing: needs the pose that a face net measures",
            "8: facing.cone_deg: must be a number from 5 to 60, is 90",
            "10: decide.baseline.mode: needs a face net to find quiet frames",
            "11: decide.baseline.strength: must be a number from 0 to 1, is 2",
            "15: gpio.inputs.baseline: needs a face net to find quiet frames",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told} for {expected}");
        }
        let told = problems(&format!("{CAMERA}[decide.baseline]\nmode = 'on'\n"));
        assert!(
            told[0].contains("unknown baseline mode 'on'; modes are off, auto and stored"),
            "{told:?}"
        );
        let told = problems(&format!("{CAMERA}[face]\nmodel = 'no_such_net'\n"));
        assert!(
            told[0].starts_with("4: face.model: 'no_such_net' was not found"),
            "{told:?}"
        );
    }

    #[test]
    fn a_syntax_error_names_its_line_and_hides_nothing() {
        let told = problems("[capture]\nsource = '/dev/video0\n[decide]\nenter = 7\n");
        assert!(told[0].starts_with("2: "), "{told:?}");
        assert!(
            told.iter().any(|line| line.starts_with("4: decide.enter")),
            "{told:?}"
        );
    }

    #[test]
    fn types_are_checked() {
        let told = problems("capture = 3\ndisplay = 'x'\nname = false\n");
        assert!(told[0].starts_with("1: capture: must be a section, [capture], is 3"));
        assert!(
            told.iter()
                .any(|l| l.starts_with("2: display: must be a list of sections"))
        );
        assert!(
            told.iter()
                .any(|l| l.starts_with("3: name: must be a string in quotes"))
        );
    }

    #[test]
    fn wrong_fatigue_settings_are_reported_with_their_lines() {
        let section = |text: &str| problems(&format!("{CAMERA}[fatigue]\n{text}\n"));
        for (text, expected) in [
            (
                "watch = 'driver'",
                "4: fatigue.watch: must be \"largest\", \"all\" or \"region\"",
            ),
            (
                "watch = 'region'",
                "4: fatigue.watch: watch is \"region\" but region is missing",
            ),
            (
                "region = [0, 0, 1, 1]",
                "4: fatigue.region: region has no effect",
            ),
            (
                "watch = 'region'\nregion = [0.5, 0, 0.6, 1]",
                "5: fatigue.region: region is [0.5, 0.0, 0.6, 1.0], which reaches out of the picture",
            ),
            (
                "region = [1, 2]",
                "4: fatigue.region: must be a list of 4 numbers",
            ),
            (
                "asleep_ms = 1000",
                "4: fatigue.asleep_ms: asleep_ms is 1000 and microsleep_ms 1500",
            ),
            (
                "microsleep_ms = 5",
                "4: fatigue.microsleep_ms: must be a whole number from 600",
            ),
            (
                "drowsy = 0",
                "4: fatigue.drowsy: must be a number from 0.02 to 0.9",
            ),
            (
                "record_max_bytes = 9",
                "4: fatigue.record_max_bytes: must be a whole number from 65536",
            ),
        ] {
            let told = section(text);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(expected), "{told:?} for {expected}");
        }
        let told = problems(&format!(
            "{CAMERA}[gpio]\nchip = 'x'\n[gpio.lines]\ndrowsy = 4\n"
        ));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("6: gpio.lines.drowsy: needs the section [fatigue]"),
            "{told:?}"
        );
    }

    #[test]
    fn wrong_patterns_are_reported_with_their_lines() {
        let gpio = "[fatigue]\n[gpio]\nchip = 'x'\n[gpio.lines]\nasleep = 5\n";
        for (text, expected) in [
            (
                "asleep = { ms = [[200, 800, 200]] }",
                "9: gpio.patterns.asleep.ms: list 1 has 3 times",
            ),
            (
                "asleep = { ms = [[200, 800], [0, 9]] }",
                "9: gpio.patterns.asleep.ms: list 2 has a time of 0",
            ),
            (
                "asleep = { ms = [] }",
                "9: gpio.patterns.asleep.ms: has no list",
            ),
            (
                "asleep = { ms = [200, 800] }",
                "9: gpio.patterns.asleep.ms: must be a list of lists",
            ),
            (
                "asleep = { rise_after_s = 3 }",
                "9: gpio.patterns.asleep.ms: is missing",
            ),
            (
                "drowsy = { ms = [[200, 800]] }",
                "9: gpio.patterns.drowsy.ms: there is no line for 'drowsy'",
            ),
            (
                "asleap = { ms = [[200, 800]] }",
                "9: gpio.patterns.asleap: unknown key",
            ),
        ] {
            let told = problems(&format!("{CAMERA}{gpio}[gpio.patterns]\n{text}\n"));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(expected), "{told:?} for {expected}");
        }
    }

    #[test]
    fn a_line_for_no_reading_is_safe_when_on() {
        let text = format!(
            "{CAMERA}[fatigue]\n[gpio]\nchip = 'x'\nsafe = 'off'\n[gpio.lines]\nno_reading = 4\nasleep = 5\n"
        );
        let safe = |text: &str| {
            let gpio = Board::parse(text, Path::new("")).unwrap().gpio.unwrap();
            let levels: Vec<_> = gpio
                .lines
                .iter()
                .map(|line| (line.role.name(), line.safe))
                .collect();
            levels
        };
        let (off, on) = (gpio::SafeLevel::Off, gpio::SafeLevel::On);
        assert_eq!(safe(&text), [("asleep", off), ("no_reading", on)]);
        let text = text.replace("no_reading = 4", "no_reading = { line = 4, safe = 'off' }");
        assert_eq!(safe(&text), [("asleep", off), ("no_reading", off)]);
    }

    #[test]
    fn the_picture_can_be_turned() {
        let text = "[capture]\nsource = '/dev/video0'\nrotation = 270\nmirror = true\n";
        let turn = Board::parse(text, Path::new("/")).unwrap().capture.turn;
        assert_eq!((turn.rotation.degrees(), turn.mirror), (270, true));
        for bad in ["45", "-90", "360", "'90'", "true"] {
            let told = problems(&text.replace("270", bad));
            assert_eq!(told.len(), 1, "{told:?}");
            let expected = "3: capture.rotation: must be one of 0, 90, 180, 270";
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }

    #[test]
    fn raw_frames_need_format_and_size() {
        let told = problems("[capture]\nsource = '-'\nformat = 'nv12'\n");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("capture.size: is missing"));
        let told = problems("[capture]\ncommand = ['x']\nformat = 'rgb24'\n");
        assert!(told[0].contains("capture.size: is missing"), "{told:?}");
        let told = problems(
            "[capture]\nsource = '-'\nformat = 'rgb24'\nsize = '640x480'\nstride = 1900\n",
        );
        assert!(told[0].contains("1920 bytes"), "{told:?}");
        let told = problems("[capture]\nsource = '/dev/video0'\nstride = 640\n");
        assert!(told[0].contains("a pipe"), "{told:?}");
        // JPEGs and Y4M contain format and size.
        for text in [
            "source = '-'\nformat = 'mjpg'",
            "source = '-'",
            "command = ['x']",
        ] {
            Board::parse(&format!("[capture]\n{text}\n"), Path::new("")).unwrap();
        }
    }

    #[test]
    fn a_command_replaces_the_source() {
        let directory = Path::new("/etc/affectd");
        let source = |text: &str| {
            let board = Board::parse(&format!("[capture]\n{text}\n"), directory).unwrap();
            board.capture.source
        };
        let command = |words: &[&str]| {
            capture::SourceSpec::Command(words.iter().map(|&word| word.to_owned()).collect())
        };
        assert_eq!(
            source("command = ['rpicam-vid', '-o', '-']"),
            command(&["rpicam-vid", "-o", "-"])
        );
        // The program's path starts from the board file's directory; its
        // arguments stay as they are.
        assert_eq!(
            source("command = ['./camera', './x']"),
            command(&["/etc/affectd/./camera", "./x"])
        );
        for (text, part) in [
            ("command = []", "must name a program"),
            ("command = 'rpicam-vid -o -'", "a list of strings"),
            ("command = ['x', 3]", "a list of strings"),
            ("source = '-'\ncommand = ['x']", "source is also given"),
        ] {
            let told = problems(&format!("[capture]\n{text}\n"));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(part), "{told:?}");
        }
    }

    #[test]
    fn relative_paths_start_from_the_file() {
        let board = Board::parse(
            "[capture]\nsource = 'clip.y4m'\n[events]\nfile = 'log/events.jsonl'\nsocket = '/run/a'\n",
            Path::new("/etc/affectd"),
        )
        .unwrap();
        assert_eq!(
            board.capture.source,
            capture::SourceSpec::Replay("/etc/affectd/clip.y4m".into())
        );
        let events = board.events.unwrap();
        assert_eq!(
            events.file.unwrap(),
            Path::new("/etc/affectd/log/events.jsonl")
        );
        assert_eq!(events.socket.unwrap(), Path::new("/run/a"));
    }

    #[test]
    fn other_encodings_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board.toml");
        let load = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Board::load(&BoardSource::File(path.clone()))
        };
        let utf16 = |first: &[u8], text: &str| {
            let text = text.encode_utf16().flat_map(u16::to_le_bytes);
            [first, &text.collect::<Vec<_>>()].concat()
        };
        for first in [&b"\xff\xfe"[..], &[]] {
            let error = load(&utf16(first, CAMERA)).unwrap_err().to_string();
            assert!(
                error.ends_with("the text is UTF-16; save it as UTF-8 text"),
                "{error}"
            );
        }
        let error = load(b"[capture]\nsource = '/dev/video0'\nname = 'K\xfcche'\n");
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("line 3 has a character that is not UTF-8"),
            "{error}"
        );
        load(&[b"\xef\xbb\xbf", CAMERA.as_bytes()].concat()).unwrap();
        assert!(Board::load(&BoardSource::File("/dev/zero".into())).is_err());
    }

    #[test]
    fn two_parts_of_a_board_cannot_use_the_same_thing() {
        let tft = "[[display]]\nkind = 'st7789'\nchip = 'c'\n";
        for (text, line, key, says) in [
            (
                "[gpio]\nchip = 'c'\n[gpio.lines]\nhappy = 19\n\
                 [[display]]\nkind = 'st7789'\nchip = 'c'\ndc = 19\n",
                10,
                "display.dc",
                "line 19 of GPIO chip 'c' is already used by gpio.lines.happy (line 6)",
            ),
            (
                "[[display]]\nkind = 'ssd1306'\n[[display]]\nkind = 'sh1106'\n",
                5,
                "display.address",
                "address 0x3c on /dev/i2c-1 is already used by display.address (line 3)",
            ),
            (
                &format!("{tft}dc = 1\nreset = 1\n"),
                7,
                "display.reset",
                "line 1 of GPIO chip 'c' is already used by display.dc",
            ),
            (
                &format!("{tft}dc = 1\n{tft}dc = 2\n"),
                7,
                "display.spi",
                "/dev/spidev0.0 is already used by display.spi (line 3)",
            ),
            (
                "[events]\nfile = 'a'\nsocket = './a'\n",
                5,
                "events.socket",
                "is already used by events.file (line 4)",
            ),
            (
                "[[display]]\nkind = 'png'\npath = 'a.png'\n\
                 [[display]]\nkind = 'png'\npath = 'a.png'\n",
                8,
                "display.path",
                "/b/a.png is already used by display.path (line 5)",
            ),
            (
                "[[display]]\nkind = 'framebuffer'\n[[display]]\nkind = 'framebuffer'\n",
                5,
                "display.path",
                "/dev/fb0 is already used",
            ),
            (
                "[watchdog]\ndevice = '/dev/video0'\n",
                4,
                "watchdog.device",
                "/dev/video0 is already used by capture.source (line 2)",
            ),
        ] {
            let problems = Board::parse(&format!("{CAMERA}{text}"), Path::new("/b")).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!((problems[0].line, &*problems[0].key), (line, key));
            assert!(problems[0].message.contains(says), "{problems:?}");
        }
        // The same numbers on another chip or bus are other things.
        let text = "[gpio]\nchip = 'd'\n[gpio.lines]\nhappy = 1\n\
                    [[display]]\nkind = 'ssd1306'\n\
                    [[display]]\nkind = 'ssd1306'\naddress = 0x3d\n\
                    [[display]]\nkind = 'ssd1306'\nbus = '/dev/i2c-2'\n";
        Board::parse(&format!("{CAMERA}{text}{tft}dc = 1\n"), Path::new("/b")).unwrap();
    }

    #[test]
    fn a_socket_path_that_no_socket_can_have_is_told() {
        let long = "x".repeat(110);
        let told = problems(&format!("{CAMERA}[events]\nsocket = '/{long}'\n"));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("4: events.socket: "), "{told:?}");
        assert!(told[0].contains("111 bytes"), "{told:?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Board::load(&BoardSource::File("/nowhere/board.toml".into())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/board.toml"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = Board::parse(&text, Path::new(""));
        }

        #[test]
        fn no_text_like_toml_makes_it_panic(
            text in "(\\[+[a-z.]{1,8}\\]+\n|[a-z_]{1,8} = ['\"0-9xa-z.\\[\\]{}= -]{0,8}\n){0,12}"
        ) {
            let _ = Board::parse(&text, Path::new(""));
        }
    }
}
