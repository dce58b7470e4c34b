//! What a command returns to `main`. It has a file of its own, so that commands
//! do not use the list of commands.

use std::process::ExitCode;

/// What a command returns.
pub type CommandResult = Result<ExitCode, Box<dyn std::error::Error>>;
