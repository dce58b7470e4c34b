//! Readers of the event socket that connect, send anything, read or do not
//! read, and leave. Each byte of the input is an action of one reader. An
//! honest reader among them gets every line complete.
#![no_main]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use affectd::frame::Timestamp;
use affectd::output::events::{Events, Hello, Options};
use affectd::output::{Camera, Output as _, Report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("room in /dev/shm");
    let socket = folder.path().join("events");
    let options = Options {
        socket: Some(socket.clone()),
        period: Some(Duration::from_millis(1)),
        ..Options::default()
    };
    let hello = Hello {
        source: "fuzz".to_owned(),
        live: true,
        model: "none".to_owned(),
        ..Hello::default()
    };
    let mut events = Events::new(&options, hello).expect("a socket");
    let honest = UnixStream::connect(&socket).expect("the first reader");
    honest
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let mut honest = BufReader::new(honest);
    // A reader that is still in the listener's queue at the end gets nothing.
    let mut hello = String::new();
    honest.read_line(&mut hello).expect("the first line");
    assert!(hello.contains("\"hello\""), "{hello}");
    let mut readers: Vec<UnixStream> = Vec::new();
    for (step, &byte) in data.iter().take(64).enumerate() {
        let which = usize::from(byte >> 3);
        match byte & 7 {
            0 | 1 => {
                if let Ok(reader) = UnixStream::connect(&socket) {
                    let _ = reader.set_nonblocking(true);
                    readers.push(reader);
                }
            }
            2 if !readers.is_empty() => drop(readers.swap_remove(which % readers.len())),
            3 if !readers.is_empty() => {
                let _ = (&readers[which % readers.len()]).write(&data[step..]);
            }
            4 if !readers.is_empty() => {
                let _ = (&readers[which % readers.len()]).read(&mut [0; 300]);
            }
            5 if !readers.is_empty() => {
                let _ = readers[which % readers.len()].shutdown(std::net::Shutdown::Write);
            }
            _ => {
                events.update(&Report {
                    timestamp: Timestamp::from_millis(step as u64 * 10),
                    frame: step as u64,
                    camera: Camera::Lost { reason: "fuzz" },
                    ..Report::default()
                });
            }
        }
    }
    events.finish();
    drop(events);
    let lines: Vec<String> = honest
        .lines()
        .collect::<Result<_, _>>()
        .expect("lines in UTF-8, and an end");
    assert!(lines.iter().all(|line| line.ends_with('}')), "{lines:?}");
});
