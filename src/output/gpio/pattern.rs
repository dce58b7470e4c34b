//! Patterns of on and off, for buzzers.

use std::time::Duration;

/// On and off times of a line instead of a steady level, for a buzzer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Each list has an even number of times, none of them zero: on, off, on,
    /// off, and so on.
    lists: Vec<Vec<Duration>>,
    rise_after: Option<Duration>,
}

/// The pattern is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("has no list; write [[on, off]] in milliseconds, such as [[200, 800]]")]
    Empty,
    #[error(
        "list {list} has {count} times; it needs an even number of them: on, off, on, off, and so on"
    )]
    Odd { list: usize, count: usize },
    #[error("list {list} has a time of 0; each is 1 ms or more")]
    Zero { list: usize },
}

impl Pattern {
    /// A pattern from lists of on and off times. The first list repeats for
    /// `rise_after`, then the next one, and so on; the last one stays.
    ///
    /// # Errors
    /// There is no list, or one is empty, has an odd number of times or a zero.
    pub fn new(
        lists: Vec<Vec<Duration>>,
        rise_after: Option<Duration>,
    ) -> Result<Self, PatternError> {
        if lists.is_empty() {
            return Err(PatternError::Empty);
        }
        for (list, times) in (1..).zip(&lists) {
            if times.is_empty() || times.len() % 2 == 1 {
                let count = times.len();
                return Err(PatternError::Odd { list, count });
            }
            if times.iter().any(Duration::is_zero) {
                return Err(PatternError::Zero { list });
            }
        }
        Ok(Self { lists, rise_after })
    }

    /// Whether a line that has followed the pattern for this time is on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use affectd::output::gpio::Pattern;
    ///
    /// let millis = Duration::from_millis;
    /// let lists = vec![vec![millis(200), millis(800)], vec![millis(100), millis(100)]];
    /// let pattern = Pattern::new(lists, Some(millis(5000))).unwrap();
    /// assert!(pattern.is_on(millis(100)) && !pattern.is_on(millis(900)));
    /// assert!(pattern.is_on(millis(5250)) && !pattern.is_on(millis(5350)));
    /// ```
    #[must_use]
    pub fn is_on(&self, time: Duration) -> bool {
        let rise = self.rise_after.filter(|rise| !rise.is_zero());
        let (index, into) = match rise {
            Some(rise) => {
                let index = time.as_nanos() / rise.as_nanos();
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                let index = index.min(self.lists.len() - 1);
                let begun = rise.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
                (index, time.saturating_sub(begun))
            }
            None => (0, time),
        };
        let times = &self.lists[index];
        let length: Duration = times.iter().sum();
        let mut left = Duration::from_nanos((into.as_nanos() % length.as_nanos()) as u64);
        for (place, time) in times.iter().enumerate() {
            if left < *time {
                return place % 2 == 0;
            }
            left -= *time;
        }
        false
    }
}
