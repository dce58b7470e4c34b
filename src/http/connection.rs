//! One client's requests and responses, as bytes: what arrives, and what is to
//! be sent. It knows nothing of sockets.

use super::request::{self, HEAD_LONGEST, Method, Read, Request};
use super::response::{Body, Next, Response, Stream};
use crate::host::unix_socket::Holder;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for a request, or for the rest of one.
    Receiving,
    /// A part of a response waits to be sent.
    Sending,
    /// A stream has no part to send.
    Waiting,
    /// The last response is sent, or no request can come.
    Over,
}

pub(super) struct Connection {
    /// What arrived and was not read yet.
    input: Vec<u8>,
    /// Whether the client has closed its side.
    has_input_ended: bool,
    /// The part of the response that is being sent.
    output: Vec<u8>,
    sent: usize,
    stream: Option<Box<dyn Stream>>,
    /// Whether no further request is read.
    is_last: bool,
    state: State,
    /// Requests that were answered, and parts of streams.
    turns: u64,
}

impl Connection {
    pub fn new() -> Self {
        Self {
            input: Vec::with_capacity(HEAD_LONGEST),
            has_input_ended: false,
            output: Vec::new(),
            sent: 0,
            stream: None,
            is_last: false,
            state: State::Receiving,
            turns: 0,
        }
    }

    pub const fn state(&self) -> State {
        self.state
    }

    /// A number that grows with each part of a response.
    pub const fn turns(&self) -> u64 {
        self.turns
    }

    /// Whether the client has sent nothing since the last response.
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Receiving) && self.input.is_empty()
    }

    /// Whether a stream is being sent.
    pub const fn is_streaming(&self) -> bool {
        self.stream.is_some()
    }

    pub const fn has_input_ended(&self) -> bool {
        self.has_input_ended
    }

    /// How many bytes may arrive now.
    pub const fn room(&self) -> usize {
        match self.state {
            State::Receiving => HEAD_LONGEST - self.input.len(),
            State::Sending | State::Waiting | State::Over => 0,
        }
    }

    /// Takes bytes that arrived; at most [`room`](Self::room).
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The client has closed its side.
    pub const fn end_input(&mut self) {
        self.has_input_ended = true;
    }

    /// What is to be sent now.
    pub fn unsent(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// So many bytes of [`unsent`](Self::unsent) were sent.
    pub const fn note_sent(&mut self, count: usize) {
        self.sent += count;
    }

    /// Goes on as far as possible without the client: reads a request and has it
    /// answered, or asks a stream for its next part. True if there is something
    /// new to send.
    pub fn advance(
        &mut self,
        peer: &Holder,
        answer: impl FnOnce(&Request<'_>) -> Response,
    ) -> bool {
        if !self.unsent().is_empty() {
            self.state = State::Sending;
            return false;
        }
        self.output.clear();
        self.sent = 0;
        if let Some(stream) = &mut self.stream {
            let next = stream.next(&mut self.output);
            if next == Next::End {
                self.stream = None;
            }
            if self.output.is_empty() && next != Next::End {
                self.state = State::Waiting;
                return false;
            }
        } else if self.is_last {
            self.state = State::Over;
            return false;
        } else {
            match request::read(&self.input, peer, answer) {
                Read::Incomplete => {
                    self.state = if self.has_input_ended {
                        State::Over
                    } else {
                        State::Receiving
                    };
                    return false;
                }
                Read::Answered {
                    length,
                    method,
                    stays_open,
                    response,
                } => {
                    self.input.drain(..length);
                    self.is_last = !stays_open;
                    self.begin(response, method);
                }
                Read::Refused(response) => {
                    self.input.clear();
                    self.is_last = true;
                    self.begin(response, Method::Get);
                }
            }
        }
        self.turns += 1;
        self.state = if self.output.is_empty() {
            State::Over
        } else {
            State::Sending
        };
        true
    }

    /// Begins to send a response.
    fn begin(&mut self, response: Response, method: Method) {
        self.is_last |= response.is_last;
        response.write_head(&mut self.output, self.is_last);
        if method == Method::Get {
            match response.body {
                Body::Bytes(bytes) => self.output.extend_from_slice(&bytes),
                Body::Stream(stream) => self.stream = Some(stream),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::response::Status;
    use super::*;

    struct Count(u32);

    impl Stream for Count {
        fn next(&mut self, out: &mut Vec<u8>) -> Next {
            self.0 += 1;
            match self.0 {
                // A part, nothing, a part, nothing.
                1..5 if self.0 % 2 == 1 => {
                    out.push(b'0' + self.0 as u8);
                    Next::Part
                }
                1..5 => Next::Wait,
                _ => Next::End,
            }
        }
    }

    fn answer(request: &Request<'_>) -> Response {
        match request.path {
            "/stream" => Response::stream("text/plain", Count(0)),
            "/empty" => Response::text(Status::OK, ""),
            path => Response::text(Status::OK, path),
        }
    }

    /// Everything that is sent to a client that sends these pieces and then
    /// closes its side, or not. Whatever is sent goes out `step` bytes at a time.
    fn conversation(pieces: &[&[u8]], closes: bool, step: usize) -> (String, State) {
        let mut connection = Connection::new();
        let mut out = Vec::new();
        let mut run = |connection: &mut Connection| {
            let mut waited = 0;
            loop {
                connection.advance(&Holder::default(), answer);
                match connection.state() {
                    State::Sending => {
                        let unsent = connection.unsent();
                        let count = unsent.len().min(step);
                        out.extend_from_slice(&unsent[..count]);
                        connection.note_sent(count);
                    }
                    State::Waiting if waited < 10 => waited += 1,
                    _ => break,
                }
            }
        };
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let count = rest.len().min(connection.room());
                if count == 0 {
                    break;
                }
                connection.receive(&rest[..count]);
                rest = &rest[count..];
                run(&mut connection);
            }
        }
        if closes {
            connection.end_input();
            run(&mut connection);
        }
        (
            String::from_utf8_lossy(&out).into_owned(),
            connection.state(),
        )
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    }

    fn bodies(text: &str) -> Vec<&str> {
        text.split("\r\n\r\n")
            .skip(1)
            .map(|rest| rest.split("HTTP/1.1 ").next().unwrap())
            .collect()
    }

    #[test]
    fn requests_are_answered_in_their_order() {
        let text = [get("/a"), get("/empty"), get("/b")].concat();
        let (out, state) = conversation(&[text.as_bytes()], false, usize::MAX);
        assert_eq!(bodies(&out), ["/a", "", "/b"]);
        assert_eq!(out.matches("Content-Length: 0\r\n").count(), 1);
        assert!(!out.contains("Connection: close"), "{out}");
        assert_eq!(state, State::Receiving);
        let (_, state) = conversation(&[text.as_bytes()], true, usize::MAX);
        assert_eq!(state, State::Over);
    }

    #[test]
    fn nothing_follows_the_last_response() {
        for last in [
            "GET /last HTTP/1.0\r\n\r\n",
            "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "POST /last HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            let text = format!("{last}{}", get("/more"));
            let (out, state) = conversation(&[text.as_bytes()], false, usize::MAX);
            assert_eq!(out.matches("HTTP/1.1 ").count(), 1, "{out}");
            assert!(out.contains("\r\nConnection: close\r\n"), "{out}");
            assert_eq!(state, State::Over);
        }
    }

    #[test]
    fn a_stream_has_parts_and_no_length() {
        let (out, state) = conversation(&[get("/stream").as_bytes()], false, 7);
        assert_eq!(bodies(&out), ["13"]);
        assert!(!out.contains("Content-Length"), "{out}");
        assert_eq!(state, State::Over);
    }

    #[test]
    fn head_gets_no_body() {
        for path in ["/a", "/stream"] {
            let text = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n{}", get("/b"));
            let (out, _) = conversation(&[text.as_bytes()], false, usize::MAX);
            let expected: &[&str] = if path == "/a" { &["", "/b"] } else { &[""] };
            assert_eq!(bodies(&out), expected);
            assert_eq!(out.contains("Content-Length: 2"), path == "/a");
        }
    }

    proptest! {
        /// Where the bytes are cut changes nothing.
        #[test]
        fn pieces_are_as_good_as_the_whole(
            requests in proptest::collection::vec(0..6_usize, 0..6),
            noise in proptest::collection::vec(any::<u8>(), 0..20),
            cuts in proptest::collection::vec(0..400_usize, 0..8),
            step in 1..200_usize,
            closes: bool,
        ) {
            let mut text = Vec::new();
            for request in requests {
                match request {
                    0 => text.extend(get("/a").bytes()),
                    1 => text.extend(get("/empty").bytes()),
                    2 => text.extend(get("/stream").bytes()),
                    3 => text.extend(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"),
                    4 => text.extend(b"HEAD /long/path?query HTTP/1.1\r\nHost: x\r\n\r\n"),
                    _ => text.extend(&noise),
                }
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let whole = conversation(&[&text], closes, usize::MAX);
            prop_assert_eq!(conversation(&pieces, closes, step), whole);
        }
    }
}
