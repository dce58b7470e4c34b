//! `affectd devices`: lists this machine's devices under the names that a board
//! file uses.

use std::process::ExitCode;

use super::CommandResult;
use crate::capture;
use crate::output::{display, gpio};

/// List cameras, GPIO chips, buses and framebuffers by the names that a board file uses
#[derive(clap::Args)]
pub struct Args {}

/// Prints the devices of this machine.
///
/// # Errors
/// None; a device that cannot be opened is listed with the reason.
pub fn run(_: &Args) -> CommandResult {
    println!("cameras ([capture] source):");
    let cameras = capture::cameras();
    for camera in &cameras {
        print!("{camera}");
    }
    none_if(cameras.is_empty());

    println!("\nGPIO chips ([gpio] chip and lines):");
    let chips = gpio::chips();
    for chip in &chips {
        print_chip(chip);
    }
    none_if(chips.is_empty());

    let devices = display::devices();
    for (title, list) in [
        ("I2C buses ([[display]] bus)", &devices.i2c),
        ("SPI devices ([[display]] spi)", &devices.spi),
        ("framebuffers ([[display]] path)", &devices.framebuffers),
    ] {
        println!("\n{title}:");
        for device in list {
            println!("  {}  {}", device.path.display(), device.description);
        }
        none_if(list.is_empty());
    }
    Ok(ExitCode::SUCCESS)
}

fn none_if(empty: bool) {
    if empty {
        println!("  none");
    }
}

fn print_chip(chip: &gpio::ChipInfo) {
    println!(
        "  \"{}\"  {}, {} lines",
        chip.label,
        chip.path.display(),
        chip.lines.len()
    );
    if let Some(problem) = &chip.problem {
        println!("    {problem}");
    }
    for line in &chip.lines {
        // Chips have dozens of lines without a name or a user.
        if line.name.is_none() && line.user.is_none() {
            continue;
        }
        print!("    {:>3}", line.offset);
        if let Some(name) = &line.name {
            print!("  \"{name}\"");
        }
        if let Some(user) = &line.user {
            print!("  used by {user}");
        }
        println!();
    }
}
