//! The board file: what is wired where, and how the stages are set, in a few
//! lines of TOML.
//!
//! Each key is optional unless said otherwise, unknown keys are errors, and all
//! problems are reported at once with their lines. `boards/example.toml` shows
//! and explains every key; a test holds it against this code.
//!
//! Relative paths are taken from the board file's directory, because a daemon's
//! working directory is nobody's choice.

mod displays;
mod reader;
mod sections;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{realtime, thermal, watchdog};
use crate::output::{display, events, gpio};
use crate::{capture, decide, detect, track};
pub use reader::Problem;
use reader::Reader;

/// A board file that was read and found good.
#[derive(Clone, Debug)]
pub struct Board {
    /// A name for people: logs, the display's first picture.
    pub name: String,
    pub capture: capture::Options,
    pub detect: DetectOptions,
    pub track: track::Options,
    pub classify: ClassifyOptions,
    pub decide: decide::Options,
    pub gpio: Option<gpio::Options>,
    pub displays: Vec<display::Options>,
    pub events: Option<events::Options>,
    pub thermal: Option<thermal::Options>,
    pub watchdog: Option<watchdog::Options>,
    pub process: realtime::Options,
}

/// The board file's `[detect]`.
#[derive(Clone, Debug)]
pub struct DetectOptions {
    /// The cascade's XML file.
    pub cascade: PathBuf,
    pub detector: detect::Options,
    pub search: detect::SearchOptions,
}

/// The board file's `[classify]`.
#[derive(Clone, Debug)]
pub struct ClassifyOptions {
    /// The model's ONNX file; its manifest lies beside it.
    pub model: PathBuf,
    /// The least time between two looks at the same face; zero looks at it on
    /// every frame.
    pub interval: Duration,
}

/// A board file that cannot be used.
#[derive(Debug)]
pub enum BoardError {
    /// The file could not be read.
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// What is wrong with it, all of it, by line.
    Problems {
        path: PathBuf,
        problems: Vec<Problem>,
    },
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                write!(f, "board file {}: {source}", path.display())
            }
            Self::Problems { path, problems } => {
                write!(f, "board file {} cannot be used:", path.display())?;
                for problem in problems {
                    write!(f, "\n  {}:{problem}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for BoardError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Problems { .. } => None,
        }
    }
}

impl Board {
    /// Reads and checks a board file, without touching hardware.
    ///
    /// # Errors
    /// A file that cannot be read, or everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, BoardError> {
        let text = std::fs::read_to_string(path).map_err(|source| BoardError::Read {
            path: path.to_owned(),
            source,
        })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory).map_err(|problems| BoardError::Problems {
            path: path.to_owned(),
            problems,
        })
    }

    /// Checks a board file's text; relative paths in it start from `directory`.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line.
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
        let reader = Reader::new(text);
        let table = reader.parse();
        let board = sections::board(reader.root(&table), directory);
        let problems = reader.into_problems();
        if problems.is_empty() {
            Ok(board)
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        Board::parse(text, Path::new("/etc/affectd"))
            .expect_err("there is something wrong with it")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const CAMERA: &str = "[capture]\nsource = '/dev/video0'\n";

    #[test]
    fn every_shipped_board_is_good() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
        let mut count = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let board = Board::load(&path).unwrap_or_else(|error| panic!("{error}"));
                assert!(!board.name.is_empty());
                count += 1;
            }
        }
        assert!(count >= 7, "{count} boards in {}", directory.display());
    }

    #[test]
    fn the_example_shows_every_key() {
        let text = include_str!("../../boards/example.toml");
        let reader = Reader::new(text);
        let table = reader.parse();
        sections::board(reader.root(&table), Path::new(""));
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
        assert_eq!(reader.into_problems(), []);
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
        assert_eq!(example.classify.interval, least.classify.interval);
        assert_eq!(example.capture.stall_timeout, least.capture.stall_timeout);
        assert_eq!(example.capture.pace, least.capture.pace);
        assert_eq!(example.capture.repeat, least.capture.repeat);
        assert_eq!(example.process, least.process);
        let gpio = gpio::Options::default();
        let shown = example.gpio.unwrap();
        assert_eq!(shown.min_pulse, gpio.min_pulse);
        assert_eq!(shown.safe_after, gpio.safe_after);
        assert_eq!(shown.lines.len(), gpio::Role::all().count());
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_lines() {
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
            "6: detect.scale_factor: must be a number from 1.01 to 4, is 0.9",
            "7: decide: leave is 0.35 and enter 0.3",
            "9: gpio.chip: is missing",
            "10: gpio.lines: line 7 is given to both angry and fear",
            "11: gpio.lines.hapy: unknown key; did you mean 'happy'?",
            "12: gpio.lines.sad: -1 is no line's offset",
            "15: dispaly: unknown key; did you mean 'display'?",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told} for {expected}");
        }
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
    fn what_standard_input_needs_is_asked_for() {
        let told = problems("[capture]\nsource = '-'\n");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("capture.format: is missing"));
        assert!(told[1].contains("capture.size: is missing"));
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
    fn a_missing_file_is_named() {
        let error = Board::load(Path::new("/nowhere/board.toml")).unwrap_err();
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
