//! The errors of observing a face. They have a file of their own, because both
//! the crop and the networks return them.

use crate::frame::Rect;

/// Why a face was not classified. The classifier can be used again afterwards.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    #[error("a face box of {}x{} pixels is empty", face.width, face.height)]
    EmptyBox { face: Rect },
    #[error(
        "a face box of {}x{} pixels needs a crop of {side}x{side} pixels; the limit is {limit}",
        face.width, face.height
    )]
    LargeBox { face: Rect, side: i64, limit: i64 },
    #[error("the network failed: {0}")]
    Network(String),
    #[error("the network's numbers cannot be probabilities: {outputs:?}")]
    Outputs { outputs: Vec<f32> },
}
