//! The trait of observers, and the record of their results.

use super::classifier::Classifier;
use super::error::ClassifyError;
use super::expression::Probabilities;
use super::face::FaceObservation;
use super::face_box::FaceBox;
use crate::frame::LumaView;

/// What a frame shows of a face. Each field is `None` if no observer filled it
/// in for this frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observations {
    /// The classifier's probabilities, not smoothed.
    pub expression: Option<Probabilities>,
    /// Whether it is a face at all, and where it is.
    pub face: Option<FaceObservation>,
}

/// An observer looks at one face in one frame. Most observers are a network
/// with its crop and its buffers.
///
/// A new observer needs a file with its implementation, a field in
/// [`Observations`] for its result, and a line where the stages are built.
pub trait Observer: Send {
    /// The name for log lines.
    fn name(&self) -> &str;

    /// Allocates memory for faces in pictures of up to `width` x `height`
    /// pixels, so that [`observe`](Self::observe) does not allocate.
    fn reserve(&mut self, _width: u32, _height: u32) {}

    /// Looks at a face and fills in what it sees.
    ///
    /// # Errors
    /// The box is empty or too large, or the network fails. The observer can be
    /// used again afterwards.
    fn observe(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError>;

    /// As [`observe`](Self::observe), for a box that may contain no face: a
    /// verifier may leave out work that does not help to decide this.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    fn verify(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError> {
        self.observe(picture, face, seen)
    }
}

/// The classifier fills in [`Observations::expression`].
impl Observer for Classifier {
    fn name(&self) -> &str {
        &self.manifest().name
    }

    fn reserve(&mut self, width: u32, height: u32) {
        Classifier::reserve(self, width, height);
    }

    fn observe(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError> {
        seen.expression = Some(self.classify_face(picture, face)?);
        Ok(())
    }
}
