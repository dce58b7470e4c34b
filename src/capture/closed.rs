//! A placeholder for a closed source.

use std::thread;
use std::time::Duration;

use super::source::{Captured, Source};

/// A source without frames.
#[derive(Debug)]
pub struct Closed {
    description: String,
    is_live: bool,
    /// Why there are no frames, if that counts as a loss.
    lost: Option<String>,
}

impl Closed {
    /// For a source that is closed on purpose and will be opened later.
    #[must_use]
    pub const fn on_purpose(description: String, is_live: bool) -> Self {
        Self {
            description,
            is_live,
            lost: None,
        }
    }

    /// For a live source that could not be opened.
    #[must_use]
    pub const fn lost(description: String, reason: String) -> Self {
        Self {
            description,
            is_live: true,
            lost: Some(reason),
        }
    }
}

impl Source for Closed {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        thread::sleep(timeout);
        match &self.lost {
            Some(reason) => Captured::Lost { reason },
            None => Captured::Waiting,
        }
    }

    fn description(&self) -> String {
        self.description.clone()
    }

    fn is_live(&self) -> bool {
        self.is_live
    }
}
