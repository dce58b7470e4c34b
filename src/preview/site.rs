//! What the preview's HTTP server answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::info;
use sha2::{Digest as _, Sha256};

use super::audience::Full;
use super::gate::{Fields, Gate, Refusal, to_base64};
use super::scene::State;
use super::shared::Shared;
use crate::draw::palette::hex;
use crate::draw::{Mood, Part};
use crate::http::{Handler, Next, Request, Response, Status, Stream};
use crate::incident;
use crate::observe::expression::Expression;
use crate::report::CameraState;

/// The page as it lies in the source; its palette is filled in.
const PAGE: &str = include_str!("page.html");

/// Between two pictures of a stream.
const BOUNDARY: &str = "affectd-picture";
const STREAM_TYPE: &str = "multipart/x-mixed-replace; boundary=affectd-picture";

/// How long a single picture is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers the requests of one socket.
pub struct Site {
    pub shared: Arc<Shared>,
    pub gate: Gate,
    page: Arc<str>,
    policy: Arc<str>,
    /// The last watch whose beginning was logged.
    told: u64,
}

/// The page with its colours and classes, which are those of the displays.
fn page() -> String {
    let mut style = String::new();
    let mut add = |name: &str, part: Part| style += &format!("--{name}:{};", hex(part));
    add("ground", Part::Ground);
    add("card", Part::Card);
    add("text", Part::Text);
    add("quiet", Part::Quiet);
    add("track", Part::Track);
    add("none", Part::Fill(Mood::None));
    for expression in Expression::ALL {
        add(expression.name(), Part::Fill(Mood::Of(expression)));
    }
    let classes = Expression::ALL.map(Expression::name).join(" ");
    PAGE.replace("/*palette*/", &style)
        .replace("/*classes*/", &classes)
}

/// The Content-Security-Policy: nothing but what comes from here, and of code and
/// style only what the page has.
fn policy(page: &str) -> String {
    let hash = |tag: &str| {
        let start = page.find(&format!("<{tag}>")).map(|at| at + tag.len() + 2);
        let end = page.find(&format!("</{tag}>"));
        let text = start.zip(end).and_then(|(start, end)| page.get(start..end));
        to_base64(&Sha256::digest(text.unwrap_or_default()))
    };
    format!(
        "default-src 'self'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

impl Site {
    pub fn new(shared: Arc<Shared>, gate: Gate) -> Self {
        let page = page();
        Self {
            shared,
            gate,
            policy: policy(&page).into(),
            page: page.into(),
            told: 0,
        }
    }

    /// Logs that a watch has begun.
    fn tell(&mut self, watch: u64, request: &Request<'_>) {
        if watch != self.told {
            self.told = watch;
            info!(target: incident::PREVIEW.target, "the preview is watched by {}", request.peer);
        }
    }

    fn respond(&mut self, request: &Request<'_>) -> Response {
        let fields = Fields {
            host: request.header("host"),
            authorization: request.header("authorization"),
            site: request.header("sec-fetch-site"),
        };
        let is_page = request.path == "/";
        match self.gate.check(fields, is_page) {
            Ok(()) => {}
            Err(Refusal::Host) => {
                return Response::text(
                    Status::MISDIRECTED_REQUEST,
                    "this host is not one of preview.hosts in the board file\n",
                );
            }
            Err(Refusal::OtherSite) => {
                return Response::text(Status::FORBIDDEN, "a page of another site asks\n");
            }
            Err(Refusal::Password) => {
                return Response::text(Status::UNAUTHORIZED, "a password is needed\n").with_header(
                    "WWW-Authenticate",
                    "Basic realm=\"affectd preview\", charset=\"UTF-8\"",
                );
            }
        }
        let now = Instant::now();
        match request.path {
            "/" => {
                self.shared.audience.open(now);
                let page = self.page.as_bytes().to_vec();
                Response::new(Status::OK, "text/html; charset=utf-8", page)
            }
            "/state" => match self.shared.audience.ask(now) {
                Ok(watch) => {
                    self.tell(watch, request);
                    self.state(now)
                }
                Err(full) => refuse(full),
            },
            "/stream" => match self.shared.audience.join(now) {
                Ok(watch) => {
                    self.tell(watch, request);
                    Response::stream(STREAM_TYPE, self.seat(watch))
                }
                Err(full) => refuse(full),
            },
            "/snapshot" => match self.shared.audience.join(now) {
                Ok(_) if self.camera() != CameraState::Streaming => {
                    self.shared.audience.leave(now);
                    let camera = self.camera().name();
                    Response::text(
                        Status::SERVICE_UNAVAILABLE,
                        format!("there is no picture: the camera is {camera}\n"),
                    )
                }
                Ok(watch) => {
                    self.tell(watch, request);
                    let until = now + PATIENCE;
                    let seat = self.seat(watch);
                    Response::stream("image/jpeg", Snapshot { seat, until })
                }
                Err(full) => refuse(full),
            },
            _ => Response::not_found(),
        }
    }

    fn camera(&self) -> CameraState {
        let scene = self.shared.scene();
        match scene.at {
            Some(_) => scene.camera,
            None => {
                let snapshot = self.shared.published.get();
                snapshot.map_or(CameraState::Starting, |snapshot| snapshot.health.camera)
            }
        }
    }

    fn seat(&self, watch: u64) -> Seat {
        Seat {
            shared: Arc::clone(&self.shared),
            watch,
            shown: 0,
        }
    }

    fn state(&self, now: Instant) -> Response {
        let Some(snapshot) = self.shared.published.get() else {
            let text = "affectd is still starting\n";
            return Response::text(Status::SERVICE_UNAVAILABLE, text);
        };
        let (clients, end) = self.shared.audience.now().unwrap_or((0, now));
        let scene = self.shared.scene();
        let state = State {
            scene: &scene,
            snapshot: &snapshot,
            levels: &self.shared.levels,
            clients,
            ends_in: end.saturating_duration_since(now).as_secs(),
            now,
        };
        match serde_json::to_vec(&state) {
            Ok(json) => Response::new(Status::OK, "application/json", json),
            Err(error) => Response::text(Status::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    }
}

fn refuse(full: Full) -> Response {
    match full {
        Full::Clients => Response::text(
            Status::SERVICE_UNAVAILABLE,
            "as many clients watch as preview.clients in the board file allows\n",
        ),
        Full::Over => Response::text(
            Status::FORBIDDEN,
            "the preview has ended after 10 minutes; load the page to go on\n",
        ),
    }
}

impl Handler for Site {
    fn answer(&mut self, request: &Request<'_>) -> Response {
        self.respond(request)
            .with_header("Content-Security-Policy", self.policy.to_string())
            .with_header("Cross-Origin-Resource-Policy", "same-origin")
            .with_header("Referrer-Policy", "no-referrer")
    }
}

/// The pictures for one client.
struct Seat {
    shared: Arc<Shared>,
    watch: u64,
    /// The number of the last picture.
    shown: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.audience.leave(Instant::now());
    }
}

impl Stream for Seat {
    fn next(&mut self, out: &mut Vec<u8>) -> Next {
        if !self.shared.audience.goes_on(self.watch, Instant::now()) {
            return Next::End;
        }
        let Some(picture) = self.shared.picture_after(self.shown) else {
            return Next::Wait;
        };
        if self.shown == 0 {
            out.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
        }
        self.shown = picture.number;
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
            picture.jpeg.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&picture.jpeg);
        // A browser shows a picture when it sees the next boundary.
        out.extend_from_slice(format!("\r\n--{BOUNDARY}\r\n").as_bytes());
        Next::Part
    }
}

/// One picture.
struct Snapshot {
    seat: Seat,
    until: Instant,
}

impl Stream for Snapshot {
    fn next(&mut self, out: &mut Vec<u8>) -> Next {
        match self.seat.shared.picture_after(0) {
            Some(picture) => {
                out.extend_from_slice(&picture.jpeg);
                Next::End
            }
            None if Instant::now() < self.until => Next::Wait,
            None => Next::End,
        }
    }
}
