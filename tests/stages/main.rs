//! Tests of the stages through the library: one file for each.
//!
//! They are one program, because each program links all of affectd.

mod capture;
mod classify;
mod decide;
mod detect;
mod detect_schedule;
mod display;
mod display_devices;
mod display_support;
mod events;
mod face_networks;
mod geometry;
mod gpio;
mod pipeline;
mod reports;
mod scenes;
