//! Faults that last for a while: logged once, then counted. So a camera that is
//! missing for a night leaves two lines in the log and not a million.

use std::fmt;

use log::{info, warn};

use crate::incident::Incident;

/// One kind of fault of one device.
#[derive(Debug)]
pub struct FaultLog {
    subject: String,
    /// The targets of the first line of a run, and of the line that ends it.
    targets: (&'static str, &'static str),
    count: u64,
    total: u64,
}

impl FaultLog {
    /// A fault that has not happened yet; its log lines begin with `subject`.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            targets: (module_path!(), module_path!()),
            count: 0,
            total: 0,
        }
    }

    /// The same fault; its lines report these incidents.
    #[must_use]
    pub const fn telling(mut self, begin: Incident, end: Incident) -> Self {
        self.targets = (begin.target, end.target);
        self
    }

    /// Logs the first fault of a run as a warning and counts the others. True
    /// if it was the first.
    pub fn occurred(&mut self, message: &dyn fmt::Display) -> bool {
        self.count += 1;
        self.total += 1;
        let first = self.count == 1;
        if first {
            warn!(target: self.targets.0, "{}: {message}", self.subject);
        }
        first
    }

    /// Ends a run, and logs how many faults it had. True if there was a run.
    pub fn cleared(&mut self) -> bool {
        let run = std::mem::take(&mut self.count);
        match run {
            0 => {}
            1 => info!(target: self.targets.1, "{}: well again", self.subject),
            n => {
                info!(target: self.targets.1, "{}: well again after {n} such errors", self.subject);
            }
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
