//! Parses arguments, picks a command, and turns an error into a message and an
//! exit code.

use std::process::ExitCode;

use affectd::commands::Cli;
use affectd::host::logging;
use affectd::host::memory::FrameAllocator;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: FrameAllocator = FrameAllocator;

fn main() -> ExitCode {
    // First: the process that only starts a camera's program must do nothing
    // else.
    if let Some(code) = affectd::capture::launch_producer() {
        return code;
    }
    let cli = Cli::parse();
    logging::start(cli.log);
    let code = cli.run().unwrap_or_else(|error| {
        logging::print(format_args!("affectd: {error}\n"));
        ExitCode::FAILURE
    });
    logging::flush();
    code
}
