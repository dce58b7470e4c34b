//! Settings of the kernel that keep the loop's timing: memory that is not paged
//! out, and a real-time priority.

use std::fmt;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::process::getpriority_process;
use rustix::thread::disable_transparent_huge_pages;
use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// The board file's `[process]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the frame arena ([`memory`](crate::host::memory)); 0: none.
    pub arena: usize,
    /// Keep all memory from being paged out.
    pub lock_memory: bool,
    /// Run the loop under `SCHED_FIFO` with this priority.
    pub realtime_priority: Option<u8>,
}

impl Options {
    /// The same without a priority. Threads inherit the priority of the thread
    /// that starts them, so the loop gives it up while it starts any.
    #[must_use]
    pub const fn without_priority(self) -> Self {
        Self {
            realtime_priority: None,
            ..self
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arena: 4 << 20,
            lock_memory: false,
            realtime_priority: None,
        }
    }
}

/// What the kernel refused, and which privilege is missing.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(
        "process.lock_memory: {reason}; this needs the capability CAP_IPC_LOCK or no limit on \
         locked memory (systemd: LimitMEMLOCK=infinity; a shell: ulimit -l unlimited)"
    )]
    Lock { reason: String },
    #[error(
        "process.realtime_priority: the kernel refuses SCHED_FIFO with priority {priority}: \
         {source}; this needs the capability CAP_SYS_NICE or a limit of {priority} at least, and \
         it is {limit} (systemd: LimitRTPRIO={priority}; a login: 'rtprio {priority}' in \
         /etc/security/limits.conf)"
    )]
    Realtime {
        priority: u8,
        limit: Limit,
        source: io::Error,
    },
}

/// A limit of the process (`ulimit`), as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit(String);

impl Limit {
    /// Read from `/proc`, because the system call for it can also set limits,
    /// and services are often forbidden to call it.
    fn of(name: &str) -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let of_name = |line: &str| {
            let soft = line.strip_prefix(name)?.split_whitespace().next()?;
            Some(Self(soft.to_owned()))
        };
        let found = limits.lines().find_map(of_name);
        found.unwrap_or_else(|| Self("unknown".to_owned()))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Brings the process and this thread from one setting to another. The arena is
/// not part of it: see [`memory::reserve`](crate::host::memory::reserve).
///
/// # Errors
/// The kernel refuses a setting. Everything stays as it was before.
pub fn change(from: &Options, to: &Options) -> Result<(), ProcessError> {
    if to.lock_memory && !from.lock_memory {
        lock_memory()?;
    }
    if to.realtime_priority != from.realtime_priority {
        match to.realtime_priority {
            Some(priority) => {
                if let Err(error) = set_realtime(priority) {
                    if to.lock_memory && !from.lock_memory {
                        unlock_memory();
                    }
                    return Err(error);
                }
            }
            None => set_ordinary(),
        }
    }
    if from.lock_memory && !to.lock_memory {
        unlock_memory();
    }
    Ok(())
}

/// Keeps memory in pages of the usual size. Where transparent huge pages are on
/// for all processes, the kernel looks every ten seconds for ranges of 2 MiB
/// that are partly in use, and fills them up: the process would grow for hours
/// without any allocation, most of all through its threads' stacks.
pub fn keep_pages_small() {
    // A kernel without huge pages does not know this setting.
    let _ = disable_transparent_huge_pages(true);
}

/// Number of the capability CAP_IPC_LOCK.
const CAP_IPC_LOCK: u32 = 14;

/// Keeps all memory from being paged out: what is in use now, and later memory
/// from its first use on.
///
/// # Errors
/// The process has a limit on locked memory. With a limit the kernel would lock
/// the present memory and refuse more later, in the middle of a frame.
pub fn lock_memory() -> Result<(), ProcessError> {
    let limit = Limit::of("Max locked memory");
    if limit.0 != "unlimited" && !has_capability(CAP_IPC_LOCK) {
        return Err(ProcessError::Lock {
            reason: format!("at most {limit} bytes may be locked"),
        });
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| ProcessError::Lock {
        reason: io::Error::from(error).to_string(),
    })
}

/// Undoes [`lock_memory`].
pub fn unlock_memory() {
    // Nothing can be done about an error, and without a lock there is none.
    let _ = munlockall();
}

/// Runs this thread under `SCHED_FIFO`. Threads that it starts later would
/// inherit this: call this function after all threads are started.
///
/// # Errors
/// The process lacks the privilege, or the priority is not from 1 to 99.
pub fn set_realtime(priority: u8) -> Result<(), ProcessError> {
    let refused = |source| ProcessError::Realtime {
        priority,
        limit: Limit::of("Max realtime priority"),
        source,
    };
    let value = priority
        .try_into()
        .map_err(|error: String| refused(io::Error::other(error)))?;
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        fifo,
    )
    .map_err(|error| {
        refused(match error {
            thread_priority::Error::OS(code) => io::Error::from_raw_os_error(code),
            other => io::Error::other(other.to_string()),
        })
    })
}

/// Runs this thread as an ordinary one again, with the niceness that it had: a
/// thread cannot lower its niceness again without a privilege.
pub fn set_ordinary() {
    let other = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let niceness = getpriority_process(None).unwrap_or(0);
    let priority = ThreadPriority::Crossplatform(as_priority(niceness));
    // The kernel always allows this.
    let _ = set_thread_priority_and_policy(thread_native_id(), priority, other);
}

/// The value that the crate thread-priority turns into this niceness: it counts
/// from 0, the nicest, to 99.
fn as_priority(niceness: i32) -> ThreadPriorityValue {
    const NICEST: f32 = 19.0;
    const STEPS: f32 = 39.0;
    // In the middle between two steps: the crate takes the lower one.
    let part = (NICEST - niceness as f32 - 0.5).max(0.0) / STEPS;
    ((part * 99.0).round() as u8).try_into().unwrap_or_default()
}

fn has_capability(number: u32) -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status
                .lines()
                .find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .is_some_and(|mask| mask & 1 << number != 0)
}

/// Page faults of the process so far: those served from memory, and those that
/// waited for a disk.
#[must_use]
pub fn page_faults() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold blanks; the state is the field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.nth(7)?.parse().ok()?, fields.nth(1)?.parse().ok()?))
}

/// Bytes of the process that are in memory. Allocates nothing.
#[must_use]
pub fn resident_memory() -> Option<u64> {
    use std::io::Read as _;
    // The kernel gives all of it with the first read; it is about 1,500 bytes.
    let mut bytes = [0; 4096];
    let length = std::fs::File::open("/proc/self/status")
        .ok()?
        .read(&mut bytes)
        .ok()?;
    let status = std::str::from_utf8(&bytes[..length]).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_faults_are_counted() {
        let (before, _) = page_faults().unwrap();
        // More than glibc ever keeps for reuse (32 MiB), so that it is fresh memory.
        let fresh = vec![1u8; 64 << 20];
        let (after, _) = page_faults().unwrap();
        // Fewer than one a page of 4 KiB: the kernel may give larger ones.
        assert!(
            after > before,
            "{before} to {after} with {} bytes",
            fresh.len()
        );
    }

    #[test]
    fn resident_memory_is_some_megabytes() {
        let bytes = resident_memory().unwrap();
        assert!((1 << 20..1 << 36).contains(&bytes), "{bytes}");
    }

    #[test]
    fn limits_are_read() {
        assert_eq!(Limit::of("Max no such thing").0, "unknown");
        let limit = Limit::of("Max realtime priority").0;
        assert!(
            limit == "unlimited" || limit.parse::<u32>().is_ok(),
            "{limit}"
        );
    }

    #[test]
    fn an_impossible_priority_says_what_is_missing() {
        let error = set_realtime(100).unwrap_err().to_string();
        assert!(error.contains("LimitRTPRIO=100"), "{error}");
        assert!(error.contains("CAP_SYS_NICE"), "{error}");
    }

    // On threads of their own: the policy is a thread's.
    #[test]
    fn niceness_is_restored_after_a_realtime_priority() {
        for niceness in 0..20 {
            let after = std::thread::spawn(move || {
                // Of this thread alone, on Linux.
                let _ = rustix::process::setpriority_process(None, niceness);
                let before = getpriority_process(None).unwrap();
                set_ordinary();
                (before, getpriority_process(None).unwrap())
            });
            let (before, after) = after.join().unwrap();
            assert_eq!(after, before, "niceness");
        }
    }

    #[test]
    fn a_priority_comes_and_goes_where_it_is_allowed() {
        let tried = std::thread::spawn(|| {
            let had = set_realtime(1);
            let policy = || std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
            let in_force = policy();
            set_ordinary();
            (had.map_err(|error| error.to_string()), in_force, policy())
        });
        let (had, in_force, after) = tried.join().unwrap();
        match had {
            // A kernel without CONFIG_SCHED_DEBUG has no such file.
            Ok(()) if in_force.is_empty() => {}
            Ok(()) => {
                let policy = |text: &str| {
                    let line = text
                        .lines()
                        .find(|line| line.starts_with("policy"))
                        .unwrap();
                    line.rsplit(':').next().unwrap().trim().to_owned()
                };
                assert_eq!(
                    (policy(&in_force), policy(&after)),
                    ("1".into(), "0".into())
                );
            }
            Err(error) => assert!(error.contains("CAP_SYS_NICE"), "{error}"),
        }
    }
}
