//! The preview's thread: measures the newest shot, draws its marks, encodes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::info;

use super::advice::{Seen, advice};
use super::measure::measure;
use super::picture::Painter;
use super::scene::Scene;
use super::shared::{Picture, Shared};
use super::shot::Shot;
use super::upright::Upright;
use crate::fault::FaultLog;
use crate::http::Waker;
use crate::incident;
use crate::output::latest::{Reader, Taken};
use crate::report::CameraState;

/// How often the thread finds out whether somebody still watches.
const LOOK: Duration = Duration::from_secs(1);

/// How long it waits for a shot while nobody watches. Any long time is fine: the
/// first shot of a watch wakes it.
const IDLE: Duration = Duration::from_secs(3600);

/// Makes pictures from shots.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub wakers: Vec<Waker>,
    pub upright: Upright,
    painter: Painter,
    number: u64,
    fault: FaultLog,
    is_resting: bool,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, wakers: Vec<Waker>, upright: Upright) -> Self {
        Self {
            shared,
            wakers,
            upright,
            painter: Painter::default(),
            number: 0,
            fault: FaultLog::new("preview"),
            is_resting: true,
        }
    }

    /// Works until the slot's writer is dropped.
    pub fn run(mut self, shots: &Reader<Shot>) {
        loop {
            let wait = if self.is_resting { IDLE } else { LOOK };
            match shots.take(wait) {
                Taken::Value(mut shot) => {
                    if shot.missing > 0 {
                        shot.reserve(shot.missing);
                    } else {
                        self.is_resting = false;
                        self.show(&shot);
                    }
                    self.shared.pool.give_back(shot);
                }
                Taken::Nothing => {}
                Taken::Closed => return,
            }
            if !self.is_resting && !self.shared.audience.look(Instant::now()) {
                self.rest();
            }
        }
    }

    fn show(&mut self, shot: &Shot) {
        let now = Instant::now();
        let picture = shot.picture().ok();
        let jpeg = picture.and_then(|picture| match self.painter.jpeg(picture, shot) {
            Ok(jpeg) => Some(jpeg),
            Err(error) => {
                self.fault.occurred(&error);
                None
            }
        });
        let part = shot.faces.first().map(|face| face.rect);
        let measured = picture.map(|picture| measure(picture, part.unwrap_or(picture.bounds())));
        let lying = picture.and_then(|picture| {
            let has_face = !shot.faces.is_empty();
            self.upright.look(picture, has_face, now)
        });
        {
            let mut scene = self.shared.scene();
            scene.at = Some(now);
            scene.frame = shot.frame;
            scene.camera = shot.camera;
            scene.reason.clone_from(&shot.reason);
            scene.size = picture.map_or((0, 0), |picture| (picture.width(), picture.height()));
            scene.faces.clone_from(&shot.faces);
            scene.fatigue = shot.fatigue;
            scene.measured = measured;
            scene.advice = measured.map_or_else(Vec::new, |measured| {
                advice(&Seen {
                    face: scene.face_side(),
                    measured,
                    lying,
                })
            });
            let leading = shot.faces.first();
            let probabilities = leading.map(|face| face.decision.expression.probabilities);
            scene.history.note(probabilities, now);
        }
        match jpeg {
            Some(jpeg) => {
                self.number += 1;
                let number = self.number;
                self.shared
                    .set_picture(Some(Arc::new(Picture { number, jpeg })));
            }
            // Nobody is to take an old picture for a present one.
            None if shot.camera != CameraState::Streaming => self.shared.set_picture(None),
            None => {}
        }
        for waker in &self.wakers {
            waker.wake();
        }
    }

    /// Forgets what was seen, and frees memory, when nobody watches any more.
    fn rest(&mut self) {
        info!(target: incident::PREVIEW.target, "nobody watches the preview any more");
        self.shared.set_picture(None);
        *self.shared.scene() = Scene::default();
        self.painter.rest();
        self.upright.rest();
        self.is_resting = true;
        // Streams that were ended must learn it.
        for waker in &self.wakers {
            waker.wake();
        }
    }
}
