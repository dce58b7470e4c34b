//! Observe: what one frame shows of one face.
//!
//! `crop` cuts a face from the picture as the training did, the [`manifest`]
//! beside a model says how pixels become numbers, and the [`Classifier`] gives
//! probabilities over the seven [`expression`]s. The [`FaceNetworks`] say
//! whether there is a face at all, how the head is turned and how far the eyes
//! are open. Each of them is an [`Observer`]; the results of all observers for
//! a face in a frame are its [`Observations`].

mod classifier;
mod crop;
mod distance;
mod error;
pub mod expression;
mod face;
mod face_box;
mod face_networks;
pub mod manifest;
mod model_file;
mod normalise;
mod observer;
pub mod record;
mod square;

pub use crate::nn::StepProfile;
pub use classifier::Classifier;
pub use crop::Cropper;
pub use distance::FieldOfView;
pub use error::ClassifyError;
pub use face::{EyeObservation, FaceObservation, LANDMARKS, Lids, SMALLEST_FOR_EYES};
pub use face_box::FaceBox;
pub use face_networks::{FaceManifest, FaceNetwork, FaceNetworks};
pub use model_file::ModelError;
pub use observer::{Observations, Observer};
