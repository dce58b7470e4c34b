//! Parses arguments, picks a command, and turns an error into a message and an
//! exit code.

use std::process::ExitCode;

use affectd::commands::Cli;
use affectd::host::memory::FrameAllocator;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: FrameAllocator = FrameAllocator;

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::new()
        .filter_module("affectd", cli.log)
        // tract tells at info what only its developers want to know.
        .filter_level(cli.log.min(log::LevelFilter::Warn))
        .init();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("affectd: {error}");
            ExitCode::FAILURE
        }
    }
}
