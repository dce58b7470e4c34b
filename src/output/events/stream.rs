//! Lines into standard output or a file, by a thread that may hang in a write.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::Error;
use super::queue::{QUEUE, Queue};
use crate::fault::Repeated;

/// A failed write is tried again after this time, then after twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// A pipe set to non-blocking by somebody else is asked again after this time.
const RETRY_FULL_PIPE: Duration = Duration::from_millis(20);

/// Where lines go.
#[derive(Debug)]
pub(super) struct Stream<W> {
    name: String,
    fault: Repeated,
    to: W,
    /// Whether a reader that has gone stays gone.
    ends_with_reader: bool,
    /// Whether something else's unfinished line has to be ended first.
    inside_line: bool,
}

/// Standard output, apart from what else is printed there: its descriptor is
/// duplicated, so that no lock is shared.
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

/// Opens an event file to append to, and makes it if it does not exist.
fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        // A named pipe without a reader must not hold up the start.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })
}

/// Tries whether an event file can be written. A file that this made is removed
/// again: made by root, who may run this, it would be closed to the daemon.
pub(super) fn probe(path: &Path) -> Result<(), Error> {
    let existed = path.symlink_metadata().is_ok();
    open(path)?;
    if !existed {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

pub(super) fn file(path: &Path) -> Result<Stream<File>, Error> {
    let to = open(path)?;
    let mut stream = Stream::new(format!("event file {}", path.display()), to, false);
    stream.inside_line = ends_inside_line(path).unwrap_or(false);
    Ok(stream)
}

/// Whether a file ends without a line's end, as a power cut or a disk that
/// stayed full leaves it.
fn ends_inside_line(path: &Path) -> io::Result<bool> {
    if !path.metadata()?.is_file() {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    // Fails on an empty file.
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl<W: Write> Stream<W> {
    fn new(name: String, to: W, ends_with_reader: bool) -> Self {
        Self {
            fault: Repeated::new(name.as_str()),
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
        let mut written = 0;
        let mut retry = RETRY_FIRST;
        // Attempts that a full pipe gets at the end.
        let mut last_chances = 50;
        loop {
            if written == line.len() {
                line.clear();
                written = 0;
                match queue.pop() {
                    Some(event) => event.write(&mut line),
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
                // The next reader of a named pipe must not begin inside a line.
                ErrorKind::BrokenPipe => written = 0,
                _ => {}
            }
            if self.ends_with_reader && is_gone(&error) {
                self.fault
                    .occurred(&format_args!("{error}; no more events there"));
                return queue.abandon();
            }
            self.fault.occurred(&format_args!(
                "{error}; tried again, {QUEUE} lines are kept until then"
            ));
            if queue.is_closed() {
                // Those that wait, and this one.
                let lost = queue.len() + 1;
                log::warn!("{}: the last {lost} lines are lost", self.name);
                return queue.abandon();
            }
            queue.wait_closed(retry);
            retry = (retry * 2).min(RETRY_LONGEST);
        }
    }
}

/// Whether an error says that the other end is not there any more: a pipe's
/// reader, or a terminal.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
        || matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::super::line::{Body, Event};
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
        // Full in the middle of the fourth line, then room again: closing the
        // queue gives one attempt more, which must go on where it stopped.
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
    fn a_disk_that_stays_full_does_not_keep_the_process() {
        let disk = Disk {
            room: 100,
            failures: usize::MAX,
            content: Arc::default(),
        };
        let (content, queue) = run(&disk, 20);
        assert_eq!(content.len(), 100);
        // Abandoned: further events are not kept.
        queue.push(event(21), Duration::ZERO);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_pipe_without_a_reader_is_given_up() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let queue = Queue::new().unwrap();
        queue.push(event(1), Duration::ZERO);
        // Returns though the queue is not closed.
        Stream::new("pipe".to_owned(), writer, true).run(&queue);
        queue.push(event(2), Duration::ZERO);
        assert_eq!(queue.len(), 0);
    }
}
