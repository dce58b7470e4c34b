//! affectd watches faces through a camera and drives GPIO lines, a small
//! display and events by their *apparent* expression.
//!
//! The story of a frame, one module a stage, arrows one way:
//! [`capture`] (a luma plane) → [`detect`] (face boxes) → [`track`] (ids) →
//! [`classify`] (seven probabilities) → [`decide`] (a stable label) →
//! [`output`] (GPIO, display, events). Each stage owns its buffers and knows
//! nothing of the stages after it; only [`pipeline`] knows them all.

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
pub mod models;
pub mod output;
pub mod pipeline;
pub mod repeated;
pub mod stats;
pub mod supervise;
pub mod track;
