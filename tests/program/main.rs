//! The program `affectd` as a user starts it: its commands, their output and
//! their answers to bad input. Also checks the documents that describe it.

mod bad_input;
mod bad_pictures;
mod baseline;
mod control;
mod cycles;
mod daemon;
mod detect_command;
mod documentation;
mod eval;
mod fatigue;
mod faults;
mod image;
mod manual;
mod metrics;
mod pictures;
mod place;
mod preview;
mod replay;
mod signals;
mod streams;
