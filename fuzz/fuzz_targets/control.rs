//! Clients of the control socket that send anything, in pieces, read or do not
//! read, and leave. An honest client still gets its answers.
#![no_main]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use affectd::control::{Command, Control, Options};
use affectd::health::Health;
use affectd::snapshot::{Figures, Published, Snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("room in /dev/shm");
    let socket = folder.path().join("control");
    let latest = Published::default();
    latest.put(Snapshot {
        hello: Arc::default(),
        health: Health::default(),
        lost_reason: Arc::from(""),
        figures: Figures::default(),
        at: Instant::now(),
    });
    let options = Options {
        socket: socket.clone(),
        allow: Command::ALL.to_vec(),
    };
    let control = Control::open(&options, &latest).expect("a socket");
    let done = AtomicBool::new(false);
    let done = &done;
    std::thread::scope(|scope| {
        // The loop.
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                while let Some(order) = control.take_order() {
                    order.finish(Ok(()));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut clients: Vec<UnixStream> = Vec::new();
        let mut rest = data;
        // A byte chooses the action; if bytes are sent, the next byte is their
        // number.
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            let which = usize::from(byte >> 3);
            match byte & 7 {
                0 if clients.len() < 6 => {
                    let client = UnixStream::connect(&socket).expect("a listener");
                    client.set_nonblocking(true).expect("a mode");
                    clients.push(client);
                }
                1 if !clients.is_empty() => drop(clients.swap_remove(which % clients.len())),
                2 if !clients.is_empty() => {
                    let _ = (&clients[which % clients.len()]).read(&mut [0; 300]);
                }
                3 if !clients.is_empty() => {
                    let _ = clients[which % clients.len()].shutdown(std::net::Shutdown::Write);
                }
                4 if !clients.is_empty() => {
                    // A valid request, unless the client has sent other bytes
                    // before it on the same line.
                    let _ = (&clients[which % clients.len()]).write(b"{\"command\":\"pause\"}\n");
                }
                _ if !clients.is_empty() && !rest.is_empty() => {
                    let length = usize::from(rest[0]).min(rest.len() - 1);
                    let (piece, after) = rest[1..].split_at(length);
                    rest = after;
                    let _ = (&clients[which % clients.len()]).write(piece);
                }
                _ => {}
            }
        }
        let honest = UnixStream::connect(&socket).expect("a listener");
        honest
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        let mut honest = BufReader::new(honest);
        honest
            .get_mut()
            .write_all(b"{\"command\":\"status\"}\n")
            .expect("room");
        let mut answer = String::new();
        honest.read_line(&mut answer).expect("an answer");
        assert!(answer.starts_with("{\"ok\":true,"), "{answer}");
        done.store(true, Ordering::Relaxed);
    });
});
