//! affectd watches faces through a camera and drives GPIO lines, a small
//! display and events by their *apparent* expression.
//!
//! The story of a frame, one module a stage, arrows one way:
//! [`capture`] (a luma plane) → [`detect`] (face boxes) → [`track`] (ids) →
//! [`classify`] (seven probabilities) → [`decide`] (a stable label) →
//! [`output`] (GPIO, display, events). Each stage owns its buffers and knows
//! nothing of the stages after it; only [`pipeline`] knows them all.
//!
//! The first half of the story on a photograph:
//!
//! ```
//! use affectd::classify::Classifier;
//! use affectd::detect::{Cascade, Detector, Options};
//! use affectd::expression::Expression;
//! use affectd::{media, models};
//!
//! let photo = media::read_luma("tests/data/photos/astronaut.jpg")?;
//! let cascade = Cascade::load(&models::find(models::DEFAULT_CASCADE)?)?;
//! let mut detector = Detector::new(cascade, Options::default())?;
//! let mut classifier = Classifier::load(&models::find(models::DEFAULT_MODEL)?)?;
//!
//! let faces = detector.detect(photo.view());
//! assert_eq!(faces.len(), 1);
//! let probabilities = classifier.classify(&photo.view(), faces[0].rect)?;
//! let (expression, _probability) = probabilities.top();
//! assert_eq!(expression, Expression::Happy); // she smiles
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Unsafe code lives in the SIMD kernels of [`detect`] and [`classify`], each
//! with a scalar twin that tests compare it with, in the allocator ([`memory`]),
//! and in two small files that speak to the kernel where no crate offers what
//! is needed: V4L2's buffers (`capture/v4l2/sys.rs`) and the framebuffer's two
//! ioctls (`output/display/fbdev.rs`).

pub mod board;
pub mod capture;
pub mod classify;
pub mod commands;
pub mod decide;
pub mod detect;
pub mod evaluate;
pub mod expression;
pub mod frame;
pub mod media;
pub mod memory;
pub mod models;
mod nearest;
pub mod output;
pub mod pipeline;
pub mod process;
pub mod repeated;
pub mod stats;
pub mod supervise;
pub mod track;
