//! Log lines of the crate `log` on standard error. Where that leads to systemd's
//! journal, each line has its priority (`sd-daemon(3)`) and no time of its own.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use log::{Level, LevelFilter};

/// Starts logging. Other crates are heard from the level warn on at most, since
/// their lines are for their developers.
pub fn start(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder
        .filter_module("affectd", level)
        .filter_level(level.min(LevelFilter::Error));
    if leads_to_the_journal() {
        builder.format(|out, record| {
            let text = record.args().to_string();
            text.lines()
                .try_for_each(|line| writeln!(out, "<{}>{line}", priority(record.level())))
        });
    }
    // It fails only if a logger was started before.
    let _ = builder.try_init();
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
