//! Preview: the camera's picture in a browser, for aiming and for service.
//!
//! A page, its pictures and its figures come over HTTP from a socket of their
//! own, which is off unless the board file names it. The loop copies a frame at
//! most [`Options::fps`] times a second, and only while somebody watches; a
//! thread draws and encodes it, and another one serves the clients.
//!
//! What follows is `docs/preview.md`.
//!
#![doc = include_str!("../../docs/preview.md")]

mod advice;
mod audience;
mod gate;
mod history;
mod measure;
mod options;
mod picture;
mod scene;
mod shared;
mod shot;
mod site;
mod upright;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::error;

use crate::host::passed;
use crate::http::{PATIENCE, Server, Settings};
use crate::output::gpio::Levels;
use crate::output::latest::{self, Writer};
use crate::output::{Changes, Output, Report};
use crate::report::Camera;
use crate::snapshot::Published;
use gate::{Gate, Token};
use shared::Shared;
use shot::Shot;
use site::Site;
use upright::Upright;
use worker::Worker;

pub use audience::LONGEST;
pub use gate::{TOKEN_SHORTEST, is_host};
pub use options::{Error, Options};
pub use upright::Options as UprightOptions;

/// The name of the socket that the service manager may pass
/// (`FileDescriptorName=`).
const PASSED: &str = "preview";

/// How long [`Output::finish`] waits for the thread that makes pictures.
const FAREWELL: Duration = Duration::from_millis(100);

/// The stack of that thread: drawing and encoding need little.
const STACK: usize = 512 * 1024;

/// The preview as an output: it takes frames from the loop while somebody
/// watches.
#[derive(Debug)]
pub struct Preview {
    shared: Arc<Shared>,
    /// `None` once finished, or when the thread is gone.
    shots: Option<Writer<Shot>>,
    /// A shot that the thread did not take in time.
    spare: Option<Shot>,
    interval: Duration,
    /// When the next frame is taken.
    due: Option<Instant>,
    servers: Vec<Server>,
}

/// The other end of a preview, for the daemon.
#[derive(Clone, Debug)]
pub struct Remote {
    shared: Arc<Shared>,
    was_watched: bool,
}

/// A change of who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether somebody watches now.
    pub is_watched: bool,
}

impl Remote {
    /// Whether a watch has begun or ended since this was asked last. Allocates
    /// nothing.
    pub fn news(&mut self) -> Option<News> {
        let is_watched = self.shared.audience.is_watching();
        let is_news = is_watched != self.was_watched;
        self.was_watched = is_watched;
        is_news.then_some(News { is_watched })
    }

    /// Whether somebody watched when this was asked last.
    #[must_use]
    pub const fn was_watched(&self) -> bool {
        self.was_watched
    }
}

impl Preview {
    /// Opens the sockets and starts the threads. `published` is what the loop says
    /// of itself, `levels` are those of the GPIO lines, `upright` is the detector that says whether the picture is upright.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(
        options: &Options,
        published: Published,
        levels: Arc<Levels>,
        upright: UprightOptions,
    ) -> Result<Self, Error> {
        let token = options.token_file.as_deref().map(Token::read).transpose()?;
        let shared = Arc::new(Shared::new(options.clients, published, levels));
        let settings = Settings {
            thread: "preview-http",
            // Each client has a connection for pictures and one for figures.
            clients: 2 * options.clients + 1,
            patience: PATIENCE,
        };
        let mut servers = Vec::new();
        if let Some(socket) = &options.socket {
            // Its mode says who may connect, so it needs no password.
            let site = Site::new(Arc::clone(&shared), Gate::new(&options.hosts, None));
            servers.push(Server::open(socket, settings, site)?);
        }
        if let Some(passed) = passed::listener(PASSED) {
            if passed.is_of_network && token.is_none() {
                return Err(Error::NoToken);
            }
            let listener = passed.duplicate()?;
            let gate = Gate::new(&options.hosts, token);
            let site = Site::new(Arc::clone(&shared), gate);
            let subject = "preview socket of the service manager".to_owned();
            servers.push(Server::serve(listener, subject, settings, site)?);
        }
        if servers.is_empty() {
            return Err(Error::NoSocket);
        }
        let (writer, reader) = latest::slot();
        let wakers = servers.iter().map(Server::waker).collect();
        let worker = Worker::new(Arc::clone(&shared), wakers, Upright::new(upright));
        std::thread::Builder::new()
            .name("preview".to_owned())
            .stack_size(STACK)
            .spawn(move || worker.run(&reader))?;
        Ok(Self {
            shared,
            shots: Some(writer),
            spare: None,
            interval: Duration::from_secs_f32(1.0 / options.fps),
            due: None,
            servers,
        })
    }

    /// The other end, for the daemon.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote {
            shared: Arc::clone(&self.shared),
            was_watched: false,
        }
    }

    fn take(&mut self, report: &Report<'_>) {
        let now = Instant::now();
        if self.due.is_some_and(|due| now < due) {
            return;
        }
        let Some(writer) = &self.shots else { return };
        let Some(mut shot) = self.spare.take().or_else(|| self.shared.pool.take()) else {
            // Both are still drawn: this machine is too slow for the rate.
            return;
        };
        shot.fill(report);
        // A shot that was too small comes back larger.
        self.due = (shot.missing == 0).then(|| now + self.interval);
        self.spare = writer.put(shot);
        if self.spare.is_some() && !writer.is_read() {
            error!("preview: its thread ended because of a bug in affectd");
            self.shots = None;
        }
    }
}

impl Output for Preview {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        let is_news = report.is_new || report.camera != Camera::Streaming;
        if is_news && self.shared.audience.is_watching() {
            self.take(report);
        }
        Changes::NONE
    }

    fn finish(&mut self) {
        self.servers.clear();
        if let Some(writer) = self.shots.take() {
            // It only draws, so it ends soon or with the process.
            let _ = writer.close(FAREWELL);
        }
    }
}

/// Opens the sockets once, to check whether the daemon can do so.
///
/// # Errors
/// See [`Error`].
pub fn probe(options: &Options) -> Result<(), Error> {
    if let Some(path) = &options.token_file {
        Token::read(path)?;
    }
    if let Some(socket) = &options.socket {
        crate::host::unix_socket::Listener::bind(socket)?;
    }
    Ok(())
}
