//! Faults that last for a while: logged once, then counted. So a camera that is
//! missing for a night leaves two lines in the log and not a million.

use std::fmt;

use log::{info, warn};

/// One kind of fault of one device.
#[derive(Debug)]
pub struct FaultLog {
    subject: String,
    count: u64,
    total: u64,
}

impl FaultLog {
    /// A fault that has not happened yet; `subject` opens its log lines.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            count: 0,
            total: 0,
        }
    }

    /// Logs the first of a run as a warning and counts the others. Tells
    /// whether it was the first.
    pub fn occurred(&mut self, message: &dyn fmt::Display) -> bool {
        self.count += 1;
        self.total += 1;
        let first = self.count == 1;
        if first {
            warn!("{}: {message}", self.subject);
        }
        first
    }

    /// Ends a run, and logs how many faults it had. True if there was a run.
    pub fn cleared(&mut self) -> bool {
        let run = std::mem::take(&mut self.count);
        match run {
            0 => {}
            1 => info!("{}: well again", self.subject),
            n => info!("{}: well again after {n} such errors", self.subject),
        }
        run > 0
    }

    /// How often it has happened in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_run_is_news() {
        let mut fault = FaultLog::new("gpiochip0 line 4");
        assert!(!fault.cleared());
        assert!(fault.occurred(&"busy"));
        assert!(!fault.occurred(&"busy"));
        assert!(fault.cleared());
        assert!(fault.occurred(&"busy"));
        assert_eq!(fault.total(), 3);
    }
}
