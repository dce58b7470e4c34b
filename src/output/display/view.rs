//! The contents of the screen, reduced from the loop's reports so that two
//! views are equal exactly if their pictures are equal.
//!
//! Probabilities change a little in every frame. They are rounded to steps of
//! 2%, and a shown value keeps its step until the real value has clearly left
//! it. Otherwise a value at the border between two steps would cause a redraw
//! in every frame.

use std::fmt;

use crate::decide::Label;
use crate::decide::baseline::Progress;
use crate::decide::fatigue::{FatigueDecision, Reason, State};
use crate::observe::expression::Expression;
use crate::output::{Camera, Report};

/// A share of a whole in steps of [`Level::STEP`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// The number of steps from 0 to 1.
    pub const STEPS: u8 = 50;
    /// One step, as a share.
    pub const STEP: f32 = 1.0 / Self::STEPS as f32;

    /// The nearest step; values outside of 0 to 1 are clamped, and NaN gives 0.
    #[must_use]
    pub fn nearest(share: f32) -> Self {
        // NaN becomes 0 by the cast, which saturates.
        Self((share.clamp(0.0, 1.0) * f32::from(Self::STEPS)).round() as u8)
    }

    /// The level to show for a share while `self` is shown: `self`, unless the
    /// share differs by more than three quarters of a step.
    #[must_use]
    pub fn follow(self, share: f32) -> Self {
        if (share - self.share()).abs() <= 0.75 * Self::STEP {
            self
        } else {
            Self::nearest(share)
        }
    }

    /// 0 to 1.
    #[must_use]
    pub fn share(self) -> f32 {
        f32::from(self.0) * Self::STEP
    }

    /// 0 to 100.
    #[must_use]
    pub fn percent(self) -> u32 {
        u32::from(self.0) * 100 / u32::from(Self::STEPS)
    }
}

/// A level for each class, in the order of [`Expression::ALL`].
pub type Levels = [Level; Expression::COUNT];

/// How far a head is turned to the side and up or down, in steps of
/// [`Turn::STEP`] degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Positive: to the picture's right.
    yaw: i8,
    /// Positive: up.
    pitch: i8,
}

impl Turn {
    /// Degrees a step.
    pub const STEP: f32 = 15.0;
    /// The largest number of steps in each direction; a head that is turned
    /// further is shown with this number.
    pub const STEPS: i8 = 3;

    /// The turn to show for a pose in degrees when `self` is shown: each angle
    /// keeps its step until the pose has clearly left it.
    #[must_use]
    pub fn follow(self, yaw: f32, pitch: f32) -> Self {
        let follow = |shown: i8, angle: f32| {
            let steps = angle / Self::STEP;
            if (steps - f32::from(shown)).abs() <= 0.75 {
                return shown;
            }
            // What is no number becomes 0 by the cast.
            steps
                .round()
                .clamp(-f32::from(Self::STEPS), f32::from(Self::STEPS)) as i8
        };
        Self {
            yaw: follow(self.yaw, yaw),
            pitch: follow(self.pitch, pitch),
        }
    }

    /// How far the features of a drawn face move, in parts of its radius, to the
    /// right and down.
    #[must_use]
    pub fn shift(self) -> (f32, f32) {
        let part = |steps: i8| 0.07 * f32::from(steps);
        (part(self.yaw), -part(self.pitch))
    }
}

/// A short text in printable ASCII, which is what the fonts have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Note {
    bytes: [u8; Self::LENGTH],
    length: u8,
}

impl Note {
    /// The largest number of characters; longer texts are cut and end in "...".
    pub const LENGTH: usize = 96;

    /// Cuts and cleans a text: characters that are not printable ASCII become
    /// '?', and any white space becomes one space.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut note = Self {
            bytes: [0; Self::LENGTH],
            length: 0,
        };
        let mut length = 0;
        for character in text.trim().chars() {
            let byte = match character {
                ' '..='~' => character as u8,
                _ if character.is_whitespace() => b' ',
                '\u{2018}' | '\u{2019}' => b'\'',
                '\u{201c}' | '\u{201d}' => b'"',
                '\u{2013}' | '\u{2014}' => b'-',
                _ => b'?',
            };
            if byte == b' ' && length > 0 && note.bytes[length - 1] == b' ' {
                continue;
            }
            if length == Self::LENGTH {
                note.bytes[Self::LENGTH - 3..].fill(b'.');
                break;
            }
            note.bytes[length] = byte;
            length += 1;
        }
        note.length = length as u8;
        note
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// No frame yet.
    Starting,
    /// The camera is gone.
    NoCamera { reason: Note },
    /// The camera is closed for a pause.
    Paused,
    /// Frames come, without a face.
    NoFace,
    /// A face, but no expression passes its threshold; `confidence` is that of
    /// the most probable one. `others` counts further faces.
    Uncertain {
        confidence: Level,
        levels: Levels,
        others: u8,
        turn: Turn,
    },
    /// A stable expression of the leading face.
    Expression {
        expression: Expression,
        confidence: Level,
        levels: Levels,
        others: u8,
        turn: Turn,
    },
    /// A baseline is recorded: the whole seconds that it still takes, and what
    /// the person should do.
    Recording { seconds: u8, advice: Note },
    /// A baseline was recorded.
    Recorded,
    /// No baseline was recorded, and why.
    NotRecorded { advice: Note },
    /// The eyes of the watched person, where eyes are watched. What is unknown is
    /// `None`: it is shown as nothing, not as 0.
    Eyes {
        state: State,
        /// Why there is no reading.
        reason: Option<Reason>,
        /// How far the left and the right eye are open.
        openness: [Option<Level>; 2],
        /// The share of the last minute with shut lids.
        perclos: Option<Level>,
    },
    /// affectd has ended.
    Stopped,
}

/// A view, and the mark over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub view: View,
    /// Whether somebody sees the camera's pictures by the preview.
    pub is_watched: bool,
}

impl Shown {
    /// Before the first report.
    pub const FIRST: Self = Self {
        view: View::Starting,
        is_watched: false,
    };
}

/// Turns reports into views; remembers the levels shown last.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    confidence: Level,
    levels: Levels,
    turn: Turn,
    openness: [Option<Level>; 2],
    perclos: Option<Level>,
}

impl Viewer {
    /// The view of a report, which shows the watched eyes, or else the leading
    /// face.
    pub fn view(&mut self, report: &Report<'_>) -> View {
        match report.camera {
            Camera::Starting => return View::Starting,
            Camera::Lost { reason } => {
                return View::NoCamera {
                    reason: Note::new(reason),
                };
            }
            Camera::Paused { .. } => return View::Paused,
            Camera::Streaming => {}
        }
        if let Some(progress) = report.recording {
            return recording(progress);
        }
        if let Some(fatigue) = report.fatigue {
            return self.view_of_eyes(fatigue.decision);
        }
        let Some(face) = report.leading() else {
            return View::NoFace;
        };
        let decision = &face.decision.expression;
        for (level, share) in self.levels.iter_mut().zip(decision.probabilities.0) {
            *level = level.follow(share);
        }
        self.confidence = self.confidence.follow(decision.confidence);
        self.turn = match face.observed.face {
            Some(seen) => self.turn.follow(seen.yaw, seen.pitch),
            None => Turn::default(),
        };
        let others = u8::try_from(report.faces.len() - 1).unwrap_or(u8::MAX);
        match decision.label {
            Label::Uncertain => View::Uncertain {
                confidence: self.confidence,
                levels: self.levels,
                others,
                turn: self.turn,
            },
            Label::Expression(expression) => View::Expression {
                expression,
                confidence: self.confidence,
                levels: self.levels,
                others,
                turn: self.turn,
            },
        }
    }

    fn view_of_eyes(&mut self, decision: &FatigueDecision) -> View {
        let is_empty = match decision.state {
            State::Nobody => true,
            // Before the first face.
            State::Calibrating => decision.track.is_none(),
            _ => false,
        };
        if is_empty {
            return View::NoFace;
        }
        let follow = |level: &mut Option<Level>, share: Option<f32>| {
            *level = share.map(|share| {
                level.map_or_else(|| Level::nearest(share), |level| level.follow(share))
            });
        };
        for (level, share) in self.openness.iter_mut().zip(decision.openness) {
            follow(level, share);
        }
        follow(&mut self.perclos, decision.perclos);
        View::Eyes {
            state: decision.state,
            reason: decision.reason,
            openness: self.openness,
            perclos: self.perclos,
        }
    }
}

/// The view of a recording.
fn recording(progress: &Progress) -> View {
    let advice = Note::new(progress.advice());
    match progress {
        Progress::Running { left, .. } => View::Recording {
            // The last second is 1, as in a countdown.
            seconds: u8::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u8::MAX),
            advice,
        },
        Progress::Done(_) => View::Recorded,
        Progress::Failed(_) => View::NotRecorded { advice },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{ExpressionDecision, FaceDecision};
    use crate::frame::{Rect, Timestamp};
    use crate::observe::Observations;
    use crate::observe::expression::Probabilities;
    use crate::output::{FaceReport, FatigueReport};
    use crate::track::Slot;

    #[test]
    fn levels_stay_until_clearly_left() {
        let shown = Level::nearest(0.5);
        assert_eq!(shown.percent(), 50);
        assert_eq!(shown.follow(0.514), shown);
        assert_eq!(shown.follow(0.486), shown);
        assert_eq!(shown.follow(0.516).percent(), 52);
        assert_eq!(shown.follow(1.0).percent(), 100);
        assert_eq!(Level::nearest(f32::NAN).percent(), 0);
        assert_eq!(Level::nearest(7.0).percent(), 100);
        assert_eq!(Level::default().follow(f32::NAN).percent(), 0);
    }

    #[test]
    fn small_changes_do_not_change_the_view() {
        let mut viewer = Viewer::default();
        let mut view_of = |happy: f32| {
            let mut probabilities = [(1.0 - happy) / 6.0; 7];
            probabilities[3] = happy;
            let face = FaceReport {
                id: 1,
                slot: Slot::default(),
                rect: Rect::new(0, 0, 10, 10),
                searched: Timestamp::default(),
                observed: Observations::default(),
                distance: None,
                decision: FaceDecision {
                    expression: ExpressionDecision {
                        label: Label::Expression(Expression::Happy),
                        confidence: happy,
                        probabilities: Probabilities(probabilities),
                        since: Timestamp::default(),
                    },
                    baseline: None,
                    facing: None,
                },
            };
            viewer.view(&Report {
                camera: Camera::Streaming,
                faces: &[face],
                ..Report::default()
            })
        };
        // 0.81 lies on the border between 80% and 82%.
        let shown = view_of(0.8099);
        for _ in 0..3 {
            assert_eq!(view_of(0.8101), shown);
            assert_eq!(view_of(0.8099), shown);
        }
        assert_ne!(view_of(0.9), shown);
    }

    #[test]
    fn a_turn_stays_until_clearly_left() {
        let ahead = Turn::default();
        assert_eq!(ahead.follow(11.0, -11.0), ahead);
        let turned = ahead.follow(-20.0, 32.0);
        assert_eq!(turned, Turn { yaw: -1, pitch: 2 });
        let (right, down) = turned.shift();
        assert!(right < 0.0 && down < 0.0);
        assert_eq!(turned.follow(-5.0, 40.0), turned);
        assert_eq!(turned.follow(-3.0, 90.0), Turn { yaw: 0, pitch: 3 });
        assert_eq!(turned.follow(f32::NAN, f32::NAN), ahead);
    }

    #[test]
    fn eyes_are_shown_as_far_as_they_are_known() {
        let mut viewer = Viewer::default();
        let mut view_of = |decision: &FatigueDecision| {
            viewer.view(&Report {
                camera: Camera::Streaming,
                fatigue: Some(FatigueReport {
                    decision,
                    events: &[],
                    samples: &[],
                    is_acknowledged: false,
                    took_acknowledgement: false,
                    is_new: true,
                }),
                ..Report::default()
            })
        };
        let mut decision = FatigueDecision::default();
        assert_eq!(view_of(&decision), View::NoFace);
        decision.track = Some(1);
        decision.openness = [Some(0.903), None];
        let shown = View::Eyes {
            state: State::Calibrating,
            reason: None,
            openness: [Some(Level::nearest(0.9)), None],
            perclos: None,
        };
        assert_eq!(view_of(&decision), shown);
        // A little more or less is not drawn anew.
        decision.openness = [Some(0.912), None];
        assert_eq!(view_of(&decision), shown);
        let lost = FatigueDecision {
            track: Some(1),
            state: State::NoReading,
            reason: Some(Reason::EyesHidden),
            ..FatigueDecision::default()
        };
        let unknown = View::Eyes {
            state: State::NoReading,
            reason: Some(Reason::EyesHidden),
            openness: [None; 2],
            perclos: None,
        };
        assert_eq!(view_of(&lost), unknown);
        let gone = FatigueDecision {
            state: State::Nobody,
            ..lost
        };
        assert_eq!(view_of(&gone), View::NoFace);
    }

    #[test]
    fn notes_are_short_ascii() {
        assert_eq!(
            Note::new(" gone:\n\t /dev/video0 ").as_str(),
            "gone: /dev/video0"
        );
        assert_eq!(Note::new("caf\u{e9} \u{2019}s").as_str(), "caf? 's");
        let long = Note::new(&"x".repeat(500));
        assert_eq!(long.as_str().len(), Note::LENGTH);
        assert!(long.as_str().ends_with("x..."));
        assert_eq!(Note::new("").as_str(), "");
    }
}
