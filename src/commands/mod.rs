//! The command line: one file a command. A command returns an exit code or an
//! error; only `main` turns the error into a message.

mod annotate;
pub mod detect;
pub mod eval;
pub mod image;
pub mod model;
pub mod pictures;

use std::process::ExitCode;

/// What a command comes to.
pub type CommandResult = Result<ExitCode, Box<dyn std::error::Error>>;
