//! The command line: one file a command. A command returns an exit code or an
//! error; only `main` turns the error into a message.

pub mod detect;
pub mod model;
pub mod pictures;

use std::process::ExitCode;

/// What a command comes to.
pub type CommandResult = Result<ExitCode, Box<dyn std::error::Error>>;
