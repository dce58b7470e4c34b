//! Suggests the closest known name for a typo, among names that devices have:
//! GPIO lines, V4L2 controls.
//!
//! Jaro-Winkler likeness favours a common beginning, which is what such names
//! share with what is written for them (`exposure` for
//! `exposure_time_absolute`). Board keys are compared by
//! [`board`](crate::board)'s own, stricter measure, because there the list of
//! all known keys is the better answer when no name is really near.

/// `, did you mean '…'?` with the known name that is most like `given`, or nothing
/// if none is near.
pub(crate) fn suggestion<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(given, known).map_or_else(String::new, |name| format!(", did you mean '{name}'?"))
}

/// The known name most like `given`, upper and lower case alike, if any is
/// near.
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
