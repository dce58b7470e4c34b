//! The thread that serves the control socket.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::Deserialize;
use serde_json::json;

use super::options::{Command, Error, Options, UnknownCommand, names};
use super::status::Answer;
use crate::host::unix_socket::{Acceptor, Holder, Listener, SocketFile};
use crate::snapshot::Published;

/// How many clients may be connected at once.
pub const CLIENTS: usize = 8;

/// The longest request in bytes, with its line's end.
pub const REQUEST_LONGEST: usize = 4096;

/// A client that sends no complete request in this time is disconnected, so
/// that it does not block others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the thread waits until the loop has executed a command.
const LOOP_PATIENCE: Duration = Duration::from_secs(10);

/// The control socket. Dropping it ends the thread and removes the socket.
#[derive(Debug)]
pub struct Control {
    options: Options,
    orders: Receiver<Order>,
    _file: SocketFile,
    /// Closing it ends the thread.
    _alive: UnixStream,
}

/// A client's command for the loop.
#[derive(Debug)]
pub struct Order {
    pub command: Command,
    done: SyncSender<Result<(), String>>,
}

impl Order {
    /// Answers that the command was executed, or why not.
    pub fn finish(self, result: Result<(), String>) {
        // The client may be gone.
        let _ = self.done.try_send(result);
    }
}

impl Control {
    /// Creates the socket and starts its thread, which answers `status` from the
    /// latest snapshot.
    ///
    /// # Errors
    /// The socket cannot be created, another process uses it, or no thread can
    /// be started.
    pub fn open(options: &Options, latest: &Published) -> Result<Self, Error> {
        let (listener, file) = Listener::bind(&options.socket)?;
        let (alive, ended) = UnixStream::pair().map_err(Error::Thread)?;
        let (to_loop, orders) = mpsc::channel();
        let server = Server {
            acceptor: Acceptor::new(
                listener,
                format!("control socket {}", options.socket.display()),
            ),
            ended,
            allow: options.allow.clone(),
            latest: latest.clone(),
            to_loop,
        };
        std::thread::Builder::new()
            .name("control".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || server.run())
            .map_err(Error::Thread)?;
        Ok(Self {
            options: options.clone(),
            orders,
            _file: file,
            _alive: alive,
        })
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The next command of a client, if there is one.
    #[must_use]
    pub fn take_order(&self) -> Option<Order> {
        self.orders.try_recv().ok()
    }
}

struct Server {
    acceptor: Acceptor,
    ended: UnixStream,
    allow: Vec<Command>,
    latest: Published,
    to_loop: Sender<Order>,
}

struct Client {
    socket: OwnedFd,
    peer: Holder,
    request: Vec<u8>,
    deadline: Instant,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    command: String,
}

impl Server {
    fn run(mut self) {
        let mut clients: Vec<Client> = Vec::with_capacity(CLIENTS);
        loop {
            let now = Instant::now();
            clients.retain(|client| client.deadline > now);
            let listener = self.acceptor.listener(now);
            let listener = listener.filter(|_| clients.len() < CLIENTS);
            let accepting = listener.is_some();
            let next = clients
                .iter()
                .map(|client| client.deadline)
                .chain(self.acceptor.pauses_until(now))
                .min();
            let mut polled = Vec::with_capacity(CLIENTS + 2);
            polled.push(PollFd::new(&self.ended, PollFlags::IN));
            polled.extend(
                clients
                    .iter()
                    .map(|client| PollFd::new(&client.socket, PollFlags::IN)),
            );
            if let Some(listener) = listener {
                polled.push(PollFd::new(listener, PollFlags::IN));
            }
            let timeout = next.map(|next| next.saturating_duration_since(now));
            let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
            if poll(&mut polled, timeout.as_ref()).is_err() {
                continue;
            }
            let happened: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
            if happened[0] {
                return;
            }
            let mut index = 0;
            clients.retain_mut(|client| {
                index += 1;
                !happened[index] || self.serve(client)
            });
            if accepting
                && happened.last() == Some(&true)
                && let Some(socket) = self.acceptor.accept()
            {
                clients.push(Client {
                    peer: Holder::of(&socket),
                    socket,
                    request: Vec::with_capacity(REQUEST_LONGEST),
                    deadline: Instant::now() + PATIENCE,
                });
            }
        }
    }

    /// Reads a client's requests and answers each complete line; false if the
    /// client is finished.
    fn serve(&self, client: &mut Client) -> bool {
        let mut bytes = [0; 1024];
        let count = match recv(&client.socket, &mut bytes, RecvFlags::empty()) {
            Ok((0, _)) => {
                // A last line without an end counts as one.
                let request = std::mem::take(&mut client.request);
                if !request.is_empty() {
                    self.answer(client, &request);
                }
                return false;
            }
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        client.request.extend_from_slice(&bytes[..count]);
        while let Some(end) = client.request.iter().position(|byte| *byte == b'\n') {
            let rest = client.request.split_off(end + 1);
            let line = std::mem::replace(&mut client.request, rest);
            if !self.answer(client, &line) {
                return false;
            }
            client.deadline = Instant::now() + PATIENCE;
        }
        if client.request.len() >= REQUEST_LONGEST {
            refuse(
                client,
                &format!("a request has at most {REQUEST_LONGEST} bytes, with a line's end"),
            );
            return false;
        }
        true
    }

    /// Answers a request; false if the client does not accept the answer.
    fn answer(&self, client: &Client, request: &[u8]) -> bool {
        let request: Request = match serde_json::from_slice(request) {
            Ok(request) => request,
            Err(error) => {
                return refuse(
                    client,
                    &format!("a request is a line such as {{\"command\":\"status\"}}: {error}"),
                );
            }
        };
        if request.command == "status" {
            debug!("status asked by {}", client.peer);
            return match self.latest.get() {
                Some(snapshot) => reply(
                    client,
                    &Answer {
                        snapshot: &snapshot,
                        now: Instant::now(),
                    },
                ),
                None => refuse(client, "affectd is still starting"),
            };
        }
        let command: Command = match request.command.parse() {
            Ok(command) => command,
            Err(UnknownCommand { name }) => {
                return refuse(
                    client,
                    &format!(
                        "unknown command '{name}'; commands are status, {}",
                        names().collect::<Vec<_>>().join(", ")
                    ),
                );
            }
        };
        if !self.allow.contains(&command) {
            warn!("{command} refused to {}: not allowed", client.peer);
            return refuse(
                client,
                &format!("'{command}' is not allowed; add it to control.allow in the board file"),
            );
        }
        info!("{command} requested by {}", client.peer);
        let (done, result) = mpsc::sync_channel(1);
        let result = match self.to_loop.send(Order { command, done }) {
            Ok(()) => result.recv_timeout(LOOP_PATIENCE).unwrap_or_else(|_| {
                Err(format!(
                    "the loop has not answered within {} s; see the log",
                    LOOP_PATIENCE.as_secs()
                ))
            }),
            Err(_) => Err("affectd is ending".to_owned()),
        };
        match result {
            Ok(()) => reply(client, &json!({ "ok": true })),
            Err(error) => refuse(client, &error),
        }
    }
}

fn refuse(client: &Client, error: &str) -> bool {
    reply(client, &json!({ "ok": false, "error": error }))
}

/// Sends an answer; false if it does not fit into the kernel's buffer because
/// the client does not read.
fn reply(client: &Client, answer: &impl serde::Serialize) -> bool {
    let Ok(mut line) = serde_json::to_vec(answer) else {
        return false;
    };
    line.push(b'\n');
    let sent = send(&client.socket, &line, SendFlags::NOSIGNAL);
    sent == Ok(line.len())
}
