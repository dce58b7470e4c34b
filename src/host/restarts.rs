//! Counts unplanned restarts, such as after a crash, a kill or a power loss, and
//! keeps the reason of the last one.

use serde::{Deserialize, Serialize};

use super::state::State;

/// The name of the record in the state directory.
const RECORD: &str = "run";

/// The service manager's reason for the last end. Another process writes it: the
/// caller of [`end_by_service_manager`].
pub const EXIT: &str = "exit";

/// Unplanned restarts since the state directory was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    pub count: u64,
    /// Why the last one was needed.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
struct Record {
    restarts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The kernel's id of the boot in which the process ran.
    boot: String,
    /// Why the process ended by itself; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

/// Records that the process runs. Returns the restarts so far, including this one
/// if the last process did not end by itself.
pub fn begin(state: &mut State) -> Restarts {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    begin_in(state, boot.trim())
}

fn begin_in(state: &mut State, boot: &str) -> Restarts {
    let before = state.get(RECORD).map(serde_json::from_str::<Record>);
    let mut record = Record {
        boot: boot.to_owned(),
        ..Record::default()
    };
    match before {
        None => {}
        Some(Err(error)) => state.set_aside(RECORD, &error),
        Some(Ok(before)) => {
            record.restarts = before.restarts;
            record.reason = before.reason;
            if before.ended.is_none() {
                record.restarts += 1;
                let said = state.get(EXIT).map(|text| text.trim().to_owned());
                record.reason = Some(match said {
                    Some(said) if !said.is_empty() => said,
                    _ if before.boot != boot => {
                        "the machine was reset or lost its power".to_owned()
                    }
                    _ => "it was killed, or it crashed".to_owned(),
                });
            }
        }
    }
    if state.get(EXIT).is_some() {
        state.remove(EXIT);
    }
    write(state, &record);
    if let Some(reason) = record.reason.as_ref().filter(|_| record.restarts > 0) {
        log::info!(
            "unplanned restarts so far: {}; reason of the last one: {reason}",
            record.restarts
        );
    }
    Restarts {
        count: record.restarts,
        reason: record.reason,
    }
}

/// Records that the process ends by itself.
pub fn end(state: &mut State, reason: &str) {
    let record = state
        .get(RECORD)
        .and_then(|text| serde_json::from_str::<Record>(text).ok());
    if let Some(record) = record {
        let ended = Some(reason.to_owned());
        write(state, &Record { ended, ..record });
    }
}

fn write(state: &mut State, record: &Record) {
    // A structure of strings and numbers can always be written.
    if let Ok(text) = serde_json::to_string(record) {
        state.set(RECORD, text + "\n");
    }
}

/// How the last process ended, as systemd tells `ExecStopPost=`
/// (`systemd.exec(5)`, `$SERVICE_RESULT`). `None` if it ended without an error, or
/// if systemd did not start this process.
#[must_use]
pub fn end_by_service_manager() -> Option<String> {
    let variable = |name| std::env::var(name).ok();
    described(
        &variable("SERVICE_RESULT")?,
        &variable("EXIT_STATUS").unwrap_or_default(),
    )
}

fn described(result: &str, status: &str) -> Option<String> {
    Some(match result {
        "success" => return None,
        "watchdog" => "it hung, and the service manager's watchdog ended it".to_owned(),
        "core-dump" | "signal" => format!("it was ended by the signal {status}"),
        "oom-kill" => "the system had no memory left for it".to_owned(),
        "exit-code" => format!("it ended with exit code {status}"),
        "timeout" => "it did not start or stop in time".to_owned(),
        other => format!("the service manager says: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::state::Options;

    fn state(folder: &std::path::Path) -> State {
        State::open(&Options {
            directory: Some(folder.to_owned()),
        })
        .unwrap()
    }

    #[test]
    fn only_an_end_that_was_not_chosen_is_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let run = |boot: &str, end_with: Option<&str>| {
            let mut state = state(folder.path());
            let restarts = begin_in(&mut state, boot);
            if let Some(reason) = end_with {
                end(&mut state, reason);
            }
            restarts
        };
        assert_eq!(run("a", Some("SIGTERM")), Restarts::default());
        assert_eq!(run("b", None), Restarts::default());
        let killed = run("b", None);
        assert_eq!(killed.count, 1);
        assert!(killed.reason.unwrap().contains("killed"));
        let reset = run("c", None);
        assert_eq!(reset.count, 2);
        assert!(reset.reason.unwrap().contains("power"));
        // The service manager's reason counts more.
        let said = described("watchdog", "ABRT").unwrap();
        super::super::state::write(folder.path(), EXIT, Some(&said)).unwrap();
        let hung = run("c", Some("SIGTERM"));
        assert_eq!((hung.count, hung.reason), (3, Some(said)));
        // The last reason is kept, but the service manager's is used only once.
        let well = run("c", None);
        assert_eq!(well.count, 3);
        assert!(well.reason.unwrap().contains("hung"));
        assert!(run("c", None).reason.unwrap().contains("killed"));
    }

    #[test]
    fn a_damaged_record_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(RECORD), "{\"restarts\":").unwrap();
        assert_eq!(
            begin_in(&mut state(folder.path()), "a"),
            Restarts::default()
        );
        assert!(folder.path().join("run.damaged").exists());
        assert_eq!(begin_in(&mut state(folder.path()), "a").count, 1);
    }

    #[test]
    fn systemd_results_are_described_in_words() {
        assert_eq!(described("success", "0"), None);
        assert!(described("signal", "KILL").unwrap().contains("KILL"));
        assert!(described("exit-code", "1").unwrap().ends_with("code 1"));
        assert!(described("new-word", "").unwrap().contains("new-word"));
    }
}
