//! The log on standard error, or in systemd's journal, written by a thread of its
//! own.
//!
//! A thread that writes to a pipe which nobody reads waits for ever. The loop
//! must not wait: it may be about to set a GPIO line to its safe level. So each
//! log line goes into a bounded queue, and the thread writes from it. When the
//! queue is full, further lines are dropped and counted, and the count is
//! logged when there is room again.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, poll};

use super::journal::{self, Entry, Journal};
use super::memory;

/// How many lines may wait to be written before further lines are dropped.
pub const QUEUE: usize = 512;

/// How long [`flush`] waits without any line being written.
const STUCK: Duration = Duration::from_millis(300);

static STANDARD_ERROR: OnceLock<Arc<Queue>> = OnceLock::new();

/// Starts the thread. From then on it writes the lines of the crate `log` from
/// this level on, and the messages of panics.
///
/// Call this once, before any other thread starts: a thread inherits the
/// scheduling of the thread that starts it, and this one must be ordinary.
pub fn start(level: LevelFilter) {
    let Ok(queue) = standard_error() else {
        // Without a thread or a descriptor, lines are written directly.
        builder(level).init();
        return;
    };
    let queue = STANDARD_ERROR.get_or_init(|| queue);
    let inner = builder(level)
        .target(env_logger::Target::Pipe(Box::new(Formatted(Arc::clone(
            queue,
        )))))
        .build();
    let most = inner.filter();
    let journal = queue.has_journal.then(|| Arc::clone(queue));
    if log::set_boxed_logger(Box::new(Logger { inner, journal })).is_ok() {
        log::set_max_level(most);
    }
    // A panic that waits until its message is read would never end the process,
    // so the service manager would not start it again.
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let trace = std::backtrace::Backtrace::capture();
        print(format_args!("thread '{name}' {panic}\n"));
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            print(format_args!("{trace}"));
        }
        flush();
    }));
}

fn builder(level: LevelFilter) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    builder
        .filter_module("affectd", level)
        // tract's lines of the level info are for its own developers.
        .filter_level(level.min(LevelFilter::Warn));
    builder
}

/// Writes text to standard error through the queue, as if it were one line.
pub fn print(text: fmt::Arguments<'_>) {
    match STANDARD_ERROR.get() {
        Some(queue) => queue.push(text.to_string().as_bytes()),
        None => eprint!("{text}"),
    }
}

/// Waits until all lines are written, or until none has been written for 300
/// ms. Call this before the process ends.
pub fn flush() {
    if let Some(queue) = STANDARD_ERROR.get() {
        queue.flush(STUCK);
    }
}

/// Formats log lines outside of the frame's arena, because they outlive the
/// frame.
struct Logger {
    inner: env_logger::Logger,
    /// Where lines go instead if standard error leads to the journal.
    journal: Option<Arc<Queue>>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        memory::outlasting(|| match &self.journal {
            Some(queue) if self.inner.matches(record) => {
                let entry = Entry::new(record);
                queue.add(if entry.is_incident() {
                    Line::Entry(entry)
                } else {
                    Line::Text(entry.into_text())
                });
            }
            Some(_) => {}
            None => self.inner.log(record),
        });
    }

    fn flush(&self) {}
}

/// Takes each line from the formatter, which writes it in one piece.
struct Formatted(Arc<Queue>);

impl io::Write for Formatted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn standard_error() -> io::Result<Arc<Queue>> {
    // Not std's handle: a write that blocks would hold its lock, and every
    // eprintln would wait for that lock.
    let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let journal = if journal::is_behind(&file) {
        Some(Journal::open()?)
    } else {
        None
    };
    Queue::served(file, journal)
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    has_journal: bool,
}

/// What waits to be written.
enum Line {
    Text(Vec<u8>),
    Entry(Entry),
}

struct State {
    lines: VecDeque<Line>,
    /// Lines that were dropped since the last one that was kept.
    left_out: u64,
    /// The thread is writing a line.
    writing: bool,
    /// Lines written so far.
    written: u64,
}

impl State {
    fn is_done(&self) -> bool {
        self.lines.is_empty() && self.left_out == 0 && !self.writing
    }

    /// A line that says how many lines were dropped, if any.
    fn note(&mut self) -> Option<Line> {
        let count = std::mem::take(&mut self.left_out);
        (count > 0).then(|| {
            let text = format!(
                "[{count} lines of the log were left out here: standard error was not read]\n"
            );
            Line::Text(text.into_bytes())
        })
    }
}

impl Queue {
    /// A queue that a new thread writes to `file`.
    #[cfg(test)]
    fn written_to(file: File) -> io::Result<Arc<Self>> {
        Self::served(file, None)
    }

    /// A queue that a new thread writes to `file`, or to the journal.
    fn served(file: File, journal: Option<Journal>) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            state: Mutex::new(State {
                lines: VecDeque::with_capacity(QUEUE),
                left_out: 0,
                writing: false,
                written: 0,
            }),
            changed: Condvar::new(),
            has_journal: journal.is_some(),
        });
        let thread = Arc::clone(&queue);
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || thread.write(&file, journal.as_ref()))?;
        Ok(queue)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a text, or counts it where there is no room. Never waits.
    fn push(&self, text: &[u8]) {
        self.add(Line::Text(text.to_vec()));
    }

    fn add(&self, line: Line) {
        let mut state = self.lock();
        // Two places: one for the line that counts the dropped ones.
        if state.lines.len() + 2 > QUEUE {
            state.left_out += 1;
            return;
        }
        if let Some(note) = state.note() {
            state.lines.push_back(note);
        }
        state.lines.push_back(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until every line is written, or until none has been written for
    /// `stuck`.
    fn flush(&self, stuck: Duration) {
        let mut state = self.lock();
        while !state.is_done() {
            let before = state.written;
            let (next, waited) = self
                .changed
                .wait_timeout_while(state, stuck, |state| {
                    !state.is_done() && state.written == before
                })
                .unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                return;
            }
            state = next;
        }
    }

    fn write(&self, file: &File, journal: Option<&Journal>) {
        loop {
            let mut state = self
                .changed
                .wait_while(self.lock(), |state| state.is_done())
                .unwrap_or_else(PoisonError::into_inner);
            let next = state.lines.pop_front();
            let Some(line) = next.or_else(|| state.note()) else {
                continue;
            };
            state.writing = true;
            drop(state);
            match (&line, journal) {
                (Line::Text(text), _) => write_out(file, text),
                (Line::Entry(entry), Some(journal)) => {
                    journal.send(entry, |text| write_out(file, text));
                }
                // Entries exist only if there is a journal.
                (Line::Entry(_), None) => {}
            }
            let mut state = self.lock();
            state.writing = false;
            state.written += 1;
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Writes a line, however long that takes. A line that cannot be written is
/// lost: there is nowhere to report it.
fn write_out(mut file: &File, mut line: &[u8]) {
    while !line.is_empty() {
        match file.write(line) {
            Ok(0) => return,
            Ok(count) => line = &line[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The descriptor is shared with other processes, and one of them
            // may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(file, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::time::Instant;

    fn pipe() -> (File, File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (read.into(), write.into())
    }

    #[test]
    fn a_log_that_nobody_reads_holds_nothing_up_and_says_what_it_left_out() {
        let (mut read, write) = pipe();
        let queue = Queue::written_to(write).unwrap();
        let line = [b'.'; 199];
        let line = [&line[..], b"\n"].concat();
        let count = 2000;
        let start = Instant::now();
        for _ in 0..count {
            queue.push(&line);
        }
        // Nobody has read a byte of it, and the pipe is long full.
        let flushed = Instant::now();
        queue.flush(Duration::from_millis(20));
        assert!(flushed.elapsed() >= Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(20));
        let left_out = queue.lock().left_out;
        assert!(left_out > 1000, "{left_out}");

        // Once somebody reads, the rest comes, then the count.
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            while !text.ends_with(b"last\n") {
                let got = read.read(&mut buffer).unwrap();
                assert!(got > 0, "it was closed");
                text.extend(&buffer[..got]);
            }
            String::from_utf8(text).unwrap()
        });
        queue.flush(Duration::from_secs(20));
        queue.push(b"last\n");
        let text = reader.join().unwrap();
        let dots = text.lines().filter(|line| line.starts_with('.')).count();
        assert_eq!(dots as u64 + left_out, count);
        let notes: Vec<_> = text.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with(&format!("[{left_out} lines")));
    }

    #[test]
    fn a_descriptor_that_does_not_wait_loses_nothing() {
        let (mut read, write) = pipe();
        let flags = rustix::fs::fcntl_getfl(&write).unwrap();
        rustix::fs::fcntl_setfl(&write, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        let queue = Queue::written_to(write).unwrap();
        // More than a pipe holds.
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let reader = thread::spawn(move || {
            let mut got = vec![0; 200 * 1000];
            read.read_exact(&mut got).unwrap();
            got
        });
        for _ in 0..200 {
            queue.push(&line);
        }
        let got = reader.join().unwrap();
        assert!(got.chunks(1000).all(|part| part == line));
    }

    #[test]
    fn a_closed_descriptor_ends_nothing() {
        let (read, write) = pipe();
        drop(read);
        let queue = Queue::written_to(write).unwrap();
        queue.push(b"nobody\n");
        queue.flush(Duration::from_secs(20));
        assert!(queue.lock().is_done());
    }
}
