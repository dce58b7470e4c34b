//! affectd watches faces through a camera and drives GPIO lines, a small
//! display and events by their *apparent* expression.
//!
//! The way of a frame: one module per stage, and data flows one way only:
//! [`capture`] (a luma plane) → [`detect`] (face boxes) → [`track`] (ids) →
//! [`observe`] (seven probabilities) → [`decide`] (a stable label) → [`output`]
//! (GPIO, display, events). Each stage owns its buffers and knows nothing of
//! the stages after it; only [`pipeline`] knows them all.
//!
//! The first half of this way, on a photograph:
//!
//! ```
//! use affectd::observe::Classifier;
//! use affectd::detect::{Cascade, Detector, Options};
//! use affectd::observe::expression::Expression;
//! use affectd::{assets, image};
//!
//! let photo = image::read_luma("tests/data/photos/astronaut.jpg")?;
//! let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE)?)?;
//! let mut detector = Detector::new(cascade, Options::default())?;
//! let mut classifier = Classifier::load(&assets::find(assets::DEFAULT_MODEL)?)?;
//!
//! let faces = detector.detect(photo.view());
//! assert_eq!(faces.len(), 1);
//! let probabilities = classifier.classify(&photo.view(), faces[0].rect)?;
//! let (expression, _probability) = probabilities.top();
//! assert_eq!(expression, Expression::Happy); // she smiles
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Unsafe code is in three kinds of places. The SIMD kernels of [`detect`],
//! [`nn`] and [`image::turn`] each have a scalar twin, with which tests compare
//! them. The allocator is [`host::memory`]. Two small files call the kernel
//! where no crate does: for V4L2's buffers (`capture/v4l2/sys.rs`) and for the
//! framebuffer's two ioctls (`output/display/fbdev.rs`).

pub mod accuracy;
pub mod assets;
pub mod board;
pub mod capture;
pub mod commands;
pub mod control;
pub mod daemon;
pub mod decide;
pub mod detect;
pub mod digest;
pub mod draw;
pub mod fault;
pub mod frame;
pub mod health;
pub mod host;
pub mod http;
pub mod image;
pub mod incident;
pub mod isa;
pub mod metrics;
pub mod monitor;
pub mod nn;
pub mod observe;
pub mod output;
pub mod pipeline;
pub mod preview;
pub mod report;
pub mod snapshot;
mod suggest;
pub mod track;
