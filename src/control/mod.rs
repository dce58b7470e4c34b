//! The control socket: a Unix socket at which the daemon says how it is and, where
//! the board file allows it, takes orders. One JSON object per line in, one out.
//!
//! It is apart from the event socket, which stays output only. A thread of its own
//! serves the clients; the loop leaves a [`Snapshot`] there once a second and takes
//! orders between two frames. It never waits for the thread.
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
pub use status::{Condition, Snapshot};

/// Makes the socket once, to find out whether the daemon can.
///
/// # Errors
/// See [`Error`].
pub fn probe(options: &Options) -> Result<(), Error> {
    unix_socket::Listener::bind(&options.socket)?;
    Ok(())
}
