//! What a frame shows of a face besides its expression.

/// Whether a box holds a face, and where the face is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceObservation {
    /// How sure it is that there is a face, 0 to 1.
    pub presence: f32,
    /// The middle of the face in pixels of the frame, x to the right and y down.
    pub centre: (f64, f64),
    /// The side of the face's square box in pixels, as the detector would draw
    /// it.
    pub side: f64,
    /// How far the head is tilted in the picture, in degrees, positive
    /// clockwise.
    pub roll: f32,
}
