//! Passes affectd's events on to MQTT and Home Assistant.

mod bridge;
mod broker;
mod check;
mod discovery;
mod forget;
mod secrets;
mod settings;
mod world;

use std::io::Write as _;
use std::process::ExitCode;

use affectd_bridge::cli::{self, Arguments, Parsed, Program};
use affectd_bridge::logging;

use crate::settings::Settings;

const PROGRAM: Program = Program {
    name: "affectd-mqtt",
    version: env!("CARGO_PKG_VERSION"),
    help: HELP,
    config: "/etc/affectd/mqtt.toml",
    commands: &["run", "check", "forget"],
    options: &[("connect", false), ("id", true)],
};

const HELP: &str = "\
Passes affectd's events on to MQTT and Home Assistant

Usage: affectd-mqtt [COMMAND] [OPTIONS]

Commands:
  run      reads the event socket and publishes, until SIGTERM or SIGINT (default)
  check    reports everything that is wrong with the configuration
  forget   clears this machine's retained messages at the broker, which removes
           its device from Home Assistant; stop the service before

Options:
      --config FILE  the configuration [default: /etc/affectd/mqtt.toml]
      --connect      with check: also connects to affectd and to the broker
      --id ID        with forget: another machine's id, such as a broken one's
      --log LEVEL    error, warn, info, debug, trace or off [default: info, or
                     $AFFECTD_LOG]
  -h, --help         prints this
  -V, --version      prints the version

Examples:
  affectd-mqtt check --connect              is everything right, and reachable?
  affectd-mqtt --config mqtt.toml           runs in the foreground
  mosquitto_sub -v -t 'affectd/#'           what it publishes
  systemctl stop affectd-mqtt && affectd-mqtt forget
  affectd-mqtt forget --id robot-7          a robot that is gone for good

Exit codes: 0 success, 1 failure (standard error says why), 2 wrong usage.
Manual: affectd-mqtt(1), /usr/share/doc/affectd-mqtt/mqtt.md
";

fn main() -> ExitCode {
    match cli::parse(&PROGRAM, std::env::args_os().skip(1)) {
        Parsed::Print(text) => {
            // Whoever closes the pipe has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Parsed::Wrong(text) => {
            eprint!("{text}");
            ExitCode::from(2)
        }
        Parsed::Run(arguments) => {
            logging::start(arguments.log);
            match execute(&arguments) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("affectd-mqtt: {error}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn execute(arguments: &Arguments) -> Result<(), String> {
    for (option, command) in [("connect", "check"), ("id", "forget")] {
        if arguments.option(option).is_some() && arguments.command != command {
            return Err(format!("--{option} belongs to the command {command}"));
        }
    }
    let settings = Settings::read(&arguments.config).map_err(|error| error.to_string())?;
    match arguments.command {
        "check" => check::run(&settings, arguments),
        "forget" => forget::run(&settings, arguments.option("id")),
        _ => bridge::run(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manual page is written by hand.
    #[test]
    fn the_manual_page_has_every_command_and_option() {
        let page = include_str!("../packaging/affectd-mqtt.1");
        let page = page.replace("\\-", "-");
        for command in PROGRAM.commands {
            assert!(page.contains(&format!(".B {command}\n")), "{command}");
        }
        let options = PROGRAM.options.iter().map(|(name, _)| *name);
        for option in options.chain(["config", "log", "help", "version"]) {
            assert!(page.contains(&format!("--{option}")), "{option}");
            assert!(HELP.contains(&format!("--{option}")), "{option}");
        }
    }
}
