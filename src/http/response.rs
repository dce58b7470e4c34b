//! What a handler answers.

use std::borrow::Cow;
use std::fmt;

/// A status code with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u16, &'static str);

impl Status {
    pub const OK: Self = Self(200, "OK");
    pub const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub const UNAUTHORIZED: Self = Self(401, "Unauthorized");
    pub const FORBIDDEN: Self = Self(403, "Forbidden");
    pub const NOT_FOUND: Self = Self(404, "Not Found");
    pub const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub const MISDIRECTED_REQUEST: Self = Self(421, "Misdirected Request");
    pub const HEAD_TOO_LARGE: Self = Self(431, "Request Header Fields Too Large");
    pub const SERVICE_UNAVAILABLE: Self = Self(503, "Service Unavailable");
    pub const VERSION_NOT_SUPPORTED: Self = Self(505, "HTTP Version Not Supported");

    /// The three digits.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }
}

/// A response. The server adds `Content-Length`, `Connection`, `Cache-Control:
/// no-store` and `X-Content-Type-Options: nosniff`.
#[derive(Debug)]
pub struct Response {
    status: Status,
    content_type: &'static str,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) body: Body,
    /// Whether the connection ends with it.
    pub(super) is_last: bool,
}

/// A body whose end is not known at its beginning. It is dropped when it is
/// over, or when the client is gone or too slow.
pub trait Stream: Send {
    /// Appends the next part to `out`, which is empty. Called when the client
    /// has read the part before it, so a slow client gets fewer parts; without
    /// a part, called again after [`Waker::wake`](super::Waker::wake), and at
    /// least once a second.
    fn next(&mut self, out: &mut Vec<u8>) -> Next;
}

/// How a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A part was appended, and there may be more.
    Part,
    /// There is nothing to send yet.
    Wait,
    /// The body is over; something may have been appended.
    End,
}

pub(super) enum Body {
    Bytes(Cow<'static, [u8]>),
    Stream(Box<dyn Stream>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}

impl Response {
    /// A response with these bytes.
    #[must_use]
    pub fn new(
        status: Status,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self {
            status,
            content_type,
            fields: Vec::new(),
            body: Body::Bytes(body.into()),
            is_last: false,
        }
    }

    /// A response with plain text.
    #[must_use]
    pub fn text(status: Status, text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self::new(status, "text/plain; charset=utf-8", text.into_bytes())
    }

    /// The response for a path that this server does not have.
    #[must_use]
    pub fn not_found() -> Self {
        Self::text(Status::NOT_FOUND, "there is nothing at this path\n")
    }

    /// A response whose body comes in parts, such as `multipart/x-mixed-replace`.
    /// The connection ends with it.
    #[must_use]
    pub fn stream(content_type: &'static str, stream: impl Stream + 'static) -> Self {
        Self {
            status: Status::OK,
            content_type,
            fields: Vec::new(),
            body: Body::Stream(Box::new(stream)),
            is_last: true,
        }
    }

    /// Adds a header field. Control characters in the value become spaces, so
    /// that no value can add a further field.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let mut value = value.into();
        if value.contains(|c: char| c.is_control()) {
            value = value.replace(|c: char| c.is_control(), " ").into();
        }
        self.fields.push((name, value));
        self
    }

    /// Ends the connection with this response.
    #[must_use]
    pub(super) fn and_close(mut self) -> Self {
        self.is_last = true;
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Appends the head. `is_last`: whether the connection ends with the
    /// response.
    pub(super) fn write_head(&self, out: &mut Vec<u8>, is_last: bool) {
        let Status(code, reason) = self.status;
        out.extend_from_slice(format!("HTTP/1.1 {code} {reason}\r\n").as_bytes());
        let mut line = |name: &str, value: &str| {
            for piece in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(piece.as_bytes());
            }
        };
        line("Content-Type", self.content_type);
        if let Body::Bytes(bytes) = &self.body {
            line("Content-Length", &bytes.len().to_string());
        }
        line("Cache-Control", "no-store");
        line("X-Content-Type-Options", "nosniff");
        for (name, value) in &self.fields {
            line(name, value);
        }
        if is_last {
            line("Connection", "close");
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_add_a_field() {
        let response =
            Response::text(Status::OK, "x").with_header("Location", "/a\r\nSet-Cookie: b");
        let mut head = Vec::new();
        response.write_head(&mut head, true);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 1\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nLocation: /a  Set-Cookie: b\r\n\
             Connection: close\r\n\r\n"
        );
    }
}
