//! Writes lines to standard output or a file, on a thread that may hang in a
//! write.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use super::file::EventFile;
use super::line::{Body, Event};
use super::options::Error;
use super::queue::{QUEUE, Queue};
use super::target::Target;
use crate::fault::FaultLog;

/// The pause after a failed write; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// The pause after a full pipe that another program set to non-blocking.
const RETRY_FULL_PIPE: Duration = Duration::from_millis(20);

/// Where lines go.
#[derive(Debug)]
pub(super) struct Stream<W> {
    name: String,
    fault: FaultLog,
    /// A file that could not be opened again or replaced; lines still go to the
    /// old one.
    replacing: FaultLog,
    to: W,
    /// Whether the stream ends when its reader is gone.
    ends_with_reader: bool,
    /// Whether an earlier unfinished line must be ended first.
    inside_line: bool,
}

/// Standard output with a duplicated descriptor, so that no lock is shared with
/// other output.
pub(super) fn stdout() -> Result<Stream<File>, Error> {
    let descriptor = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Error::Stdout)?;
    Ok(Stream::new(
        "events on standard output".to_owned(),
        File::from(descriptor),
        true,
    ))
}

pub(super) fn file(path: &Path, max_bytes: Option<u64>) -> Result<Stream<EventFile>, Error> {
    let to = EventFile::open(path, max_bytes)?;
    let inside_line = to.ends_inside_line();
    let mut stream = Stream::new(format!("event file {}", path.display()), to, false);
    stream.inside_line = inside_line;
    Ok(stream)
}

impl<W: Target> Stream<W> {
    fn new(name: String, to: W, ends_with_reader: bool) -> Self {
        Self {
            fault: FaultLog::new(name.as_str()),
            replacing: FaultLog::new(name.as_str()),
            name,
            to,
            ends_with_reader,
            inside_line: false,
        }
    }

    /// Writes lines until the queue is closed and empty.
    pub fn run(mut self, queue: &Queue) {
        let mut line = Vec::with_capacity(1024);
        if self.inside_line {
            line.push(b'\n');
        }
        // Each new file begins with it, so that it can be read separately.
        let mut hello: Option<Event> = None;
        let mut fresh = false;
        let mut written = 0;
        let mut retry = RETRY_FIRST;
        // Attempts with a full pipe at the end.
        let mut last_chances = 50;
        loop {
            if written == line.len() {
                line.clear();
                written = 0;
                if queue.take_reopen() {
                    let reopened = self.to.reopen();
                    fresh |= self.replaced(reopened, "cannot be opened again");
                }
                match queue.pop() {
                    Some(event) => {
                        event.write(&mut line);
                        let replaced = self.to.make_room(line.len());
                        fresh |= self.replaced(replaced, "the full file cannot be replaced");
                        if matches!(event.body, Body::Hello(_)) {
                            hello = Some(event);
                        } else if let Some(hello) = hello.as_ref().filter(|_| fresh) {
                            line.clear();
                            hello.write(&mut line);
                            event.write(&mut line);
                        }
                        fresh = false;
                    }
                    None if queue.is_closed() => return,
                    None => queue.wait(),
                }
                continue;
            }
            let error = match self.to.write(&line[written..]) {
                Ok(count @ 1..) => {
                    written += count;
                    if self.fault.cleared() {
                        retry = RETRY_FIRST;
                    }
                    continue;
                }
                Ok(_) => ErrorKind::WriteZero.into(),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock if last_chances > 0 => {
                    if queue.wait_closed(RETRY_FULL_PIPE) {
                        last_chances -= 1;
                        std::thread::sleep(RETRY_FULL_PIPE);
                    }
                    continue;
                }
                // The next reader of a named pipe must begin at the start of a
                // line.
                ErrorKind::BrokenPipe => written = 0,
                _ => {}
            }
            if self.ends_with_reader && is_gone(&error) {
                self.fault
                    .occurred(&format_args!("{error}; no more events there"));
                return queue.abandon();
            }
            self.fault.occurred(&format_args!(
                "{error}; trying again, {QUEUE} lines are kept until then"
            ));
            if queue.is_closed() {
                // The waiting lines, and this one.
                let lost = queue.len() + 1;
                log::warn!("{}: the last {lost} lines are lost", self.name);
                return queue.abandon();
            }
            queue.wait_closed(retry);
            retry = (retry * 2).min(RETRY_LONGEST);
        }
    }
}

impl<W> Stream<W> {
    /// Whether there is a new file; logs a failure.
    fn replaced(&mut self, result: io::Result<bool>, failure: &str) -> bool {
        match result {
            Ok(fresh) => {
                if fresh {
                    self.replacing.cleared();
                }
                fresh
            }
            Err(error) => {
                self.replacing.occurred(&format_args!(
                    "{failure}: {error}; lines still go to the old one"
                ));
                false
            }
        }
    }
}

/// Whether an error means that the other end is gone: a pipe's reader, or a
/// terminal.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
        || matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADF))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::frame::Timestamp;
    use std::sync::{Arc, Mutex};

    /// A disk with room for some bytes, and for more after a number of failures.
    #[derive(Clone)]
    struct Disk {
        room: usize,
        failures: usize,
        content: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut content = self.content.lock().unwrap();
            let count = bytes.len().min(self.room - content.len());
            if count == 0 {
                self.failures -= 1;
                if self.failures == 0 {
                    self.room = usize::MAX;
                }
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target for Disk {}
    impl Target for io::PipeWriter {}

    fn event(frame: u64) -> Event {
        Event {
            time: Timestamp::from_millis(frame * 40),
            wall: None,
            frame,
            body: Body::Gone { track: 1 },
        }
    }

    fn run(disk: &Disk, frames: u64) -> (String, Queue) {
        let queue = Queue::new().unwrap();
        for frame in 0..frames {
            queue.push(event(frame), Duration::ZERO);
        }
        queue.close();
        let stream = Stream::new("disk".to_owned(), disk.clone(), false);
        stream.run(&queue);
        let content = disk.content.lock().unwrap().clone();
        (String::from_utf8(content).unwrap(), queue)
    }

    #[test]
    fn a_full_disk_breaks_no_line() {
        let mut expected = Vec::new();
        for frame in 0..20 {
            event(frame).write(&mut expected);
        }
        let expected = String::from_utf8(expected).unwrap();
        // The disk is full in the middle of the fourth line, then it has room
        // again: closing the queue gives one more attempt, which must continue
        // at the same place.
        let room = expected
            .lines()
            .take(3)
            .map(|line| line.len() + 1)
            .sum::<usize>()
            + 10;
        let disk = Disk {
            room,
            failures: 1,
            content: Arc::default(),
        };
        let queue = Queue::new().unwrap();
        for frame in 0..20 {
            queue.push(event(frame), Duration::ZERO);
        }
        let stream = Stream::new("disk".to_owned(), disk.clone(), false);
        std::thread::scope(|scope| {
            scope.spawn(|| stream.run(&queue));
            while queue.len() > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            queue.close();
        });
        let content = disk.content.lock().unwrap().clone();
        assert_eq!(String::from_utf8(content).unwrap(), expected);
    }

    #[test]
    fn a_disk_that_stays_full_does_not_block_the_end() {
        let disk = Disk {
            room: 100,
            failures: usize::MAX,
            content: Arc::default(),
        };
        let (content, queue) = run(&disk, 20);
        assert_eq!(content.len(), 100);
        // The queue is abandoned, so further events are not kept.
        queue.push(event(21), Duration::ZERO);
        assert_eq!(queue.len(), 0);
    }

    fn hello() -> Event {
        let hello = super::super::Hello {
            source: "test".to_owned(),
            live: false,
            model: "test".to_owned(),
            ..super::super::Hello::default()
        };
        Event {
            body: Body::Hello(Arc::new((hello, Duration::ZERO))),
            ..event(0)
        }
    }

    #[test]
    fn each_generation_of_a_file_is_whole_lines_after_a_hello() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let most = 4096;
        let stream = file(&path, Some(most)).unwrap();
        let queue = Queue::new().unwrap();
        queue.push(hello(), Duration::ZERO);
        std::thread::scope(|scope| {
            scope.spawn(|| stream.run(&queue));
            for frame in 1..=200 {
                queue.push(event(frame), Duration::from_secs(10));
            }
            queue.close();
        });
        let mut last = 201;
        for name in ["events.jsonl", "events.jsonl.1"] {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.len() as u64 <= most && text.ends_with('\n'), "{name}");
            let lines: Vec<serde_json::Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(lines[0]["type"], "hello", "{name}");
            // No line is lost, neither in a file nor between two files.
            for line in lines[1..].iter().rev() {
                last -= 1;
                assert_eq!(line["frame"], last, "{name}");
            }
        }
        assert!(last > 1, "an older generation is gone");
    }

    #[test]
    fn a_file_is_opened_again_at_once_and_begins_with_a_hello() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let moved = folder.path().join("events.jsonl.0");
        let stream = file(&path, None).unwrap();
        let queue = Queue::new().unwrap();
        queue.push(hello(), Duration::ZERO);
        queue.push(event(1), Duration::ZERO);
        std::thread::scope(|scope| {
            scope.spawn(|| stream.run(&queue));
            let wait = |for_what: &dyn Fn() -> bool| {
                let since = std::time::Instant::now();
                while !for_what() {
                    assert!(since.elapsed() < Duration::from_secs(20));
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            let lines =
                |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
            wait(&|| lines(&path) == 2);
            std::fs::rename(&path, &moved).unwrap();
            queue.ask_reopen();
            // Even without an event to write.
            wait(&|| path.exists());
            queue.push(event(2), Duration::ZERO);
            wait(&|| lines(&path) == 2);
            assert_eq!(lines(&moved), 2);
            queue.close();
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"hello\"") && text.contains("\"frame\":2"),
            "{text}"
        );
    }

    #[test]
    fn a_pipe_without_a_reader_is_given_up() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let queue = Queue::new().unwrap();
        queue.push(event(1), Duration::ZERO);
        // Returns although the queue is not closed.
        Stream::new("pipe".to_owned(), writer, true).run(&queue);
        queue.push(event(2), Duration::ZERO);
        assert_eq!(queue.len(), 0);
    }
}
