//! Skips dark frames, such as those between the flashes of a strobed infra-red
//! lamp.

use std::time::Duration;

use super::{Captured, Counts, Frame, Source};
use crate::frame::LumaView;

/// How many dark frames in a row are skipped. A room whose light is switched
/// off must not look like a camera that delivers nothing.
const IN_A_ROW: u32 = 3;

/// A source whose dark frames are skipped.
pub struct SkipDark {
    inner: Box<dyn Source>,
    /// Mean luma, 0 to 255, below which a frame is dark.
    threshold: f32,
    in_a_row: u32,
    skipped: u64,
}

impl SkipDark {
    /// Skips frames whose mean luma is below `threshold`.
    pub fn new(inner: Box<dyn Source>, threshold: f32) -> Self {
        Self {
            inner,
            threshold,
            in_a_row: 0,
            skipped: 0,
        }
    }
}

impl Source for SkipDark {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        let captured = self.inner.next(timeout);
        let Captured::Frame(Frame { luma, .. }) = &captured else {
            return captured;
        };
        if self.in_a_row < IN_A_ROW && mean(luma) < self.threshold {
            self.in_a_row += 1;
            self.skipped += 1;
            return Captured::Skipped;
        }
        self.in_a_row = 0;
        captured
    }

    fn description(&self) -> String {
        self.inner.description()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn counts(&self) -> Counts {
        Counts {
            dark: self.skipped,
            ..self.inner.counts()
        }
    }
}

/// Mean luma, 0 to 255.
fn mean(luma: &LumaView<'_>) -> f32 {
    let sum: u64 = luma
        .rows()
        .map(|row| u64::from(row.iter().map(|&pixel| u32::from(pixel)).sum::<u32>()))
        .sum();
    let pixels = f64::from(luma.width()) * f64::from(luma.height());
    (sum as f64 / pixels) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Timestamp;

    /// One-pixel frames of these values, then the end.
    struct Script(Vec<u8>, usize);

    impl Source for Script {
        fn next(&mut self, _: Duration) -> Captured<'_> {
            let at = self.1;
            self.1 += 1;
            match self.0.get(at..=at) {
                Some(pixel) => Captured::Frame(Frame {
                    luma: LumaView::new(pixel, 1, 1, 1).unwrap(),
                    timestamp: Timestamp::default(),
                    sequence: at as u64,
                }),
                None => Captured::Ended,
            }
        }

        fn description(&self) -> String {
            "script".to_owned()
        }

        fn is_live(&self) -> bool {
            false
        }

        fn counts(&self) -> Counts {
            Counts { broken: 7, dark: 0 }
        }
    }

    fn seen(values: &[u8], threshold: f32) -> (Vec<Option<u8>>, Counts) {
        let mut source = SkipDark::new(Box::new(Script(values.to_vec(), 0)), threshold);
        let mut seen = Vec::new();
        loop {
            match source.next(Duration::ZERO) {
                Captured::Frame(frame) => seen.push(Some(frame.luma.row(0)[0])),
                Captured::Skipped => seen.push(None),
                Captured::Ended => return (seen, source.counts()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn dark_frames_between_lit_ones_are_skipped_and_counted() {
        let (found, counts) = seen(&[90, 3, 91, 40, 92, 39], 40.0);
        let expected = [Some(90), None, Some(91), Some(40), Some(92), None];
        assert_eq!(found, expected);
        assert_eq!(counts, Counts { broken: 7, dark: 2 });
    }

    #[test]
    fn a_dark_room_is_seen_in_every_fourth_frame() {
        let (found, counts) = seen(&[1; 8], 40.0);
        let four = [None, None, None, Some(1)];
        assert_eq!(found, [four, four].concat());
        assert_eq!(counts.dark, 6);
    }
}
