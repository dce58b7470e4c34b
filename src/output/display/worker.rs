//! The thread of a display: takes the newest view, draws it, sends the changes,
//! and opens a failed device again.
//!
//! The loop never waits for a device: it puts views into a slot
//! ([`latest`](crate::output::latest)) and continues. Faults of a device on
//! this thread, even a device that hangs for ever, have no effect outside.

use std::time::{Duration, Instant};

use crate::fault::FaultLog;
use crate::frame::Rect;
use crate::output::latest::{Reader, Taken};

use super::DisplayError;
use super::panel::Panel;
use super::screen;
use super::view::{Shown, View};
use crate::draw::Canvas;
use crate::draw::palette::{Part, Theme};

/// The pause after a device failed; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After this time without a failure the pause becomes short again, and the log
/// says that the device works. With a loose contact neither happens.
const WELL_AGAIN: Duration = Duration::from_secs(60);

/// How long the thread waits for a new view if the device needs nothing. Any
/// long time is fine.
const IDLE: Duration = Duration::from_secs(3600);

/// Shows views until the slot's writer is dropped.
///
/// `connect` opens and initialises the device; it is called again after each
/// failure. `interval` is the shortest time between two pictures.
pub fn run<P: Panel>(
    reader: &Reader<Shown>,
    mut connect: impl FnMut() -> Result<P, DisplayError>,
    interval: Duration,
    mut fault: FaultLog,
) {
    let mut link: Option<Link<P>> = None;
    let mut wanted = Shown::FIRST;
    let mut pause = FIRST_PAUSE;
    let mut well_since: Option<Instant> = None;
    let mut comes_and_goes = false;
    // When the device may be used next, and whether there is a new view for it.
    let mut due = Instant::now();
    let mut news = true;
    loop {
        let wait = if news {
            due.saturating_duration_since(Instant::now())
        } else {
            link.as_ref().and_then(Link::until_resend).unwrap_or(IDLE)
        };
        match reader.take(wait) {
            Taken::Value(next) => {
                news |= next != wanted;
                wanted = next;
            }
            Taken::Nothing => {}
            Taken::Closed => break,
        }
        if let Some(link) = &mut link
            && link.until_resend() == Some(Duration::ZERO)
        {
            link.known = None;
            news = true;
        }
        let now = Instant::now();
        if !news || now < due {
            continue;
        }
        let shown = match link.take() {
            Some(link) => Ok(link),
            None => connect().map(Link::new),
        }
        .and_then(|mut link| link.show(&wanted).map(|()| link));
        match shown {
            Ok(working) => {
                link = Some(working);
                news = false;
                due = now + interval;
                if now.duration_since(*well_since.get_or_insert(now)) >= WELL_AGAIN {
                    pause = FIRST_PAUSE;
                    comes_and_goes = false;
                }
                if !comes_and_goes {
                    fault.cleared();
                }
            }
            Err(error) => {
                // The device is closed here: `link` was taken.
                fault.occurred(&error);
                comes_and_goes |= well_since
                    .take()
                    .is_some_and(|since| since.elapsed() < WELL_AGAIN);
                due = Instant::now() + pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    if let Some(mut link) = link
        && let Err(error) = link.stop()
    {
        fault.occurred(&error);
    }
}

/// A device, with the picture drawn for it and the picture that it shows.
struct Link<P: Panel> {
    panel: P,
    canvas: Canvas<P::Color>,
    shown: Canvas<P::Color>,
    /// Since when the device shows `shown`; `None` if it does not.
    known: Option<Instant>,
    rects: Vec<Rect>,
}

impl<P: Panel> Link<P> {
    fn new(panel: P) -> Self {
        let (width, height) = panel.size();
        let canvas = Canvas::new(width, height, Theme::of(Part::Ground));
        Self {
            panel,
            shown: canvas.clone(),
            canvas,
            known: None,
            rects: Vec::with_capacity(64),
        }
    }

    /// The time until the whole picture must be sent again.
    fn until_resend(&self) -> Option<Duration> {
        let since = self.known?;
        Some(P::RESEND?.saturating_sub(since.elapsed()))
    }

    fn show(&mut self, wanted: &Shown) -> Result<(), DisplayError> {
        let (view, outline) = (&wanted.view, self.panel.outline());
        let Ok(()) = screen::draw_on(&mut self.canvas, view, outline);
        if wanted.is_watched {
            let Ok(()) = screen::draw_watched(&mut self.canvas, view, outline);
        }
        if self.known.is_some() {
            self.canvas
                .changes(&self.shown, self.panel.grain(), &mut self.rects);
        } else {
            self.rects.clear();
            self.rects.push(self.canvas.bounds());
        }
        if !self.rects.is_empty() {
            self.panel.show(&self.canvas, &self.rects)?;
        }
        self.shown.copy_from(&self.canvas);
        self.known.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), DisplayError> {
        if self.panel.darken()? {
            Ok(())
        } else {
            self.show(&Shown {
                view: View::Stopped,
                is_watched: false,
            })
        }
    }
}
