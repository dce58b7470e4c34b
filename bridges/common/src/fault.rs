//! Faults that last for a while: logged once, then counted. So a broker that is
//! away for a night leaves two lines in the log and not a thousand.

use std::fmt::Display;

use log::{info, warn};

/// How many different messages of one run of faults are logged.
const MESSAGES: usize = 8;

/// One kind of fault.
#[derive(Debug)]
pub struct Fault {
    subject: String,
    logged: Vec<String>,
    count: u64,
}

impl Fault {
    /// A fault that has not happened yet; `subject` begins its log lines.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            logged: Vec::new(),
            count: 0,
        }
    }

    /// Logs each different message of a run once, and counts. A run ends with
    /// [`Fault::cleared`]. True if the message was logged.
    pub fn occurred(&mut self, message: impl Display) -> bool {
        self.count += 1;
        let message = message.to_string();
        let is_new = self.logged.len() < MESSAGES && !self.logged.contains(&message);
        if is_new {
            warn!("{}: {message}", self.subject);
            self.logged.push(message);
        }
        is_new
    }

    /// Ends a run, and logs that it is over. True if there was one.
    pub fn cleared(&mut self) -> bool {
        self.logged.clear();
        let run = std::mem::take(&mut self.count);
        match run {
            0 => {}
            1 => info!("{}: well again", self.subject),
            n => info!("{}: well again after {n} such errors", self.subject),
        }
        run > 0
    }

    /// Whether a run lasts.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_run_is_news() {
        let mut fault = Fault::new("event socket");
        assert!(!fault.cleared());
        assert!(fault.occurred("missing"));
        assert!(!fault.occurred("missing"));
        assert!(fault.occurred("refused"), "another cause is news");
        assert!(
            !fault.occurred("missing"),
            "and no reason to repeat the first"
        );
        assert!(fault.is_on());
        assert!(fault.cleared());
        assert!(!fault.is_on());
        assert!(fault.occurred("missing"));
    }

    #[test]
    fn messages_that_always_differ_do_not_fill_the_log() {
        let mut fault = Fault::new("x");
        let logged = (0..1000).filter(|n| fault.occurred(n)).count();
        assert_eq!(logged, MESSAGES);
    }
}
