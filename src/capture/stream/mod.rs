//! Frames from a pipe: standard input, a named pipe (FIFO), or a program that
//! affectd starts itself.
//!
//! Such a program reads a camera that V4L2 does not support (`rpicam-vid`,
//! `gst-launch-1.0 … ! fdsink`). A pipe cannot be asked for its newest frame.
//! With `pace = "recorded"` it counts as live: a frame gets the time of its
//! arrival, and of the frames that wait in the pipe only the newest whole one
//! is used. With `pace = "fast"` it counts as a recording: every frame is used,
//! and its number gives its time.
//!
//! A stream without whole frames counts as a lost camera, whether nothing comes
//! or only broken data ([`Stall`](super::stall::Stall)). The next step depends
//! on the [`Producer`](producer::Producer): standard input ends with its
//! writer, a FIFO waits for the next writer, and a program is started again.

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
