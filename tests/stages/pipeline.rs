//! All stages together on a scripted camera, with pins that record their
//! levels.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use affectd::assets;
use affectd::capture::{Captured, Frame, Source};
use affectd::decide::{self, Decider};
use affectd::detect::{self, Cascade, Detector, Search, SearchOptions};
use affectd::frame::{LumaView, Rect, Timestamp};
use affectd::image::{LumaImage, read_luma};
use affectd::observe::expression::Probabilities;
use affectd::observe::{
    Classifier, ClassifyError, FaceBox, FaceObservation, Observations, Observer,
};
use affectd::output::gpio::{self, Bank, LineId, LineOptions, Lines, Role};
use affectd::output::{Camera, Changes, Output, PausedBy, Report};
use affectd::pipeline::{Pipeline, Stages, Step};
use affectd::report::CameraState;
use affectd::track::{self, Tracker};
use embedded_hal::digital::{ErrorType, InputPin, OutputPin, PinState};

/// The camera's behaviour, call by call.
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

impl InputPin for Pin {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(self
            .wires
            .0
            .borrow()
            .get(&self.name)
            .copied()
            .unwrap_or(false))
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(!self.is_high()?)
    }
}

impl Bank for Wires {
    type Pin = Pin;
    type Input = Pin;
    type Error = String;

    fn request(&mut self, line: &LineOptions, level: PinState) -> Result<Pin, String> {
        let mut pin = Pin {
            name: line.role.to_string(),
            wires: self.clone(),
        };
        let Ok(()) = pin.set_state(level);
        Ok(pin)
    }

    fn request_input(&mut self, line: &LineId, _: &str) -> Result<Pin, String> {
        Ok(Pin {
            name: line.to_string(),
            wires: self.clone(),
        })
    }
}

/// An output that records its reports.
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
            (None, Camera::Paused { .. }) => "paused".to_owned(),
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
    stages_without_observers().with_observer(
        Classifier::load(&assets::find(assets::DEFAULT_MODEL).unwrap()).unwrap(),
        Duration::ZERO,
    )
}

fn stages_without_observers() -> Stages {
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
}

fn lines(wires: &Wires) -> Lines<Wires> {
    let line = |(offset, role)| LineOptions::new(role, LineId::Offset(offset));
    let options = gpio::Options {
        chip: "wires".to_owned(),
        lines: (0..)
            .zip(Role::all().filter(|role| !matches!(role, Role::Fatigue(_))))
            .map(line)
            .collect(),
        min_pulse: Duration::ZERO,
        ..gpio::Options::default()
    };
    Lines::new(wires.clone(), &options).unwrap()
}

/// An output whose button for a baseline is pressed in the second report.
struct Pressed(u32);

impl Output for Pressed {
    fn update(&mut self, _: &Report<'_>) -> Changes {
        self.0 += 1;
        Changes {
            asks_baseline: self.0 == 2,
            ..Changes::NONE
        }
    }

    fn finish(&mut self) {}
}

#[test]
fn a_pressed_button_asks_for_one_baseline_until_that_is_taken() {
    let script = Script::new(vec![Act::Nobody, Act::Nobody, Act::Nobody, Act::Nobody]);
    let outputs: Vec<Box<dyn Output>> = vec![Box::new(Pressed(0)), Box::new(Ear::default())];
    let mut pipeline = Pipeline::new(Box::new(script), stages_without_observers(), outputs);
    pipeline.step();
    assert!(!pipeline.take_baseline_request());
    pipeline.step();
    pipeline.step();
    assert!(pipeline.take_baseline_request());
    pipeline.step();
    assert!(!pipeline.take_baseline_request());
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

/// Replaces the face net: gives the answer that a test has set, and records the
/// boxes that it gets.
#[derive(Clone, Default)]
struct Verifier {
    presence: Arc<Mutex<f32>>,
    asked: Arc<Mutex<Vec<FaceBox>>>,
}

impl Observer for Verifier {
    fn name(&self) -> &str {
        "verifier"
    }

    fn observe(
        &mut self,
        _: &LumaView<'_>,
        face: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError> {
        self.asked.lock().unwrap().push(face);
        // The face has moved by 4 pixels since it was found or predicted.
        let centre = (face.rect.centre().0 + 4.0, face.rect.centre().1);
        let presence = *self.presence.lock().unwrap();
        seen.face = Some(FaceObservation {
            roll: 20.0,
            ..FaceObservation::at(centre, f64::from(face.rect.width), presence)
        });
        Ok(())
    }
}

/// Counts how often it is asked.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<u32>>);

impl Observer for Counter {
    fn name(&self) -> &str {
        "counter"
    }

    fn observe(
        &mut self,
        _: &LumaView<'_>,
        _: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError> {
        *self.0.lock().unwrap() += 1;
        seen.expression = Some(Probabilities::UNIFORM);
        Ok(())
    }
}

/// The leading face's id and box, if there is a face.
type Leading = Option<(u32, Rect)>;

/// Keeps the faces of new frames, and the counters of the last report.
#[derive(Clone, Default)]
struct Record {
    faces: Rc<RefCell<Vec<Leading>>>,
    counters: Rc<RefCell<Vec<(String, u64)>>>,
}

impl Output for Record {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        if let Some(shutdown) = report.shutdown {
            let counters = shutdown.counters.iter();
            *self.counters.borrow_mut() = counters.map(|c| (c.0.to_owned(), c.1)).collect();
        } else if report.is_new {
            let face = report.leading().map(|face| (face.id, face.rect));
            self.faces.borrow_mut().push(face);
        }
        Changes::NONE
    }
}

#[test]
fn a_box_that_the_verifier_rejects_is_not_a_face() {
    let (verifier, counter, record) = <(Verifier, Counter, Record)>::default();
    *verifier.presence.lock().unwrap() = 0.79;
    let stages = stages_without_observers()
        .with_verifier(verifier.clone())
        .with_observer(counter.clone(), Duration::ZERO);
    let script = Script::new(vec![Act::Face; 3]);
    let mut pipeline = Pipeline::new(Box::new(script), stages, vec![Box::new(record.clone())]);
    while pipeline.step() != Step::Ended {}
    pipeline.finish("test");
    assert_eq!(*record.faces.borrow(), [None; 3]);
    assert_eq!(verifier.asked.lock().unwrap().len(), 3);
    assert_eq!(*counter.0.lock().unwrap(), 0);
    let expected = [
        ("frames_dropped", 0),
        ("frames_broken", 0),
        ("frames_dark", 0),
        ("not_a_face", 3),
    ];
    assert_eq!(
        *record.counters.borrow(),
        expected.map(|(name, count)| (name.to_owned(), count))
    );
}

#[test]
fn the_verifiers_result_reaches_the_tracker_with_the_next_frame() {
    let (verifier, counter, record) = <(Verifier, Counter, Record)>::default();
    *verifier.presence.lock().unwrap() = 0.9;
    let stages = stages_without_observers()
        .with_verifier(verifier.clone())
        .with_observer(counter.clone(), Duration::ZERO);
    let mut acts = vec![Act::Face];
    acts.extend([Act::Nobody; 9]);
    let script = Script::new(acts);
    let mut pipeline = Pipeline::new(Box::new(script), stages, vec![Box::new(record.clone())]);
    for _ in 0..6 {
        pipeline.step();
    }
    // The detector lost the face after the first frame, and the tracker would
    // have ended it after 150 ms; the verifier follows it.
    let faces = record.faces.borrow().clone();
    let xs: Vec<_> = faces
        .iter()
        .map(|face| face.unwrap().1.x - faces[0].unwrap().1.x)
        .collect();
    assert!(faces.iter().all(|face| face.unwrap().0 == 1));
    assert!(xs.windows(2).all(|pair| pair[0] < pair[1]), "{xs:?}");
    // Once as a candidate, upright, and once per frame, turned by the last
    // roll.
    let rolls: Vec<_> = verifier
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|face| face.roll)
        .collect();
    assert_eq!(rolls, [0.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0]);
    assert_eq!(*counter.0.lock().unwrap(), 6);

    // The box drifted onto the background: the face ends, and the other
    // observers do not run on it.
    *verifier.presence.lock().unwrap() = 0.4;
    for _ in 0..4 {
        pipeline.step();
    }
    let there: Vec<_> = record.faces.borrow()[6..]
        .iter()
        .map(Option::is_some)
        .collect();
    assert_eq!(there, [true, false, false, false]);
    assert_eq!(*counter.0.lock().unwrap(), 6);
}

#[test]
fn a_pause_makes_pins_safe_and_looks_at_no_frame() {
    let wires = Wires::default();
    let ear = Ear::default();
    let script = Script::new(vec![Act::Face, Act::Face, Act::Nobody]);
    let mut pipeline = Pipeline::new(
        Box::new(script),
        stages(),
        vec![Box::new(lines(&wires)), Box::new(ear.clone())],
    );
    assert_eq!(pipeline.step(), Step::Frame);
    let before = wires.high();
    assert!(before.contains(&"face".to_owned()), "{before:?}");
    let by = PausedBy {
        control: true,
        gpio: false,
    };
    pipeline.pause(by);
    assert_eq!(wires.high(), ["paused"]);
    assert_eq!(pipeline.camera(), CameraState::Paused);
    for _ in 0..3 {
        assert_eq!(pipeline.step(), Step::NoFrame);
    }
    // Suspending the lines does not end the pause.
    pipeline.suspend();
    assert_eq!(wires.high(), ["paused"]);
    assert_eq!(pipeline.stats().frames(), 1);
    assert!(pipeline.is_waiting_for_camera());
    pipeline.pause(PausedBy::default());
    assert_eq!(wires.high(), [""; 0]);
    assert_eq!(pipeline.camera(), CameraState::Starting);
    // The recording continues at the same place.
    assert_eq!(pipeline.step(), Step::Frame);
    assert_eq!(wires.high(), before);
    assert_eq!(pipeline.step(), Step::Frame);
    assert_eq!(
        *ear.0.borrow(),
        [
            "face", "paused", "paused", "paused", "paused", "paused", "starting", "face", "face"
        ]
    );
}
