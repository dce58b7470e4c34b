//! Observe: what one frame shows of one face.
//!
//! `crop` cuts a face from the picture as the training did, the [`manifest`]
//! beside a model says how pixels become numbers, and the [`Classifier`] gives
//! probabilities over the seven [`expression`]s.

mod classifier;
mod crop;
pub mod expression;
pub mod manifest;

pub use crate::nn::StepProfile;
pub use classifier::{Classifier, ClassifyError, ModelError};
pub use crop::Cropper;
