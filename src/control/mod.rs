//! The control socket: a Unix socket at which the daemon reports its status
//! and, if the board file allows it, accepts commands. Each request and each
//! answer is a JSON object on one line.
//!
//! It is separate from the event socket, which only sends. A thread of its own
//! serves the clients. The loop publishes a [`Snapshot`](crate::snapshot::Snapshot)
//! once per second and executes commands between two frames. It never waits for the
//! thread.
//!
//! What follows is `docs/control.md`: requests and answers.
//!
#![doc = include_str!("../../docs/control.md")]

pub mod client;
mod options;
mod server;
mod status;

use crate::host::unix_socket;

pub use options::{Command, Error, Options, UnknownCommand, default_socket};
pub use server::{CLIENTS, Control, Order, REQUEST_LONGEST};

/// Creates the socket once, to check whether the daemon can do so.
///
/// # Errors
/// See [`Error`].
pub fn probe(options: &Options) -> Result<(), Error> {
    unix_socket::Listener::bind(&options.socket)?;
    Ok(())
}
