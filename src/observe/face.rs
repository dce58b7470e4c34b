//! What a frame shows of a face besides its expression.

use super::face_box::FaceBox;
use crate::frame::Rect;

/// The landmarks of a face, in the order of [`FaceObservation::landmarks`].
/// Right and left are the person's own.
pub const LANDMARKS: [&str; 14] = [
    "right_eye_outer",
    "right_eye_inner",
    "right_eye_upper",
    "right_eye_lower",
    "left_eye_inner",
    "left_eye_outer",
    "left_eye_upper",
    "left_eye_lower",
    "nose_tip",
    "mouth_right",
    "mouth_left",
    "lip_upper",
    "lip_lower",
    "chin",
];

/// If the side of the face's box in pixels is smaller than this, the openness
/// of its eyes is unknown: for smaller faces the level of open eyes depends on
/// the size.
pub const SMALLEST_FOR_EYES: f64 = 40.0;

/// Whether a box holds a face, where the face is, and how the head is turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceObservation {
    /// Probability that there is a face, 0 to 1.
    pub presence: f32,
    /// The middle of the face in pixels of the frame, x to the right and y down.
    pub centre: (f64, f64),
    /// The side of the face's square box in pixels, like the detector's box.
    pub side: f64,
    /// How far the head is tilted in the picture, in degrees, positive
    /// clockwise.
    pub roll: f32,
    /// How far the head is turned, in degrees, positive with the nose to the
    /// picture's right.
    pub yaw: f32,
    /// How far the head is raised or lowered, in degrees, positive with the
    /// nose up.
    pub pitch: f32,
    /// How far the mouth is open, 0 (shut) to 1.
    pub jaw: f32,
    /// How much the face smiles, 0 to 1.
    pub smile: f32,
    /// Where the [`LANDMARKS`] are, in pixels of the frame.
    pub landmarks: [(f32, f32); LANDMARKS.len()],
    /// The person's own right eye.
    pub right_eye: EyeObservation,
    /// The person's own left eye.
    pub left_eye: EyeObservation,
}

impl FaceObservation {
    /// The face's box and roll, or `None` if the numbers describe no box.
    #[must_use]
    pub fn face_box(&self) -> Option<FaceBox> {
        Some(FaceBox {
            rect: Rect::square(self.centre, self.side)?,
            roll: self.roll,
        })
    }

    /// A face of which only the place is known.
    #[must_use]
    pub fn at(centre: (f64, f64), side: f64, presence: f32) -> Self {
        Self {
            presence,
            centre,
            side,
            roll: 0.0,
            yaw: 0.0,
            pitch: 0.0,
            jaw: 0.0,
            smile: 0.0,
            landmarks: [(centre.0 as f32, centre.1 as f32); LANDMARKS.len()],
            right_eye: EyeObservation::default(),
            left_eye: EyeObservation::default(),
        }
    }
}

/// What a frame shows of one eye.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EyeObservation {
    /// Probability that the eye is in view, and not behind a hand, dark glasses
    /// or the nose; 0 to 1.
    pub visible: f32,
    /// `None` if the eye net did not run: the eye is not in view, or the face
    /// is smaller than [`SMALLEST_FOR_EYES`].
    pub lids: Option<Lids>,
}

/// The eye net's answer for one eye.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lids {
    /// The gap between the lids over the eye's width, divided by the same
    /// person's at rest, 0 to 1. Below 0.2 is shut.
    pub openness: f32,
    /// Probability that the open eye looks down, 0 to 1.
    pub gaze_down: f32,
    /// Probability that no eye is visible there, 0 to 1.
    pub covered: f32,
}

impl EyeObservation {
    /// How far the eye is open, 0 to 1; `None` if that is not known.
    #[must_use]
    pub fn openness(&self) -> Option<f32> {
        let lids = self.lids.filter(|lids| lids.covered < 0.5)?;
        Some(lids.openness)
    }
}
