//! Log lines of the crate `log` on standard error, in the daemon's format. Where
//! that leads to systemd's journal, each line has its priority (`sd-daemon(3)`)
//! and no time of its own.
//!
//! env_logger would bring a library of dates, a tenth of a bridge's size.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Starts logging. Other crates are heard with errors only, since their lines are
/// for their developers.
pub fn start(level: LevelFilter) {
    let logger = Logger {
        level,
        is_journal: leads_to_the_journal(),
    };
    // It fails only if a logger was started before.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

struct Logger {
    level: LevelFilter,
    is_journal: bool,
}

impl Logger {
    fn line(&self, record: &Record<'_>) -> String {
        let text = record.args().to_string();
        if self.is_journal {
            let priority = priority(record.level());
            text.lines()
                .map(|line| format!("<{priority}>{line}\n"))
                .collect()
        } else {
            let time = humantime::format_rfc3339_seconds(SystemTime::now());
            let (level, target) = (record.level(), record.target());
            format!("[{time} {level:<5} {target}] {text}\n")
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = if metadata.target().starts_with("affectd") {
            self.level
        } else {
            self.level.min(LevelFilter::Error)
        };
        metadata.level() <= level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // There is nowhere to report that standard error is gone.
            let _ = io::stderr().write_all(self.line(record).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// The priority as `syslog(3)` counts.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// By `$JOURNAL_STREAM`, `DEVICE:INODE`, which systemd sets for its services.
fn leads_to_the_journal() -> bool {
    let file = io::stderr().as_fd().try_clone_to_owned();
    let Some(status) = file
        .ok()
        .and_then(|file| std::fs::File::from(file).metadata().ok())
    else {
        return false;
    };
    std::env::var("JOURNAL_STREAM")
        .is_ok_and(|text| text == format!("{}:{}", status.dev(), status.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(is_journal: bool, text: &str) -> String {
        let logger = Logger {
            level: LevelFilter::Info,
            is_journal,
        };
        logger.line(
            &Record::builder()
                .level(Level::Warn)
                .target("affectd_mqtt::broker")
                .args(format_args!("{text}"))
                .build(),
        )
    }

    #[test]
    fn the_journal_gets_the_priority_of_every_line() {
        assert_eq!(line(true, "a\nb"), "<4>a\n<4>b\n");
    }

    #[test]
    fn elsewhere_a_line_has_a_time_and_its_module() {
        let line = line(false, "gone");
        assert!(line.starts_with("[20"), "{line}");
        assert!(
            line.ends_with("Z WARN  affectd_mqtt::broker] gone\n"),
            "{line}"
        );
    }

    #[test]
    fn other_crates_are_heard_with_errors_only() {
        let logger = Logger {
            level: LevelFilter::Debug,
            is_journal: false,
        };
        let enabled = |target, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(enabled("affectd_bridge::events", Level::Debug));
        assert!(!enabled("affectd_bridge::events", Level::Trace));
        assert!(enabled("rumqttc::eventloop", Level::Error));
        assert!(!enabled("rumqttc::eventloop", Level::Warn));
    }
}
