//! Suggests the closest known name for a typo in a device's name, such as a
//! GPIO line or a V4L2 control.
//!
//! The Jaro-Winkler similarity favours names with the same beginning, which
//! suits such names (`exposure` for `exposure_time_absolute`).
//! [`board`](crate::board) compares board keys with a stricter measure of its
//! own, because there the list of all known keys is the better answer if none
//! is close.

/// `, did you mean '…'?` with the known name that is most similar to `given`, or
/// an empty text if none is close.
pub(crate) fn suggestion<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(given, known).map_or_else(String::new, |name| format!(", did you mean '{name}'?"))
}

/// The known name that is most similar to `given`, if one is close; upper and
/// lower case count as the same.
pub(crate) fn nearest<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let given = given.to_lowercase();
    known
        .map(|name| (strsim::jaro_winkler(&given, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_near_a_known_one_is_told_it() {
        let known = ["gain", "white_balance_automatic", "exposure_time_absolute"];
        assert_eq!(
            nearest("exposure_absolute", known.into_iter()),
            Some("exposure_time_absolute")
        );
        assert_eq!(nearest("zzz", known.into_iter()), None);
        assert_eq!(
            nearest("GAIN", known.into_iter()),
            Some("gain"),
            "case does not matter"
        );
    }
}
