//! How numbers and times are written in events.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, Serializer};

use crate::observe::record::to_decimals;

/// A probability to 4 decimals.
pub(super) fn rounded(value: f32) -> f64 {
    to_decimals(value, 4)
}

/// Seconds to the millisecond, computed from whole numbers so that rounding has
/// no effect.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}

/// A time of the wall clock in the format of RFC 3339, in UTC, to the
/// millisecond.
pub(super) struct Utc(pub SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A board without a battery may have a time before 1970, which is
        // written as 1970.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);

        // From days to a date by Howard Hinnant's algorithm civil_from_days
        // (https://howardhinnant.github.io/date_algorithms.html): years begin
        // in March, so that the leap day comes last, in eras of 400 years.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        let year = era * 400 + year + next;

        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60,
            since.subsec_millis()
        )
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        // From `date -u -d @SECONDS +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc(time).to_string(), text);
        }
        let time = UNIX_EPOCH + Duration::from_micros(1_999);
        assert_eq!(Utc(time).to_string(), "1970-01-01T00:00:00.001Z");
    }

    #[test]
    fn numbers_are_short_and_finite() {
        let text = |value| serde_json::to_string(&rounded(value)).unwrap();
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(1.0 / 3.0), "0.3333");
        assert_eq!(text(0.999_99), "1.0");
        assert_eq!(text(1e-9), "0.0");
        assert_eq!(text(f32::NAN), "0.0");
        let time = Duration::from_nanos(86_400_123_999_999);
        assert_eq!(serde_json::to_string(&seconds(time)).unwrap(), "86400.123");
    }
}
