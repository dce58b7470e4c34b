//! Who watches, and for how long.
//!
//! A watch begins with the first request for pictures or figures, and ends when
//! nobody has asked for a while, or after [`LONGEST`]. Then pictures are refused
//! until somebody loads the page again: a forgotten page or a script does not
//! watch people for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest watch.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Who asked within this time for figures or a picture still watches.
const LINGER: Duration = Duration::from_secs(3);

/// A watch that was ended is forgotten after this time without a request.
const FORGET: Duration = Duration::from_secs(60);

/// The clients of the preview.
#[derive(Debug)]
pub struct Audience {
    /// For the loop: whether frames are wanted.
    is_watching: AtomicBool,
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Counts watches, so that a stream knows whether its own goes on.
    watch: u64,
    began: Option<Instant>,
    streams: usize,
    asked: Option<Instant>,
    /// The last watch took too long.
    is_over: bool,
}

/// A request that cannot be served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many clients watch as may.
    Clients,
    /// The watch was ended after [`LONGEST`].
    Over,
}

impl State {
    /// Brings the state up to date.
    fn look(&mut self, now: Instant) {
        if self.is_over
            && self
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= FORGET)
        {
            self.is_over = false;
        }
        let Some(began) = self.began else { return };
        let is_asked = self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < LINGER);
        if now.saturating_duration_since(began) >= LONGEST {
            self.began = None;
            self.is_over = true;
            self.asked = Some(now);
        } else if self.streams == 0 && !is_asked {
            self.began = None;
        }
    }
}

impl Audience {
    pub fn new(most: usize) -> Self {
        Self {
            is_watching: AtomicBool::new(false),
            state: Mutex::default(),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, state: &State) {
        self.is_watching
            .store(state.began.is_some(), Ordering::Relaxed);
    }

    /// Whether somebody watches, as it was last found out. Makes no system call.
    pub fn is_watching(&self) -> bool {
        self.is_watching.load(Ordering::Relaxed)
    }

    /// Finds out whether somebody still watches.
    pub fn look(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.look(now);
        self.update(&state);
        state.began.is_some()
    }

    /// Notes that the page is loaded: pictures may be seen again.
    pub fn open(&self, now: Instant) {
        let mut state = self.lock();
        state.look(now);
        state.is_over = false;
        self.update(&state);
    }

    /// Notes a request for a picture or for figures. Returns the number of the
    /// watch.
    pub fn ask(&self, now: Instant) -> Result<u64, Full> {
        let mut state = self.lock();
        state.look(now);
        state.asked = Some(now);
        if state.is_over {
            self.update(&state);
            return Err(Full::Over);
        }
        if state.began.is_none() {
            state.began = Some(now);
            state.watch += 1;
        }
        self.update(&state);
        Ok(state.watch)
    }

    /// The same for a stream, which must be [left](Self::leave).
    pub fn join(&self, now: Instant) -> Result<u64, Full> {
        let watch = self.ask(now)?;
        let mut state = self.lock();
        if state.streams >= self.most {
            return Err(Full::Clients);
        }
        state.streams += 1;
        Ok(watch)
    }

    /// Notes the end of a stream.
    pub fn leave(&self, now: Instant) {
        let mut state = self.lock();
        state.streams = state.streams.saturating_sub(1);
        state.look(now);
        self.update(&state);
    }

    /// Whether a watch goes on.
    pub fn goes_on(&self, watch: u64, now: Instant) -> bool {
        let mut state = self.lock();
        state.look(now);
        self.update(&state);
        state.began.is_some() && state.watch == watch
    }

    /// How many clients watch, and until when at the latest; `None` if nobody
    /// does.
    pub fn now(&self) -> Option<(usize, Instant)> {
        let state = self.lock();
        let began = state.began?;
        Some((state.streams.max(1), began + LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_watch_lasts_while_somebody_asks() {
        let start = Instant::now();
        let audience = Audience::new(2);
        assert!(!audience.look(start) && audience.now().is_none());
        let watch = audience.ask(start).unwrap();
        assert!(audience.is_watching());
        assert_eq!(audience.now(), Some((1, start + LONGEST)));
        assert!(audience.goes_on(watch, start + 2 * SECOND));
        assert!(!audience.look(start + 3 * SECOND));
        assert!(!audience.is_watching());
        assert_ne!(audience.ask(start + 4 * SECOND), Ok(watch));
    }

    #[test]
    fn streams_are_counted_and_limited() {
        let start = Instant::now();
        let audience = Audience::new(2);
        let watch = audience.join(start).unwrap();
        assert_eq!(audience.join(start), Ok(watch));
        assert_eq!(audience.join(start), Err(Full::Clients));
        assert_eq!(audience.now().unwrap().0, 2);
        let later = start + 100 * SECOND;
        assert!(audience.look(later));
        audience.leave(later);
        assert!(audience.is_watching());
        audience.leave(later);
        assert!(!audience.is_watching());
    }

    #[test]
    fn a_watch_ends_until_the_page_is_loaded_or_nobody_asks() {
        let start = Instant::now();
        let audience = Audience::new(2);
        let watch = audience.join(start).unwrap();
        let end = start + LONGEST;
        assert!(audience.goes_on(watch, end - SECOND));
        assert!(!audience.goes_on(watch, end));
        audience.leave(end);
        assert_eq!(audience.ask(end + SECOND), Err(Full::Over));
        assert_eq!(audience.join(end + 2 * SECOND), Err(Full::Over));
        assert!(!audience.is_watching());
        audience.open(end + 3 * SECOND);
        let next = audience.join(end + 4 * SECOND).unwrap();
        assert_ne!(next, watch);
        audience.leave(end + 5 * SECOND);

        let audience = Audience::new(2);
        audience.join(start).unwrap();
        assert!(!audience.look(end));
        audience.leave(end);
        assert_eq!(audience.ask(end + 30 * SECOND), Err(Full::Over));
        assert!(audience.ask(end + 30 * SECOND + FORGET).is_ok());
    }
}
