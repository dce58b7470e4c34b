//! All stages together on a scripted camera, with pins that remember.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use affectd::assets;
use affectd::capture::{Captured, Frame, Source};
use affectd::decide::{self, Decider};
use affectd::detect::{self, Cascade, Detector, Search, SearchOptions};
use affectd::frame::Timestamp;
use affectd::image::{LumaImage, read_luma};
use affectd::observe::Classifier;
use affectd::output::gpio::{self, Bank, LineId, LineOptions, Lines, Role};
use affectd::output::{Camera, Changes, Output, Report};
use affectd::pipeline::{Pipeline, Stages, Step};
use affectd::track::{self, Tracker};
use embedded_hal::digital::{ErrorType, OutputPin, PinState};

/// What the camera does, call by call.
#[derive(Clone, Copy)]
enum Act {
    Face,
    Nobody,
    Wait,
    Lose,
    End,
}

struct Script {
    acts: std::vec::IntoIter<Act>,
    face: LumaImage,
    nobody: LumaImage,
    millis: u64,
    sequence: u64,
}

impl Script {
    fn new(acts: Vec<Act>) -> Self {
        let photo = |name: &str| {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
            read_luma(directory.join(name)).unwrap()
        };
        Self {
            acts: acts.into_iter(),
            face: photo("astronaut.jpg"),
            nobody: photo("coffee.jpg"),
            millis: 0,
            sequence: 0,
        }
    }
}

impl Source for Script {
    fn next(&mut self, _: Duration) -> Captured<'_> {
        let act = self.acts.next().unwrap_or(Act::End);
        self.millis += 100;
        self.sequence += 1;
        let image = match act {
            Act::Face => &self.face,
            Act::Nobody => &self.nobody,
            Act::Wait => return Captured::Waiting,
            Act::Lose => {
                return Captured::Lost {
                    reason: "unplugged",
                };
            }
            Act::End => return Captured::Ended,
        };
        Captured::Frame(Frame {
            luma: image.view(),
            timestamp: Timestamp::from_millis(self.millis),
            sequence: self.sequence,
        })
    }

    fn description(&self) -> String {
        "script".to_owned()
    }

    fn is_live(&self) -> bool {
        false
    }
}

/// Levels by line.
#[derive(Clone, Default)]
struct Wires(Rc<RefCell<BTreeMap<String, bool>>>);

impl Wires {
    fn high(&self) -> Vec<String> {
        let levels = self.0.borrow();
        let high = levels.iter().filter(|(_, high)| **high);
        high.map(|(name, _)| name.clone()).collect()
    }
}

struct Pin {
    name: String,
    wires: Wires,
}

impl ErrorType for Pin {
    type Error = Infallible;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.set_state(PinState::Low)
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set_state(PinState::High)
    }

    fn set_state(&mut self, state: PinState) -> Result<(), Infallible> {
        let high = state == PinState::High;
        self.wires.0.borrow_mut().insert(self.name.clone(), high);
        Ok(())
    }
}

impl Bank for Wires {
    type Pin = Pin;
    type Error = String;

    fn request(&mut self, line: &LineOptions, level: PinState) -> Result<Pin, String> {
        let mut pin = Pin {
            name: line.role.to_string(),
            wires: self.clone(),
        };
        let Ok(()) = pin.set_state(level);
        Ok(pin)
    }
}

/// An output that keeps what it was told.
#[derive(Clone, Default)]
struct Ear(Rc<RefCell<Vec<String>>>);

impl Output for Ear {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        assert_eq!(
            report.nobody_since.is_some(),
            report.camera == Camera::Streaming && report.faces.is_empty()
        );
        let text = match (report.shutdown, report.camera) {
            (Some(end), _) => format!("goodbye after {}: {}", end.frames, end.reason),
            (None, Camera::Starting) => "starting".to_owned(),
            (None, Camera::Lost { reason }) => format!("lost: {reason}"),
            (None, Camera::Streaming) => match (report.is_new, report.leading()) {
                (true, None) => "nobody".to_owned(),
                (true, Some(_)) => "face".to_owned(),
                (false, None) => "still nobody".to_owned(),
                (false, Some(_)) => "still a face".to_owned(),
            },
        };
        self.0.borrow_mut().push(text);
        Changes::NONE
    }

    fn finish(&mut self) {
        self.0.borrow_mut().push("finished".to_owned());
    }
}

fn stages() -> Stages {
    let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE).unwrap()).unwrap();
    let options = detect::Options {
        min_neighbors: 5,
        min_size: (60, 60),
        ..detect::Options::default()
    };
    Stages::new(
        Search::new(
            Detector::new(cascade, options).unwrap(),
            SearchOptions::default(),
        )
        .unwrap(),
        Tracker::new(track::Options {
            confirm: 1,
            lost_after: Duration::from_millis(150),
            ..track::Options::default()
        }),
        Decider::new(decide::Options::default()),
    )
    .with_observer(
        Classifier::load(&assets::find(assets::DEFAULT_MODEL).unwrap()).unwrap(),
        Duration::ZERO,
    )
}

fn lines(wires: &Wires) -> Lines<Wires> {
    let line = |(offset, role)| LineOptions::new(role, LineId::Offset(offset));
    let options = gpio::Options {
        chip: "wires".to_owned(),
        lines: (0..).zip(Role::all()).map(line).collect(),
        min_pulse: Duration::ZERO,
        ..gpio::Options::default()
    };
    Lines::new(wires.clone(), &options).unwrap()
}

#[test]
fn a_face_reaches_the_pins_and_a_lost_camera_makes_them_safe() {
    let wires = Wires::default();
    let ear = Ear::default();
    let script = Script::new(vec![
        Act::Wait,
        Act::Face,
        Act::Nobody,
        Act::Nobody,
        Act::Face,
        Act::Wait,
        Act::Lose,
        Act::Wait,
        Act::Face,
    ]);
    let mut pipeline = Pipeline::new(
        Box::new(script),
        stages(),
        vec![Box::new(lines(&wires)), Box::new(ear.clone())],
    );
    assert_eq!(wires.high(), [""; 0], "safe at the start");

    let face_line = || wires.high().contains(&"face".to_owned());
    let mut faces = Vec::new();
    let mut steps = Vec::new();
    loop {
        let step = pipeline.step();
        if step == Step::Ended {
            break;
        }
        steps.push(step);
        faces.push(face_line());
        let shown = wires.high().len() - usize::from(face_line());
        let heartbeat = usize::from(wires.high().contains(&"heartbeat".to_owned()));
        assert!(shown - heartbeat <= 1, "one-hot: {:?}", wires.high());
    }
    assert_eq!(
        faces,
        [false, true, true, false, true, true, false, false, true],
        "the face is followed for 150 ms after it was last seen"
    );
    use Step::{Frame, NoFrame};
    assert_eq!(
        steps,
        [
            NoFrame, Frame, Frame, Frame, Frame, NoFrame, NoFrame, NoFrame, Frame
        ]
    );

    pipeline.finish("test");
    assert_eq!(wires.high(), [""; 0], "safe at the end");
    assert_eq!(
        *ear.0.borrow(),
        [
            "starting",
            "face",
            "face",
            "nobody",
            "face",
            "still a face",
            "lost: unplugged",
            "lost: unplugged",
            "face",
            "goodbye after 5: test",
            "finished",
        ]
    );
    assert_eq!(pipeline.stats().frames(), 5);
}
