//! Where a face is in the picture. Every observer gets such a box, and the face
//! net returns a better one.

use crate::frame::Rect;

/// The face to observe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceBox {
    /// The detector's box, or the box that the tracker expects. May reach out
    /// of the picture.
    pub rect: Rect,
    /// How far the head is tilted in the picture, in degrees, positive
    /// clockwise; 0 if that is not known.
    pub roll: f32,
}

impl FaceBox {
    /// The box of an upright face.
    #[must_use]
    pub const fn upright(rect: Rect) -> Self {
        Self { rect, roll: 0.0 }
    }
}
