//! The command line: one file per command. A command returns an exit code or an
//! error; only `main` turns the error into a message.

pub mod baseline;
pub mod check;
pub mod detect;
pub mod devices;
pub mod eval;
pub mod faces;
pub mod fatigue;
pub mod image;
pub mod model;
pub mod pictures;
mod result;
pub mod run;
pub mod safe;
pub mod status;
pub mod test_outputs;

use clap::{Parser, Subcommand};

pub use result::CommandResult;

/// Watches faces through a camera and reports their apparent expression on GPIO
/// lines, a small display and an event stream.
///
/// The seven expressions are angry, disgust, fear, happy, sad, surprise and
/// neutral. They describe what a face looks like, not what the person feels. No
/// picture leaves the process or is stored unless you ask for it.
#[derive(Parser)]
#[command(name = "affectd", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Log level: error, warn, info, debug, trace or off
    #[arg(
        long,
        value_name = "LEVEL",
        global = true,
        env = "AFFECTD_LOG",
        default_value = "info"
    )]
    pub log: log::LevelFilter,

    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  affectd devices                           names to use in a board file
  affectd check boards/raspberry-pi-4.toml  everything that is wrong with the file
  affectd run --board boards/desk.toml      the daemon, on the bundled pictures
  affectd image portrait.jpg                one JSON line per file

Exit codes: 0 success, 1 failure (standard error says why), 2 wrong usage.
`affectd status`, `pause` and `resume` have further ones.";

#[derive(Subcommand)]
pub enum Command {
    Run(run::Args),
    Image(image::Args),
    Detect(detect::Args),
    Eval(eval::Args),
    Fatigue(fatigue::Args),
    Baseline(baseline::Args),
    Devices(devices::Args),
    Check(check::Args),
    Safe(safe::Args),
    Status(status::Args),
    Pause(status::PauseArgs),
    Resume(status::ResumeArgs),
    TestOutputs(test_outputs::Args),
    Model(model::Args),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// The message says to the user why the command failed.
    pub fn run(self) -> CommandResult {
        match &self.command {
            Command::Run(args) => run::run(args),
            Command::Image(args) => image::run(args),
            Command::Detect(args) => detect::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Fatigue(args) => fatigue::run(args),
            Command::Baseline(args) => baseline::run(args),
            Command::Devices(args) => devices::run(args),
            Command::Check(args) => check::run(args),
            Command::Safe(args) => safe::run(args),
            Command::Status(args) => status::run(args),
            Command::Pause(args) => status::pause(args),
            Command::Resume(args) => status::resume(args),
            Command::TestOutputs(args) => test_outputs::run(args),
            Command::Model(args) => model::run(args),
        }
    }
}
