//! The stages between the source and the outputs, in their order.

use std::time::{Duration, Instant};

use super::arena::ArenaTooSmall;
use super::stats::{Stage, Stats};
use crate::capture::Frame;
use crate::decide::Decider;
use crate::decide::baseline::{Obstacle, Present, Progress, Recording, Rest};
use crate::decide::fatigue::{self, EyeSample, FaceSample, Fatigue};
use crate::detect::{Expected, Search};
use crate::fault::FaultLog;
use crate::frame::{LumaView, Rect, Timestamp};
use crate::host::memory;
use crate::image::jpeg;
use crate::observe::{
    ClassifyError, FaceBox, FaceObservation, FieldOfView, Observations, Observer,
};
use crate::report::{FaceReport, FatigueReport};
use crate::track::{BySlot, FaceKey, Prediction, SLOTS, Track, Tracker};

/// Finds, follows, observes and decides on the faces of each frame.
///
/// Only here a result of a later stage goes back to an earlier one: the
/// verifier's result for a face reaches the tracker as a [`Prediction`] with
/// the next frame.
pub struct Stages {
    search: Search,
    tracker: Tracker,
    verifier: Option<Watch>,
    observers: Vec<Watch>,
    decider: Decider,
    field_of_view: Option<FieldOfView>,
    eyes: Option<Eyes>,
    recording: Option<Recording>,
    /// The outcome of a recording, until it is taken.
    recorded: Option<Result<Rest, Obstacle>>,
    /// The frame size that the observers have their buffers for.
    reserved_for: (u32, u32),
    expected: Vec<Expected>,
    /// The verifier's results for the faces of the last frame.
    learned: BySlot<Option<Prediction>>,
    faces: Vec<FaceReport>,
}

impl Stages {
    /// Stages without observers, before the first frame.
    #[must_use]
    pub fn new(search: Search, tracker: Tracker, decider: Decider) -> Self {
        Self {
            search,
            tracker,
            verifier: None,
            observers: Vec::new(),
            decider,
            field_of_view: None,
            eyes: None,
            recording: None,
            recorded: None,
            reserved_for: (0, 0),
            expected: Vec::with_capacity(SLOTS),
            learned: BySlot::default(),
            faces: Vec::with_capacity(SLOTS),
        }
    }

    /// Adds an observer of every face that counts. `interval` is the shortest
    /// time between two observations of the same face; zero: in every frame in
    /// which it is found.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer + 'static, interval: Duration) -> Self {
        self.observers
            .push(Watch::new(Box::new(observer), interval));
        self
    }

    /// Uses an observer that fills in [`Observations::face`] as the verifier.
    /// It checks each box before the box becomes a face. Then it observes each
    /// face that counts in every frame, before the other observers. They get
    /// the face's place from the verifier, and do not run on a box that it
    /// rejects. The detector does not search around the faces that it follows.
    #[must_use]
    pub fn with_verifier(mut self, verifier: impl Observer + 'static) -> Self {
        self.verifier = Some(Watch::new(Box::new(verifier), Duration::ZERO));
        self
    }

    /// Also estimates the distance of the faces that the verifier sees.
    #[must_use]
    pub const fn with_field_of_view(mut self, view: FieldOfView) -> Self {
        self.field_of_view = Some(view);
        self
    }

    /// Also watches the eyes of the followed faces, from the verifier's
    /// results.
    #[must_use]
    pub fn with_fatigue(mut self, options: fatigue::Options) -> Self {
        self.eyes = Some(Eyes::new(options));
        self
    }

    /// Boxes that the verifier rejected since the start; `None` without a
    /// verifier.
    #[must_use]
    pub fn refused(&self) -> Option<u64> {
        self.verifier.as_ref().map(|_| self.tracker.refused())
    }

    /// Does the work of the worst frame of this size once: decodes a JPEG and
    /// runs every network. After this every buffer of the detector and the
    /// observers has its final size.
    ///
    /// # Errors
    /// The frame arena is too small for it.
    pub fn rehearse(&mut self, width: u32, height: u32) -> Result<(), ArenaTooSmall> {
        let before = memory::usage();
        self.search.reserve(width, height);
        self.reserve_observers((width, height));
        let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
        let mut pixels = Vec::new();
        let picture = jpeg::blank(side(width), side(height));
        // A size that no JPEG can have is not a worse case, and no network
        // refuses a gray picture.
        if jpeg::luma(&picture, &mut pixels).is_ok()
            && let Ok(view) = LumaView::new(&pixels, width, height, width as usize)
        {
            for watch in self.verifier.iter_mut().chain(&mut self.observers) {
                let face = FaceBox::upright(view.bounds());
                let _ = watch
                    .observer
                    .observe(&view, face, &mut Observations::default());
            }
        }
        let usage = memory::usage();
        // Only the overflows of this thread, because the loop may run
        // meanwhile.
        if usage.arena > 0 && usage.overflows_here > before.overflows_here {
            return Err(ArenaTooSmall {
                width,
                height,
                usage,
            });
        }
        Ok(())
    }

    /// Takes a frame through all stages. Returns the faces that count, the
    /// leading one first.
    pub fn look(&mut self, frame: &Frame<'_>, stats: &mut Stats) -> &[FaceReport] {
        let now = frame.timestamp;
        let luma = &frame.luma;
        self.reserve_observers((luma.width(), luma.height()));
        self.follow(luma, now, stats);

        let counting = self.tracker.counting();
        for watch in &mut self.observers {
            watch
                .last_observed
                .keep_only(counting.iter().map(Track::key));
        }
        self.faces.clear();
        self.decider
            .begin_frame(now, counting.iter().map(Track::key));
        let mut deciding = Duration::ZERO;
        for index in 0..counting.len() {
            let track = self.tracker.counting()[index];
            let (observed, rect) = self.observe(luma, &track, now, stats);
            let start = Instant::now();
            let decision = self.decider.decide(track.key(), &observed);
            let size = (luma.width(), luma.height());
            let distance = self.field_of_view.zip(observed.face);
            let distance = distance.and_then(|(view, face)| view.distance(face.side, size));
            deciding += start.elapsed();
            self.faces.push(FaceReport {
                id: track.id,
                slot: track.slot,
                rect,
                searched: track.searched,
                observed,
                distance,
                decision,
            });
        }
        stats.note(Stage::Decide, deciding);
        if self.eyes.is_some() {
            self.watch_eyes(luma, now, stats);
        }
        if self.recording.is_some() {
            self.record(now);
        }
        &self.faces
    }

    /// Begins to record the baseline of the person in front of the camera.
    pub fn record_baseline(&mut self) {
        self.recording = Some(Recording::default());
        self.recorded = None;
    }

    /// The progress of the recording of a baseline.
    #[must_use]
    pub const fn recording(&self) -> Option<&Progress> {
        match &self.recording {
            Some(recording) => Some(recording.progress()),
            None => None,
        }
    }

    /// Returns the outcome of a recording that has ended, once.
    pub const fn take_recorded(&mut self) -> Option<Result<Rest, Obstacle>> {
        self.recorded.take()
    }

    /// Continues the recording of a baseline.
    fn record(&mut self, now: Timestamp) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        // Faces that do not count by the policy are people, too.
        let present = match (self.tracker.tracks(), self.faces.as_slice()) {
            ([], _) => Present::Nobody,
            ([_], [face]) => Present::One(face.key(), &face.observed),
            _ => Present::Several,
        };
        let was_running = matches!(recording.progress(), Progress::Running { .. });
        if !recording.look(now, present) {
            self.recording = None;
        } else if was_running {
            self.recorded = match *recording.progress() {
                Progress::Running { .. } => None,
                Progress::Failed(obstacle) => Some(Err(obstacle)),
                Progress::Done(rest) => {
                    self.decider.set_stored_baseline(Some(rest));
                    Some(Ok(rest))
                }
            };
        }
    }

    /// Decides on the eyes of all followed faces. Faces that count were already
    /// observed.
    fn watch_eyes(&mut self, luma: &LumaView<'_>, now: Timestamp, stats: &mut Stats) {
        let Some(mut eyes) = self.eyes.take() else {
            return;
        };
        let size = (luma.width(), luma.height());
        eyes.samples.clear();
        for index in 0..self.tracker.tracks().len() {
            let track = self.tracker.tracks()[index];
            let counted = self.faces.iter().find(|face| face.id == track.id);
            let (rect, seen) = match counted {
                Some(face) => (face.rect, face.observed),
                None => (track.rect, self.verify(luma, &track, stats)),
            };
            eyes.samples.push(FaceSample {
                track: track.id,
                eyes: sample(rect, size, &seen),
            });
        }
        let start = Instant::now();
        eyes.fatigue.look(now, &eyes.samples);
        stats.note(Stage::Decide, start.elapsed());
        self.eyes = Some(eyes);
    }

    /// Runs the verifier on a face that does not count.
    fn verify(&mut self, luma: &LumaView<'_>, track: &Track, stats: &mut Stats) -> Observations {
        let mut seen = Observations::default();
        let face = FaceBox {
            rect: track.rect,
            roll: track.roll,
        };
        if let Some(verifier) = &mut self.verifier {
            stats.time(Stage::Observe, || verifier.look(luma, face, &mut seen));
            *self.learned.of(track.key()) = seen.face.map(prediction);
        }
        seen
    }

    /// Notes that no frames come. Returns true if that changed something, or if
    /// a second has passed.
    pub fn lose_camera(&mut self, now: Timestamp) -> bool {
        self.eyes.as_mut().is_some_and(|eyes| {
            eyes.samples.clear();
            eyes.fatigue.lose_camera(now)
        })
    }

    /// The decisions about eyes; `is_new`: whether they are new since the last
    /// report.
    #[must_use]
    pub fn fatigue(&self, is_new: bool) -> Option<FatigueReport<'_>> {
        self.eyes.as_ref().map(|eyes| FatigueReport {
            decision: eyes.fatigue.decision(),
            events: if is_new { eyes.fatigue.events() } else { &[] },
            samples: &eyes.samples,
            is_acknowledged: eyes
                .fatigue
                .alarm()
                .is_some_and(|alarm| alarm.is_acknowledged),
            took_acknowledgement: is_new && eyes.fatigue.took_acknowledgement(),
            is_new,
        })
    }

    /// Acknowledges the alarm that is on.
    pub const fn acknowledge(&mut self) {
        if let Some(eyes) = &mut self.eyes {
            eyes.fatigue.acknowledge();
        }
    }

    /// Forgets the state of eyes, for example before frames with another clock.
    pub fn forget_eyes(&mut self) {
        if let Some(eyes) = &mut self.eyes {
            eyes.fatigue.clear();
            eyes.samples.clear();
        }
    }

    /// Exchanges the detector, the observers and the options with `next`.
    /// Followed faces are kept, with the decisions about them and the times of
    /// their last observations.
    pub fn exchange(&mut self, next: &mut Self) {
        std::mem::swap(&mut self.search, &mut next.search);
        std::mem::swap(&mut self.verifier, &mut next.verifier);
        std::mem::swap(&mut self.observers, &mut next.observers);
        std::mem::swap(&mut self.field_of_view, &mut next.field_of_view);
        std::mem::swap(&mut self.reserved_for, &mut next.reserved_for);
        self.tracker.set_options(*next.tracker.options());
        self.decider.take_options_of(&next.decider);
        let options = |eyes: &Option<Eyes>| eyes.as_ref().map(|eyes| *eyes.fatigue.options());
        if options(&self.eyes) != options(&next.eyes) {
            std::mem::swap(&mut self.eyes, &mut next.eyes);
        }
        // A verifier runs in every frame, so it has no times to keep.
        let watches = self.observers.iter_mut().zip(&mut next.observers);
        for (now, before) in watches {
            std::mem::swap(&mut now.last_observed, &mut before.last_observed);
        }
    }

    /// The faces of the last frame.
    #[must_use]
    pub fn faces(&self) -> &[FaceReport] {
        &self.faces
    }

    /// Forgets all faces, for example after the camera was lost.
    pub fn forget(&mut self) {
        self.tracker.clear();
        self.decider.clear();
        self.learned.clear();
        self.faces.clear();
        for watch in self.verifier.iter_mut().chain(&mut self.observers) {
            watch.last_observed.clear();
        }
    }

    fn reserve_observers(&mut self, size: (u32, u32)) {
        if self.reserved_for != size {
            self.reserved_for = size;
            for watch in self.verifier.iter_mut().chain(&mut self.observers) {
                watch.observer.reserve(size.0, size.1);
            }
        }
    }

    /// Searches the frame and updates the tracks.
    fn follow(&mut self, luma: &LumaView<'_>, now: Timestamp, stats: &mut Stats) {
        for (face, prediction) in self.learned.iter() {
            if let Some(prediction) = prediction {
                self.tracker.predict(face, *prediction);
            }
        }
        self.learned.clear();
        self.expected.clear();
        self.expected.extend(self.tracker.expected());
        let found = stats.time(Stage::Detect, || {
            self.search.find(*luma, now, &self.expected)
        });

        let start = Instant::now();
        let mut verifying = Duration::ZERO;
        let verifier = &mut self.verifier;
        self.tracker.follow(now, luma.bounds(), &found, |rect| {
            let verifier = verifier.as_mut()?;
            let start = Instant::now();
            let mut seen = Observations::default();
            verifier.verify(luma, FaceBox::upright(rect), &mut seen);
            let took = start.elapsed();
            verifying += took;
            stats.note(Stage::Observe, took);
            seen.face.map(prediction)
        });
        stats.note(Stage::Track, start.elapsed().saturating_sub(verifying));
    }

    /// Runs every observer that is due on a face. Returns their results, and
    /// the face's box: the verifier's, or else the track's.
    fn observe(
        &mut self,
        luma: &LumaView<'_>,
        track: &Track,
        now: Timestamp,
        stats: &mut Stats,
    ) -> (Observations, Rect) {
        let key = track.key();
        let mut face = FaceBox {
            rect: track.rect,
            roll: track.roll,
        };
        let mut seen = Observations::default();
        // An expected place alone is not accurate enough for the observers.
        let mut is_there = track.found || track.predicted;
        if let Some(verifier) = &mut self.verifier {
            stats.time(Stage::Observe, || verifier.look(luma, face, &mut seen));
            let learned = seen.face.map(prediction);
            *self.learned.of(key) = learned;
            if let Some(learned) = learned {
                is_there = self.tracker.options().keeps(learned.presence);
                let at = seen.face.and_then(|seen| seen.face_box());
                if let Some(at) = at.filter(|_| is_there) {
                    face = at;
                }
            }
            if !is_there {
                // Measurements on something that is not a face mean nothing.
                seen.face = None;
            }
        }
        if is_there {
            for watch in &mut self.observers {
                if watch.is_due(key, now) {
                    stats.time(Stage::Observe, || {
                        if watch.look(luma, face, &mut seen) {
                            *watch.last_observed.of(key) = Some(now);
                        }
                    });
                }
            }
        }
        (seen, face.rect)
    }
}

/// The eyes that are watched.
struct Eyes {
    fatigue: Fatigue,
    /// The eyes of all faces in the last frame.
    samples: Vec<FaceSample>,
}

impl Eyes {
    fn new(options: fatigue::Options) -> Self {
        Self {
            fatigue: Fatigue::new(options),
            samples: Vec::with_capacity(SLOTS),
        }
    }
}

/// The verifier's result for a face, as a sample for the rules about eyes.
/// `size` is the frame's.
fn sample(rect: Rect, size: (u32, u32), seen: &Observations) -> EyeSample {
    let of = |pixels: f64, side: u32| (pixels / f64::from(side)) as f32;
    let rect = [
        of(f64::from(rect.x), size.0),
        of(f64::from(rect.y), size.1),
        of(f64::from(rect.width), size.0),
        of(f64::from(rect.height), size.1),
    ];
    let Some(face) = seen.face else {
        return EyeSample {
            rect: Some(rect),
            ..EyeSample::default()
        };
    };
    let eyes = [face.left_eye, face.right_eye];
    let lids = || eyes.iter().filter_map(|eye| eye.lids);
    EyeSample {
        left: face.left_eye.openness(),
        right: face.right_eye.openness(),
        // A covered eye says nothing about the gaze.
        gaze_down: eyes
            .iter()
            .filter(|eye| eye.openness().is_some())
            .filter_map(|eye| eye.lids.map(|lids| lids.gaze_down))
            .reduce(f32::max),
        covered: lids().map(|lids| lids.covered).reduce(f32::min),
        jaw: Some(face.jaw),
        smile: Some(face.smile),
        yaw: Some(face.yaw),
        pitch: Some(face.pitch),
        roll: Some(face.roll),
        presence: Some(face.presence),
        rect: Some(rect),
        reason: None,
    }
}

/// An observer's result for a face, as a prediction for the tracker.
fn prediction(seen: FaceObservation) -> Prediction {
    Prediction {
        centre: seen.centre,
        side: seen.side,
        roll: seen.roll,
        presence: seen.presence,
    }
}

/// An observer, with the times at which it observed the faces.
struct Watch {
    observer: Box<dyn Observer>,
    interval: Duration,
    last_observed: BySlot<Option<Timestamp>>,
    fault: FaultLog,
}

impl Watch {
    fn new(observer: Box<dyn Observer>, interval: Duration) -> Self {
        Self {
            fault: FaultLog::new(format!("model {}", observer.name())),
            observer,
            interval,
            last_observed: BySlot::default(),
        }
    }

    fn is_due(&self, face: FaceKey, now: Timestamp) -> bool {
        let last = self.last_observed.get(face).copied().flatten();
        last.is_none_or(|last| now.since(last) >= self.interval)
    }

    /// Runs the observer on a face. Returns whether that succeeded.
    fn look(&mut self, luma: &LumaView<'_>, face: FaceBox, seen: &mut Observations) -> bool {
        let result = self.observer.observe(luma, face, seen);
        self.note(&result)
    }

    /// Runs the observer as a verifier. Returns whether that succeeded.
    fn verify(&mut self, luma: &LumaView<'_>, face: FaceBox, seen: &mut Observations) -> bool {
        let result = self.observer.verify(luma, face, seen);
        self.note(&result)
    }

    fn note(&mut self, result: &Result<(), ClassifyError>) -> bool {
        match result {
            Ok(()) => {
                self.fault.cleared();
                true
            }
            Err(error) => {
                self.fault.occurred(error);
                false
            }
        }
    }
}
