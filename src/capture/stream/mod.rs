//! Frames from a pipe: standard input, a named pipe (FIFO), or a program that
//! affectd starts itself.
//!
//! Such a program knows a camera that V4L2 does not (`rpicam-vid`,
//! `gst-launch-1.0 … ! fdsink`). A pipe is a camera that cannot be asked for its
//! newest frame. At the recorded pace it counts as live: a frame gets the time
//! of its arrival, and of the frames that wait in the pipe all but the newest
//! whole one are passed over. As fast as possible it counts as a recording:
//! every frame is used, timed by its place.
//!
//! A stream without whole pictures is a lost camera, whether nothing comes or
//! only what cannot be decoded ([`Stall`](super::stall::Stall)). What happens then depends on the
//! [`Producer`](producer::Producer): standard input ends with its writer, a FIFO waits for the next
//! one, and a program is started again.

mod command;
mod fifo;
mod framer;
mod pipe;
mod producer;
mod stdin;

pub use command::{find_program, launch_producer, open as open_command};
pub use fifo::open as open_fifo;
pub use stdin::open as open_stdin;

#[cfg(test)]
mod tests;
