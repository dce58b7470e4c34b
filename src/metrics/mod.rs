//! The daemon's state for [Prometheus](https://prometheus.io): in a file that
//! node_exporter reads ([`MetricsFile`]), and at an HTTP socket ([`serve`]),
//! which also says whether the daemon is well.
//!
//! Everything comes from the loop's latest
//! [`Snapshot`](crate::snapshot::Snapshot). Threads of their own write the file
//! and answer requests, so the loop does no more than count. Nothing here is
//! about a person: there are no expressions, no states of eyes, and no numbers
//! of faces over time.

mod file;
mod options;
mod socket;
mod text;

pub use file::{MetricsFile, PERIOD, probe_file};
pub use options::{FileOptions, HttpOptions};
pub use socket::{CLIENTS, probe_socket, serve};
pub use text::{CONTENT_TYPE, process_text, text};
