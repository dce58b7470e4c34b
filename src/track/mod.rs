//! Track: gives each face an id and a slot that stay the same over frames, and
//! decides which faces count.
//!
//! A Haar detector's boxes jitter by some percent of a face's width; it misses
//! a face every few frames, and sometimes finds one in a curtain. So a box is
//! matched with a face by its overlap with the face's last and expected place.
//! A face is kept without finds for [`Options::lost_after`], and counts only
//! after it was found [`Options::confirm`] times, in a row or within
//! [`Options::confirm_within`].
//!
//! Every followed face has a [`Slot`], a small number from a fixed range. Later
//! stages store their state of faces [by slot](BySlot), in memory of fixed
//! size; a slot that gets another face starts empty.
//!
//! What later stages learn about a face comes back with the next frame as a
//! [`Prediction`], and a box that may be a new face can be refused before it
//! gets a slot ([`Tracker::follow`]).
//!
//! Matching is greedy, largest overlap first. An optimal assignment (the
//! Hungarian method, as in SORT, Bewley et al. 2016) gives another result only
//! if faces overlap each other, which is rare for heads in front of a camera.

mod confirm;
mod options;
mod slots;
mod tracker;

pub use options::{Options, OptionsError, Policy, UnknownPolicy};
pub use slots::{BySlot, FaceKey, SLOTS, Slot};
pub use tracker::{Prediction, Track, Tracker};
