//! Observe: what one frame shows of one face.
//!
//! `crop` cuts a face from the picture as the training did, the [`manifest`]
//! beside a model says how pixels become numbers, and the [`Classifier`] gives
//! probabilities over the seven [`expression`]s. Everything that looks at a face
//! is an [`Observer`], and what the observers of a frame saw of a face are its
//! [`Observations`].

mod classifier;
mod crop;
pub mod expression;
mod face;
pub mod manifest;
mod observer;

pub use crate::nn::StepProfile;
pub use classifier::{Classifier, ClassifyError, ModelError};
pub use crop::Cropper;
pub use face::FaceObservation;
pub use observer::{FaceBox, Observations, Observer};
