//! A small server for HTTP/1.1 on a Unix socket: GET and HEAD, for metrics and
//! for the preview.
//!
//! One thread serves all clients of a [`Server`] and waits for none of them. A
//! [`Handler`] answers each [`Request`] with a [`Response`]. The body of a
//! response is bytes, or a [`Stream`] of parts, such as the pictures of a
//! camera.
//!
//! What a client can cost is limited: how many clients there are
//! ([`Settings::clients`]), how long a request is ([`HEAD_LONGEST`]), how long
//! it takes to arrive, and how long the client takes to read a part of the
//! response ([`Settings::patience`]).
//!
//! ```
//! use std::io::{Read as _, Write as _};
//! use std::os::unix::net::UnixStream;
//!
//! use affectd::http::{PATIENCE, Request, Response, Server, Settings, Status};
//!
//! let folder = tempfile::tempdir()?;
//! let socket = folder.path().join("http.sock");
//! let settings = Settings { thread: "http", clients: 4, patience: PATIENCE };
//! let _server = Server::open(&socket, settings, |request: &Request<'_>| match request.path {
//!     "/healthz" => Response::text(Status::OK, "well\n"),
//!     _ => Response::not_found(),
//! })?;
//!
//! let mut client = UnixStream::connect(&socket)?;
//! client.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
//! assert!(answer.ends_with("\r\n\r\nwell\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod request;
mod response;
mod server;

pub use request::{HEAD_LONGEST, Method, Request};
pub use response::{Next, Response, Status, Stream};
pub use server::{Error, Handler, PATIENCE, Server, Settings, TURN_AWAY, Waker};
