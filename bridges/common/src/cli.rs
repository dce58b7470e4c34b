//! The command line that all bridges have: a command, `--config`, `--log`,
//! `--help`, `--version`, and a few options of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use log::LevelFilter;

/// What a bridge's command line knows.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub name: &'static str,
    pub version: &'static str,
    /// The whole text of `--help`.
    pub help: &'static str,
    /// The default of `--config`.
    pub config: &'static str,
    /// Names of commands; the first is the default.
    pub commands: &'static [&'static str],
    /// Further options without the dashes, each with whether it takes a value.
    pub options: &'static [(&'static str, bool)],
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    pub command: &'static str,
    pub config: PathBuf,
    pub log: LevelFilter,
    options: Vec<(&'static str, String)>,
}

impl Arguments {
    /// The value of an option of [`Program::options`], if it was given; empty for
    /// one without a value.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter().rev();
        options
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What to do with a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    Run(Arguments),
    /// Print this on standard output and end with 0.
    Print(String),
    /// Print this on standard error and end with 2.
    Wrong(String),
}

/// Reads a command line, without the program's name.
#[must_use]
pub fn parse(program: &Program, arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    match read(program, arguments) {
        Ok(parsed) => parsed,
        Err(error) => Parsed::Wrong(format!(
            "{name}: {error}\nSee: {name} --help\n",
            name = program.name
        )),
    }
}

fn read(
    program: &Program,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut command = None;
    let mut config = PathBuf::from(program.config);
    let mut log = std::env::var("AFFECTD_LOG").ok();
    let mut options = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Parsed::Print(program.help.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Parsed::Print(format!(
                    "{} {}\n",
                    program.name, program.version
                )));
            }
            Long("config") => config = parser.value()?.into(),
            Long("log") => log = Some(parser.value()?.string()?),
            Long(given) => {
                let known = program.options.iter().find(|(name, _)| *name == given);
                let Some((name, has_value)) = known.copied() else {
                    return Err(argument.unexpected());
                };
                let value = if has_value {
                    parser.value()?.string()?
                } else {
                    String::new()
                };
                options.push((name, value));
            }
            Value(word) if command.is_none() => {
                let known = program.commands.iter().find(|known| word == **known);
                let Some(known) = known else {
                    return Err(format!(
                        "unknown command '{}'; commands are {}",
                        word.display(),
                        program.commands.join(", ")
                    )
                    .into());
                };
                command = Some(*known);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    let log = match log.as_deref() {
        None => LevelFilter::Info,
        Some(level) => level.parse().map_err(|_| {
            format!("log level '{level}': levels are error, warn, info, debug, trace and off")
        })?,
    };
    Ok(Parsed::Run(Arguments {
        command: command.unwrap_or(program.commands[0]),
        config,
        log,
        options,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program {
        name: "affectd-x",
        version: "1.2.3",
        help: "help\n",
        config: "/etc/affectd/x.toml",
        commands: &["run", "check"],
        options: &[("id", true), ("connect", false)],
    };

    fn parsed(line: &str) -> Parsed {
        parse(&PROGRAM, line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn defaults_and_options() {
        let Parsed::Run(arguments) = parsed("") else {
            panic!();
        };
        assert_eq!(arguments.command, "run");
        assert_eq!(arguments.config, PathBuf::from("/etc/affectd/x.toml"));
        let Parsed::Run(arguments) = parsed("check --connect --id=a --config c --log warn") else {
            panic!();
        };
        assert_eq!(arguments.command, "check");
        assert_eq!(arguments.option("id"), Some("a"));
        assert_eq!(arguments.option("connect"), Some(""));
        assert_eq!(arguments.option("other"), None);
        assert_eq!(arguments.config, PathBuf::from("c"));
        assert_eq!(arguments.log, LevelFilter::Warn);
    }

    #[test]
    fn help_and_version_are_printed() {
        assert_eq!(parsed("--help"), Parsed::Print("help\n".to_owned()));
        assert_eq!(
            parsed("run -V"),
            Parsed::Print("affectd-x 1.2.3\n".to_owned())
        );
    }

    #[test]
    fn wrong_usage_is_explained() {
        for (line, part) in [
            ("fly", "commands are run, check"),
            ("check run", "unexpected argument"),
            ("--fast", "--fast"),
            ("--config", "missing argument"),
            ("--log loud", "levels are error"),
            ("--connect=x", "unexpected argument"),
        ] {
            let Parsed::Wrong(error) = parsed(line) else {
                panic!("{line}");
            };
            assert!(error.contains(part), "{line}: {error}");
            assert!(error.ends_with("See: affectd-x --help\n"), "{error}");
        }
    }
}
