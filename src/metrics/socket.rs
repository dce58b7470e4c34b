//! The HTTP socket: `/metrics` and `/healthz`. Pictures are never served here.

use std::time::Instant;

use super::options::HttpOptions;
use super::text::{CONTENT_TYPE, process_text, text};
use crate::host::unix_socket;
use crate::http::{self, Request, Response, Server, Settings, Status};
use crate::snapshot::{Condition, Published};

/// How many clients may be connected.
pub const CLIENTS: usize = 8;

/// Creates the socket and serves the latest snapshot.
///
/// # Errors
/// See [`http::Error`].
pub fn serve(options: &HttpOptions, latest: &Published) -> Result<Server, http::Error> {
    let settings = Settings {
        thread: "http",
        clients: CLIENTS,
        patience: http::PATIENCE,
    };
    let latest = latest.clone();
    Server::open(&options.socket, settings, move |request: &Request<'_>| {
        answer(request.path, &latest)
    })
}

/// Creates the socket once, to check whether the daemon can do so.
///
/// # Errors
/// See [`http::Error`].
pub fn probe_socket(options: &HttpOptions) -> Result<(), http::Error> {
    unix_socket::Listener::bind(&options.socket)?;
    Ok(())
}

fn answer(path: &str, latest: &Published) -> Response {
    if !matches!(path, "/metrics" | "/healthz") {
        return Response::text(Status::NOT_FOUND, "here are /metrics and /healthz\n");
    }
    let Some(snapshot) = latest.get() else {
        return Response::text(Status::SERVICE_UNAVAILABLE, "affectd is still starting\n");
    };
    if path == "/metrics" {
        let all = text(&snapshot) + &process_text(&snapshot);
        return Response::new(Status::OK, CONTENT_TYPE, all.into_bytes());
    }
    let problems = snapshot.problems(Instant::now());
    match snapshot.condition(&problems) {
        Condition::Well => Response::text(Status::OK, "well\n"),
        Condition::Paused => {
            let by: Vec<_> = snapshot.health.paused_by.names().collect();
            Response::text(Status::OK, format!("paused by {}\n", by.join(" and ")))
        }
        Condition::Unwell => {
            let text = format!("{}\n", problems.join("\n"));
            Response::text(Status::SERVICE_UNAVAILABLE, text)
        }
    }
}
