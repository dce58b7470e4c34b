//! Attention: decides whether a face points to the camera.
//!
//! A face points to the camera while the angle between the direction of its
//! nose and the direction to the camera is within a cone. The cone for leaving
//! is wider than the cone for entering, and there is a dwell time, so the
//! answer does not flicker at the edge.

use std::time::Duration;

use super::clock::FrameClock;
use crate::frame::Timestamp;
use crate::track::{BySlot, FaceKey};

/// The cone for leaving, divided by the cone for entering.
const HYSTERESIS: f32 = 1.25;

/// The board file's `[facing]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FacingOptions {
    /// The largest angle between the head and the camera in degrees,
    /// [`CONE_RANGE`](Self::CONE_RANGE). Default: 20.
    pub cone: f32,
    /// How long a face must be turned to the camera, or away from it, before
    /// that counts. Default: 300 ms, about the time of a glance.
    pub dwell: Duration,
}

impl FacingOptions {
    /// The range of `cone`. Beyond 60 degrees the pose is inaccurate.
    pub const CONE_RANGE: std::ops::RangeInclusive<f64> = 5.0..=60.0;
}

impl Default for FacingOptions {
    fn default() -> Self {
        Self {
            cone: 20.0,
            dwell: Duration::from_millis(300),
        }
    }
}

/// Whether a face points to the camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facing {
    /// Whether it does.
    pub is_facing: bool,
    /// Since when this holds; for a face that never pointed to the camera, the
    /// time of its first frame.
    pub since: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Memory {
    facing: Facing,
    /// Since when frames say the opposite, on the decider's own clock.
    otherwise_since: Option<Duration>,
}

/// Decides for every face whether it points to the camera.
#[derive(Debug)]
pub struct AttentionDecider {
    options: Option<FacingOptions>,
    memory: BySlot<Option<Memory>>,
    clock: FrameClock,
}

impl AttentionDecider {
    /// A decider that knows no face. Without options it decides nothing.
    #[must_use]
    pub fn new(options: Option<FacingOptions>) -> Self {
        Self {
            options,
            memory: BySlot::default(),
            clock: FrameClock::default(),
        }
    }

    /// Uses other options from now on.
    pub fn set_options(&mut self, options: Option<FacingOptions>) {
        self.options = options;
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> Option<FacingOptions> {
        self.options
    }

    /// Begins a frame taken at `now` with the faces that count in it, and
    /// forgets all others.
    pub fn begin_frame(&mut self, now: Timestamp, faces: impl IntoIterator<Item = FaceKey>) {
        self.clock.advance(now);
        self.memory.keep_only(faces);
    }

    /// Decides on a face of the frame by its yaw and pitch in degrees; `None` if
    /// they are not known, which counts as turned away. Returns `None` without
    /// options.
    pub fn decide(&mut self, face: FaceKey, pose: Option<(f32, f32)>) -> Option<Facing> {
        let options = self.options?;
        let (now, clock) = (self.clock.now(), self.clock.time());
        let memory = self.memory.of(face).get_or_insert(Memory {
            facing: Facing {
                is_facing: false,
                since: now,
            },
            otherwise_since: None,
        });
        let cone = if memory.facing.is_facing {
            options.cone * HYSTERESIS
        } else {
            options.cone
        };
        let points_here = pose.is_some_and(|pose| angle(pose) <= cone);
        if points_here == memory.facing.is_facing {
            memory.otherwise_since = None;
        } else {
            let since = *memory.otherwise_since.get_or_insert(clock);
            if clock.saturating_sub(since) >= options.dwell {
                memory.facing = Facing {
                    is_facing: points_here,
                    since: now,
                };
                memory.otherwise_since = None;
            }
        }
        Some(memory.facing)
    }

    /// Forgets every face.
    pub fn clear(&mut self) {
        self.memory.clear();
    }
}

/// The angle between the head's direction and that to the camera, in degrees.
fn angle((yaw, pitch): (f32, f32)) -> f32 {
    let cos = |degrees: f32| f64::from(degrees).to_radians().cos();
    (cos(yaw) * cos(pitch)).clamp(-1.0, 1.0).acos().to_degrees() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Slot;

    const FACE: FaceKey = FaceKey {
        id: 1,
        slot: Slot::ZERO,
    };

    fn at(decider: &mut AttentionDecider, millis: u64, pose: Option<(f32, f32)>) -> Option<bool> {
        decider.begin_frame(Timestamp::from_millis(millis), [FACE]);
        decider.decide(FACE, pose).map(|facing| facing.is_facing)
    }

    #[test]
    fn a_face_must_point_here_for_a_while() {
        let mut decider = AttentionDecider::new(Some(FacingOptions::default()));
        let straight = Some((5.0, -5.0));
        assert_eq!(at(&mut decider, 0, straight), Some(false));
        assert_eq!(at(&mut decider, 299, straight), Some(false));
        assert_eq!(at(&mut decider, 300, straight), Some(true));
        // A short glance away, or a frame without the face, changes nothing; a
        // longer one does.
        assert_eq!(at(&mut decider, 400, Some((50.0, 0.0))), Some(true));
        assert_eq!(at(&mut decider, 500, straight), Some(true));
        assert_eq!(at(&mut decider, 600, None), Some(true));
        assert_eq!(at(&mut decider, 900, None), Some(false));
        decider.begin_frame(Timestamp::from_millis(950), [FACE]);
        let facing = decider.decide(FACE, None).unwrap();
        assert_eq!(facing.since, Timestamp::from_millis(900));
    }

    #[test]
    fn the_edge_of_the_cone_does_not_flicker() {
        let mut decider = AttentionDecider::new(Some(FacingOptions {
            cone: 20.0,
            dwell: Duration::ZERO,
        }));
        assert_eq!(at(&mut decider, 0, Some((21.0, 0.0))), Some(false));
        assert_eq!(at(&mut decider, 1, Some((19.0, 0.0))), Some(true));
        assert_eq!(at(&mut decider, 2, Some((24.0, 0.0))), Some(true));
        assert_eq!(at(&mut decider, 3, Some((26.0, 0.0))), Some(false));
        // A yaw and a pitch of 15 degrees each are an angle of 21 degrees.
        assert_eq!(at(&mut decider, 4, Some((15.0, 15.0))), Some(false));
        assert_eq!(at(&mut decider, 5, Some((f32::NAN, 0.0))), Some(false));
    }

    #[test]
    fn without_options_there_is_no_answer() {
        let mut decider = AttentionDecider::new(None);
        assert_eq!(at(&mut decider, 0, Some((0.0, 0.0))), None);
    }
}
