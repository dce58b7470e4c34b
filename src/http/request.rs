//! The head of a request: the request line and the header fields.

use super::response::{Response, Status};
use crate::host::unix_socket::Holder;

/// The longest head of a request in bytes.
pub const HEAD_LONGEST: usize = 8192;

/// The largest number of header fields. Browsers send about 15.
const FIELDS: usize = 64;

/// What a client wants of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The response.
    Get,
    /// The response without its body, which the server leaves out: handlers
    /// need not look at this.
    Head,
}

/// A request for a resource.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: Method,
    /// Begins with a slash; not decoded.
    pub path: &'a str,
    /// What follows the question mark; empty if nothing does. Not decoded.
    pub query: &'a str,
    /// The process at the other end, as the kernel names it.
    pub peer: &'a Holder,
    fields: &'a [httparse::Header<'a>],
}

impl<'a> Request<'a> {
    /// The value of the first header field of this name, in any case; `None` if
    /// there is none, or if it is not UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let field = self.all(name).next()?;
        std::str::from_utf8(field).ok()
    }

    /// The values of all header fields of this name.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }
}

/// What the bytes of a client are.
#[derive(Debug)]
pub(super) enum Read {
    /// The beginning of a head.
    Incomplete,
    /// A request, and its response.
    Answered {
        /// The length of its head in bytes.
        length: usize,
        method: Method,
        /// Whether the client may send another request on this connection.
        stays_open: bool,
        response: Response,
    },
    /// Something else. What follows it cannot be read either.
    Refused(Response),
}

/// Reads the first request of these bytes, and has it answered.
pub(super) fn read(
    bytes: &[u8],
    peer: &Holder,
    answer: impl FnOnce(&Request<'_>) -> Response,
) -> Read {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_LONGEST => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_LONGEST => return Read::Incomplete,
        Ok(_) => return Read::Refused(too_large()),
        Err(httparse::Error::TooManyHeaders) => return Read::Refused(too_large()),
        Err(httparse::Error::Version) => {
            return refuse(Status::VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1");
        }
        Err(error) => return refuse(Status::BAD_REQUEST, &error.to_string()),
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return refuse(Status::BAD_REQUEST, "the request line is incomplete");
    };
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => {
            let response = Response::text(
                Status::METHOD_NOT_ALLOWED,
                "this server answers GET and HEAD\n",
            );
            return Read::Refused(response.with_header("Allow", "GET, HEAD"));
        }
    };
    let Some(target) = origin_form(target) else {
        return refuse(
            Status::BAD_REQUEST,
            "the target must be a path that begins with a slash",
        );
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method,
        path,
        query,
        peer,
        fields: parsed.headers,
    };
    if has_body(&request) {
        return refuse(
            Status::BAD_REQUEST,
            "a request to this server must not have a body",
        );
    }
    // RFC 9112, section 3.2.
    let hosts = request.all("host").count();
    if hosts > 1 || (version > 0 && hosts == 0) {
        return refuse(
            Status::BAD_REQUEST,
            "a request must have one header field Host",
        );
    }
    Read::Answered {
        length,
        method,
        stays_open: version > 0 && !asks_to_close(&request),
        response: answer(&request),
    }
}

fn refuse(status: Status, reason: &str) -> Read {
    Read::Refused(Response::text(status, format!("{reason}\n")))
}

fn too_large() -> Response {
    let text = format!("a request's head has at most {HEAD_LONGEST} bytes and {FIELDS} fields\n");
    Response::text(Status::HEAD_TOO_LARGE, text)
}

/// The path and the query of a target, which may be a whole URL (RFC 9112,
/// section 3.2.2).
fn origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    match rest.find(['/', '?']) {
        Some(start) if rest[start..].starts_with('/') => Some(&rest[start..]),
        Some(_) => None,
        None => Some("/"),
    }
}

/// Whether something follows the head that is not the next request.
fn has_body(request: &Request<'_>) -> bool {
    request.all("transfer-encoding").next().is_some()
        || request.all("content-length").any(|length| length != b"0")
}

fn asks_to_close(request: &Request<'_>) -> bool {
    request
        .all("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the handler gets, or the status of the refusal.
    fn outcome(text: &str) -> Result<String, u16> {
        let mut got = String::new();
        let read = read(text.as_bytes(), &Holder::default(), |request| {
            got = format!("{:?} {} {}", request.method, request.path, request.query);
            Response::text(Status::OK, "")
        });
        match read {
            Read::Incomplete => Ok("incomplete".to_owned()),
            Read::Answered {
                length, stays_open, ..
            } => {
                assert!(length <= text.len());
                Ok(format!(
                    "{got} {}",
                    if stays_open { "stays" } else { "closes" }
                ))
            }
            Read::Refused(response) => Err(response.status().code()),
        }
    }

    #[test]
    fn requests_are_read_as_the_standard_says() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Ok("Get /  stays")),
            (
                "HEAD /a?b=c HTTP/1.1\r\nhost:\r\n\r\n",
                Ok("Head /a b=c stays"),
            ),
            ("GET / HTTP/1.0\r\n\r\n", Ok("Get /  closes")),
            (
                "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                Ok("Get /  closes"),
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n",
                Ok("Get /  closes"),
            ),
            (
                "GET http://a:1/b HTTP/1.1\r\nHost: a\r\n\r\n",
                Ok("Get /b  stays"),
            ),
            (
                "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
                Ok("Get /  stays"),
            ),
            ("GET / HTTP/1.1\nHost: x\n\n", Ok("Get /  stays")),
            (
                "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
                Ok("Get /  stays"),
            ),
            ("GET / HTTP/1.1\r\nHost: x\r\n", Ok("incomplete")),
            ("GE", Ok("incomplete")),
            ("", Ok("incomplete")),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                Ok("Get /  stays"),
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
                Err(400),
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 3\r\n\r\n",
                Err(400),
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                Err(400),
            ),
            ("GET / HTTP/1.1\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", Err(400)),
            ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", Err(400)),
            ("GET http://a?b HTTP/1.1\r\nHost: x\r\n\r\n", Err(400)),
            ("GET ftp://a/b HTTP/1.1\r\nHost: x\r\n\r\n", Err(400)),
            ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: x\u{0}y\r\n\r\n", Err(400)),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
                Err(405),
            ),
            ("DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", Err(405)),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Err(405)),
            ("get / HTTP/1.1\r\nHost: x\r\n\r\n", Err(405)),
            ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", Err(505)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(505)),
            ("GET /\r\n\r\n", Err(400)),
            ("{\"command\":\"status\"}\n", Err(400)),
            ("\u{16}\u{3}\u{1}", Err(400)),
        ] {
            assert_eq!(outcome(text), expected.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn a_head_has_limits() {
        let long = |count: usize| {
            let text = format!(
                "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
                "a".repeat(count)
            );
            (text.len(), outcome(&text))
        };
        let (base, _) = long(0);
        assert_eq!(
            long(HEAD_LONGEST - base),
            (HEAD_LONGEST, Ok("Get /  stays".to_owned()))
        );
        assert_eq!(long(HEAD_LONGEST - base + 1).1, Err(431));
        assert_eq!(outcome(&"\r\n".repeat(HEAD_LONGEST / 2)), Err(431));
        let many = |count: usize| {
            outcome(&format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
                "A: b\r\n".repeat(count)
            ))
        };
        assert_eq!(many(FIELDS - 1), Ok("Get /  stays".to_owned()));
        assert_eq!(many(FIELDS), Err(431));
    }

    #[test]
    fn a_field_is_found_in_any_case() {
        let text = b"GET / HTTP/1.1\r\nhOST: localhost:8080\r\nX: \xff\r\n\r\n";
        let read = read(text, &Holder::default(), |request| {
            assert_eq!(request.header("Host"), Some("localhost:8080"));
            assert_eq!(request.header("x"), None);
            assert_eq!(request.header("Cookie"), None);
            Response::not_found()
        });
        assert!(matches!(read, Read::Answered { .. }), "{read:?}");
    }
}
