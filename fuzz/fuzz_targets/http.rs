//! Clients of an HTTP socket that send what they like, in pieces, read or do not,
//! and go. Whatever they get begins as a response, and an honest client gets its
//! answer all the same.
#![no_main]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use affectd::http::{Next, Request, Response, Server, Settings, Status, Stream};
use libfuzzer_sys::fuzz_target;

/// Ten parts of a picture's size, every other time it is asked.
struct Parts(u32);

impl Stream for Parts {
    fn next(&mut self, out: &mut Vec<u8>) -> Next {
        self.0 += 1;
        match self.0 {
            20.. => Next::End,
            count if count % 2 == 0 => Next::Wait,
            _ => {
                out.resize(30_000, b'x');
                Next::Part
            }
        }
    }
}

fn answer(request: &Request<'_>) -> Response {
    match request.path {
        "/stream" => Response::stream("multipart/x-mixed-replace", Parts(0)),
        path => Response::text(Status::OK, format!("{path}?{}", request.query)).with_header(
            "X-Host",
            request.header("Host").unwrap_or_default().to_owned(),
        ),
    }
}

struct Client {
    socket: UnixStream,
    got: Vec<u8>,
}

impl Client {
    fn read(&mut self) {
        let mut bytes = [0; 3000];
        if let Ok(count) = self.socket.read(&mut bytes) {
            self.got.extend_from_slice(&bytes[..count]);
            let start = &self.got[..self.got.len().min(9)];
            assert!(b"HTTP/1.1 ".starts_with(start), "{:?}", self.got);
        }
    }
}

/// What an honest client gets.
fn ask(path: &Path) -> String {
    let mut honest = UnixStream::connect(path).expect("a listener");
    honest
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    honest
        .write_all(b"GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("room");
    let mut answer = String::new();
    honest.read_to_string(&mut answer).expect("an answer");
    answer
}

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("room in /dev/shm");
    let path = folder.path().join("http");
    let settings = Settings {
        thread: "http",
        clients: 4,
        patience: Duration::from_secs(10),
    };
    let server = Server::open(&path, settings, answer).expect("a socket");
    let mut clients: Vec<Client> = Vec::new();
    let mut rest = data;
    // A byte says what is done; for what is sent, the next one how much.
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let which = usize::from(byte >> 3);
        let count = clients.len().max(1);
        let has_room = clients.len() < 6;
        let chosen = clients.get_mut(which % count);
        match (byte & 7, chosen) {
            (0, _) if has_room => {
                let socket = UnixStream::connect(&path).expect("a listener");
                socket.set_nonblocking(true).expect("a mode");
                let got = Vec::new();
                clients.push(Client { socket, got });
            }
            (1, Some(_)) => drop(clients.swap_remove(which % count)),
            (2, Some(client)) => client.read(),
            (3, Some(client)) => {
                let _ = client.socket.shutdown(std::net::Shutdown::Write);
            }
            (4, Some(client)) => {
                // A request that is one, but for what stood before it.
                let _ = client
                    .socket
                    .write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
            }
            (5, _) => server.waker().wake(),
            (_, Some(client)) if !rest.is_empty() => {
                let length = usize::from(rest[0]).min(rest.len() - 1);
                let (piece, after) = rest[1..].split_at(length);
                rest = after;
                let _ = client.socket.write(piece);
            }
            _ => {}
        }
    }
    let mut answer = ask(&path);
    for client in &mut clients {
        client.read();
    }
    // There may be too many clients, until the server has seen them go.
    clients.clear();
    let deadline = Instant::now() + Duration::from_secs(20);
    while answer.starts_with("HTTP/1.1 503 ") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        answer = ask(&path);
    }
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n/a?b"), "{answer}");
});
