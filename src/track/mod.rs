//! Track: ids and slots that stay with a face across frames, and which faces
//! count.
//!
//! A Haar detector jitters by some percent of a face's width, misses a face
//! every few frames, and now and then sees one in a curtain. So a face is
//! matched by overlap with where it was and where it was heading, survives
//! misses for [`Options::lost_after`], and counts only once it was found
//! [`Options::confirm`] times, in a row or within [`Options::confirm_within`].
//!
//! Every followed face has a [`Slot`], a small number from a fixed range. Later
//! stages keep what they remember of faces [by slot](BySlot), in memory of fixed
//! size, and a slot that gets another face starts empty.
//!
//! What later stages learn about a face comes back with the next frame as a
//! [`Prediction`], and a box that may be a new face can be refused before it
//! gets a slot ([`Tracker::follow`]).
//!
//! Matching is greedy, largest overlap first. An optimal assignment (the
//! Hungarian method, as in SORT, Bewley et al. 2016) differs from it only where
//! faces overlap each other, which heads in front of a camera hardly do.

mod confirm;
mod options;
mod slots;
mod tracker;

pub use options::{Options, OptionsError, Policy, UnknownPolicy};
pub use slots::{BySlot, FaceKey, SLOTS, Slot};
pub use tracker::{Prediction, Track, Tracker};
