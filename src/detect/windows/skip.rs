//! Which windows are skipped, as in OpenCV.

/// Which of 64 neighbouring windows are skipped, given those that fail the
/// first stage: each one after a failed one that was not itself skipped.
/// `skip_next` carries over from one call to the next along a row.
///
/// Within a run of failed windows every second one is skipped, starting with
/// the one after the first, and including the one after the run. The same rule
/// decides which backslashes in a string escape the next one. So the arithmetic
/// is that of simdjson (G. Langdale, D. Lemire: "Parsing gigabytes of JSON per
/// second", VLDB Journal 2019): an addition lets a carry run to the end of each
/// run that starts at an odd place.
pub(super) fn skipped(failed: u64, skip_next: &mut bool) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let carried = u64::from(*skip_next);
    let failed = failed & !carried;
    let after_failed = failed << 1 | carried;
    let odd_starts = failed & !EVEN & !after_failed;
    let (runs, overflow) = odd_starts.overflowing_add(failed);
    *skip_next = overflow;
    (EVEN ^ (runs << 1)) & after_failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn skipping_follows_the_rule(words in prop::collection::vec(any::<u64>(), 1..4), thin in any::<u64>()) {
            // Both dense and sparse failures.
            for mask in [!0, thin, thin & thin.rotate_left(7)] {
                let (mut skip, mut carry) = (false, false);
                for &word in &words {
                    let failed = word & mask | !mask & !word & thin;
                    let got = skipped(failed, &mut carry);
                    for bit in 0..64 {
                        prop_assert_eq!(got >> bit & 1 == 1, skip, "bit {} of {:x}", bit, failed);
                        skip = !skip && failed >> bit & 1 == 1;
                    }
                }
            }
        }
    }
}
