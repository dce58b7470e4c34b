//! The input of the rules: the eyes and the head of each face in one frame.

use super::state::Reason;

/// The measurements of the eyes and the head of one face in one frame. `None`
/// means unknown, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EyeSample {
    /// How far the person's own left eye is open, in the measure of
    /// [`Options::open`](super::Options::open) and
    /// [`Options::shut`](super::Options::shut); `None` if unknown.
    pub left: Option<f32>,
    /// The same of the right eye.
    pub right: Option<f32>,
    /// Probability that the open eyes look down, 0 to 1.
    pub gaze_down: Option<f32>,
    /// Probability that no eye is visible, 0 to 1; from 0.5 on the eyes are not
    /// used.
    pub covered: Option<f32>,
    /// How far the mouth is open, 0 to 1.
    pub jaw: Option<f32>,
    /// How much the face smiles, 0 to 1.
    pub smile: Option<f32>,
    /// Degrees, positive with the nose to the picture's right.
    pub yaw: Option<f32>,
    /// Degrees, positive with the nose up.
    pub pitch: Option<f32>,
    /// Degrees, positive clockwise. It is only recorded.
    pub roll: Option<f32>,
    /// Probability that this is a face, 0 to 1. It is only recorded, because
    /// the tracker has already decided.
    pub presence: Option<f32>,
    /// The face's box: x, y, width and height as fractions of the picture.
    /// `None` stands for the whole picture.
    pub rect: Option<[f32; 4]>,
    /// Why the eyes cannot be used, if known.
    pub reason: Option<Reason>,
}

/// An [`EyeSample`] with the face that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaceSample {
    /// The number of the face while it is followed.
    pub track: u32,
    pub eyes: EyeSample,
}
