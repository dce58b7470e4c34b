//! The thread that serves the clients of a socket.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::connection::{Connection, State};
use super::request::{HEAD_LONGEST, Request};
use super::response::{Response, Status};
use crate::host::unix_socket::{Acceptor, Holder, Listener, SocketError, SocketFile};

/// The usual [`Settings::patience`].
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How many clients above the limit are answered that there are too many.
/// Further ones wait.
pub const TURN_AWAY: usize = 4;

/// How long a client that sends too much may go on sending after the last
/// response. Closed at once, the connection would lose the response.
const LINGER: Duration = Duration::from_secs(1);

/// How often a stream without a part is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How a server is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name of the thread, which log lines also use.
    pub thread: &'static str,
    /// How many clients may be connected. One more gets the status 503, unless
    /// another has its answers and keeps the connection for later: that one is
    /// disconnected.
    pub clients: usize,
    /// A client that sends no complete request in this time, or does not take a
    /// response or a part of a stream, is disconnected.
    pub patience: Duration,
}

/// Answers requests, on the thread of the server: as long as it works, all
/// clients wait.
pub trait Handler: Send {
    /// The response to a request.
    fn answer(&mut self, request: &Request<'_>) -> Response;
}

impl<F: FnMut(&Request<'_>) -> Response + Send> Handler for F {
    fn answer(&mut self, request: &Request<'_>) -> Response {
        self(request)
    }
}

/// Errors from starting a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("HTTP socket {0}")]
    Socket(#[from] SocketError),
    #[error("HTTP cannot be served: {0}")]
    Thread(#[from] io::Error),
}

/// A running server. Dropping it disconnects all clients, ends the thread, and
/// removes the socket.
#[derive(Debug)]
pub struct Server {
    waker: Waker,
    _file: Option<SocketFile>,
    /// Closing it ends the thread.
    _alive: UnixStream,
}

/// Makes the server ask its streams for their next part.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(descriptor)))
    }

    /// Never waits and allocates nothing.
    pub fn wake(&self) {
        // Fails only if the counter is full, and then it is readable anyway.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl Server {
    /// Creates a socket with mode 0660 and serves it. Replaces a socket that no
    /// process listens at.
    ///
    /// # Errors
    /// The socket cannot be created, another process uses it, or no thread can
    /// be started.
    pub fn open(
        socket: &Path,
        settings: Settings,
        handler: impl Handler + 'static,
    ) -> Result<Self, Error> {
        let (listener, file) = Listener::bind(socket)?;
        let subject = format!("{} socket {}", settings.thread, socket.display());
        Ok(Self {
            _file: Some(file),
            ..Self::serve(listener, subject, settings, handler)?
        })
    }

    /// Serves a socket that listens already, such as one that the service
    /// manager has passed. `subject` opens the log lines about it.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn serve(
        listener: Listener,
        subject: String,
        settings: Settings,
        handler: impl Handler + 'static,
    ) -> io::Result<Self> {
        let (alive, ended) = UnixStream::pair()?;
        let waker = Waker::new()?;
        let serving = Serving {
            acceptor: Acceptor::new(listener, subject),
            ended,
            waker: waker.clone(),
            settings,
            handler,
            clients: Vec::with_capacity(settings.clients + TURN_AWAY),
        };
        std::thread::Builder::new()
            .name(settings.thread.to_owned())
            .stack_size(256 * 1024)
            .spawn(move || serving.run())?;
        Ok(Self {
            waker,
            _file: None,
            _alive: alive,
        })
    }

    /// Wakes the streams of this server.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

struct Serving<H> {
    acceptor: Acceptor,
    ended: UnixStream,
    waker: Waker,
    settings: Settings,
    handler: H,
    clients: Vec<Client>,
}

struct Client {
    socket: OwnedFd,
    peer: Holder,
    connection: Connection,
    /// Whether there were too many clients when it came.
    is_turned_away: bool,
    /// Whether it has got its last response.
    is_lingering: bool,
    /// What it is waited for since when.
    since: (State, u64),
    deadline: Option<Instant>,
}

impl<H: Handler> Serving<H> {
    fn run(mut self) {
        let mut happened = Vec::new();
        loop {
            let now = Instant::now();
            self.clients
                .retain(|client| client.deadline.is_none_or(|deadline| deadline > now));
            if !self.wait(now, &mut happened) {
                return;
            }
            self.waker.clear();
            let (handler, patience) = (&mut self.handler, self.settings.patience);
            let mut index = 0;
            self.clients.retain_mut(|client| {
                index += 1;
                client.go_on(happened[index - 1], handler, patience)
            });
            if happened.last().is_some_and(|listener| !listener.is_empty()) {
                self.accept();
            }
        }
    }

    /// Waits until something happens, and notes what, for each client and then
    /// for the listener. False if the server is at its end.
    fn wait(&mut self, now: Instant, happened: &mut Vec<PollFlags>) -> bool {
        let is_full = self.clients.len() >= self.settings.clients + TURN_AWAY;
        let listener = self.acceptor.listener(now).filter(|_| !is_full);
        let mut polled = Vec::with_capacity(self.clients.len() + 3);
        polled.push(PollFd::new(&self.ended, PollFlags::IN));
        polled.push(PollFd::from_borrowed_fd(
            self.waker.0.as_fd(),
            PollFlags::IN,
        ));
        let clients = self.clients.iter();
        polled.extend(clients.map(|client| PollFd::new(&client.socket, client.interest())));
        if let Some(listener) = listener {
            polled.push(PollFd::new(listener, PollFlags::IN));
        }
        let next = self.clients.iter().filter_map(|client| client.deadline);
        let next = next.chain(self.acceptor.pauses_until(now)).min();
        let mut timeout = next.map(|next| next.saturating_duration_since(now));
        if self.clients.iter().any(Client::has_waiting_stream) {
            timeout = Some(timeout.map_or(ASK_AGAIN, |time| time.min(ASK_AGAIN)));
        }
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        let result = poll(&mut polled, timeout.as_ref());
        happened.clear();
        let ended = polled[0].revents();
        happened.extend(polled[2..].iter().map(PollFd::revents));
        happened.resize(self.clients.len() + 1, PollFlags::empty());
        if result.is_err() {
            happened.fill(PollFlags::empty());
            return true;
        }
        ended.is_empty()
    }

    fn accept(&mut self) {
        let Some(socket) = self.acceptor.accept() else {
            return;
        };
        let counted = |client: &&Client| !client.is_turned_away;
        if self.clients.iter().filter(counted).count() >= self.settings.clients {
            let idle = self.clients.iter().position(Client::is_idle);
            if let Some(idle) = idle {
                self.clients.remove(idle);
            }
        }
        let is_full = self.clients.iter().filter(counted).count() >= self.settings.clients;
        self.clients.push(Client {
            peer: Holder::of(&socket),
            socket,
            connection: Connection::new(),
            is_turned_away: is_full,
            is_lingering: false,
            since: (State::Receiving, 0),
            deadline: Some(Instant::now() + self.settings.patience),
        });
    }
}

impl Client {
    /// What to wait for. The end of a connection is always reported.
    const fn interest(&self) -> PollFlags {
        if self.is_lingering {
            return PollFlags::IN;
        }
        match self.connection.state() {
            State::Receiving => PollFlags::IN,
            State::Sending if self.connection.is_streaming() => {
                PollFlags::OUT.union(PollFlags::RDHUP)
            }
            State::Sending => PollFlags::OUT,
            State::Waiting | State::Over => PollFlags::RDHUP,
        }
    }

    fn has_waiting_stream(&self) -> bool {
        self.connection.state() == State::Waiting
    }

    /// Whether it has got a response and asks for no other.
    const fn is_idle(&self) -> bool {
        self.connection.is_idle() && self.connection.turns() > 0 && !self.is_turned_away
    }

    /// Goes on after this happened to the socket; false if the client is
    /// finished.
    fn go_on(
        &mut self,
        happened: PollFlags,
        handler: &mut impl Handler,
        patience: Duration,
    ) -> bool {
        if happened.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
            || (happened.contains(PollFlags::RDHUP) && self.connection.is_streaming())
        {
            return false;
        }
        if happened.contains(PollFlags::IN) && !self.receive() {
            return false;
        }
        if self.is_lingering {
            return true;
        }
        // One step at a time, so that a client that reads as fast as it can leaves
        // room for others.
        let (peer, is_turned_away) = (&self.peer, self.is_turned_away);
        self.connection.advance(peer, |request| {
            if is_turned_away {
                too_many()
            } else {
                handler.answer(request)
            }
        });
        if !self.send() {
            return false;
        }
        if self.connection.state() == State::Over {
            return self.linger();
        }
        let since = (self.connection.state(), self.connection.turns());
        if since != self.since {
            self.since = since;
            self.deadline = match self.connection.state() {
                State::Receiving | State::Sending => Some(Instant::now() + patience),
                State::Waiting | State::Over => None,
            };
        }
        true
    }

    /// Reads what has arrived; false if nothing more can come of it.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; HEAD_LONGEST];
        let room = if self.is_lingering {
            bytes.len()
        } else {
            self.connection.room()
        };
        if room == 0 {
            return true;
        }
        match recv(&self.socket, &mut bytes[..room], RecvFlags::empty()) {
            Ok((0, _)) if self.is_lingering => return false,
            Ok((0, _)) => self.connection.end_input(),
            Ok(_) if self.is_lingering => {}
            Ok((count, _)) => self.connection.receive(&bytes[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return false,
        }
        true
    }

    /// Sends as much as the kernel takes; false if the client is gone.
    fn send(&mut self) -> bool {
        loop {
            let unsent = self.connection.unsent();
            if unsent.is_empty() {
                return true;
            }
            match send(&self.socket, unsent, SendFlags::NOSIGNAL) {
                Ok(count) => self.connection.note_sent(count),
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// After the last response: waits until the client has read it. False if
    /// that needs no waiting.
    fn linger(&mut self) -> bool {
        if self.connection.has_input_ended() || shutdown(&self.socket, Shutdown::Write).is_err() {
            return false;
        }
        self.is_lingering = true;
        self.deadline = Some(Instant::now() + LINGER);
        true
    }
}

fn too_many() -> Response {
    Response::text(
        Status::SERVICE_UNAVAILABLE,
        "there are too many clients; try again later\n",
    )
    .with_header("Retry-After", "10")
    .and_close()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::response::{Next, Stream};
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    struct Place {
        folder: tempfile::TempDir,
        server: Option<Server>,
        /// Streams that were begun and did not end.
        streams: Arc<AtomicUsize>,
    }

    /// Gives parts of this size each time it is woken.
    struct Parts {
        size: usize,
        is_due: bool,
        count: Arc<AtomicUsize>,
    }

    impl Parts {
        fn new(size: usize, count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::SeqCst);
            Self {
                size,
                is_due: true,
                count: Arc::clone(count),
            }
        }
    }

    impl Drop for Parts {
        fn drop(&mut self) {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Stream for Parts {
        fn next(&mut self, out: &mut Vec<u8>) -> Next {
            self.is_due = !self.is_due;
            if self.is_due {
                return Next::Wait;
            }
            out.resize(self.size, b'x');
            Next::Part
        }
    }

    impl Place {
        fn new(clients: usize, patience: Duration) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let streams = Arc::new(AtomicUsize::new(0));
            let settings = Settings {
                thread: "http",
                clients,
                patience,
            };
            let count = Arc::clone(&streams);
            let handler = move |request: &Request<'_>| match request.path {
                "/small" => Response::stream("text/plain", Parts::new(3, &count)),
                "/huge" => Response::stream("text/plain", Parts::new(1 << 24, &count)),
                path => Response::text(Status::OK, path),
            };
            let server = Server::open(&folder.path().join("s"), settings, handler).unwrap();
            Self {
                folder,
                server: Some(server),
                streams,
            }
        }

        fn connect(&self) -> UnixStream {
            let client = UnixStream::connect(self.folder.path().join("s")).unwrap();
            client.set_read_timeout(Some(LONG)).unwrap();
            client
        }

        fn get(&self, path: &str) -> UnixStream {
            let mut client = self.connect();
            ask(&mut client, path);
            client
        }

        fn await_streams(&self, count: usize) {
            let start = Instant::now();
            while self.streams.load(Ordering::SeqCst) != count {
                assert!(start.elapsed() < LONG);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn ask(client: &mut UnixStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
    }

    /// Reads until the text ends so.
    fn read_to(client: &mut UnixStream, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    fn rest(client: &mut UnixStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_connection_serves_one_request_after_another() {
        let place = Place::new(2, LONG);
        let mut client = place.connect();
        for path in ["/a", "/b"] {
            ask(&mut client, path);
            assert!(read_to(&mut client, path).starts_with("HTTP/1.1 200 OK\r\n"));
        }
        // In pieces, and what follows at once.
        for piece in [
            "GET /c HT",
            "TP/1.1\r\nHo",
            "st: x\r\n\r\nGET /d HTTP/1.0\r\n\r\n",
        ] {
            client.write_all(piece.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = rest(&mut client);
        assert!(text.contains("\r\n\r\n/cHTTP/1.1 200 OK"), "{text}");
        assert!(text.ends_with("\r\n\r\n/d"), "{text}");
        // A client that closes its side first gets its answer all the same.
        let mut client = place.get("/e");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(rest(&mut client).ends_with("\r\n\r\n/e"));
    }

    #[test]
    fn a_refusal_arrives_though_the_client_sends_more() {
        let place = Place::new(2, LONG);
        let mut client = place.connect();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n{}",
            "x".repeat(50_000)
        );
        client.write_all(request.as_bytes()).unwrap();
        let text = rest(&mut client);
        assert!(
            text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
    }

    #[test]
    fn a_slow_client_is_disconnected() {
        let place = Place::new(2, Duration::from_millis(300));
        // Half a request, byte by byte.
        let start = Instant::now();
        let mut client = place.connect();
        let mut sent = 0;
        while client.write_all(b"G").is_ok() {
            sent += 1;
            assert!(start.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(sent < 200, "{sent}");
        // One that asks and does not read: its part does not fit into the
        // kernel's buffer.
        let client = place.get("/huge");
        place.await_streams(1);
        place.await_streams(0);
        drop(client);
    }

    #[test]
    fn too_many_clients_are_told_so() {
        let place = Place::new(2, LONG);
        let mut streams = [place.get("/small"), place.get("/small")];
        for client in &mut streams {
            read_to(client, "xxx");
        }
        let text = rest(&mut place.get("/a"));
        assert!(
            text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
        // A client that is gone leaves room, and so does one that only keeps its
        // connection.
        let [first, _second] = streams;
        drop(first);
        place.await_streams(1);
        let mut idle = place.get("/b");
        read_to(&mut idle, "/b");
        let mut other = place.get("/c");
        read_to(&mut other, "/c");
        assert_eq!(rest(&mut idle), "");
    }

    #[test]
    fn a_stream_goes_on_when_it_is_woken() {
        let place = Place::new(2, Duration::from_millis(300));
        let waker = place.server.as_ref().unwrap().waker();
        let mut client = place.get("/small");
        read_to(&mut client, "\r\n\r\nxxx");
        let start = Instant::now();
        // Waiting for a part is no fault of the client.
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(60));
            waker.wake();
            read_to(&mut client, "xxx");
        }
        assert!(start.elapsed() > Duration::from_millis(600));
        drop(client);
        place.await_streams(0);
    }

    #[test]
    fn the_end_of_the_server_ends_its_clients() {
        let mut place = Place::new(2, LONG);
        let mut client = place.get("/small");
        read_to(&mut client, "xxx");
        let path = place.folder.path().join("s");
        place.server = None;
        assert!(!path.exists());
        rest(&mut client);
        place.await_streams(0);
    }
}
