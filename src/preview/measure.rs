//! How bright and how sharp a part of a picture is.

use crate::frame::{LumaView, Rect};

/// The largest side of the part that is measured, in pixels.
const LARGEST: u32 = 320;

/// Figures of a part of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The mean, 0 (black) to 1 (white).
    pub brightness: f32,
    /// The share of pixels that are white, in which nothing can be seen.
    pub burnt: f32,
    /// 0 (blurred) to 1 (sharp): how much of its edges a picture loses when it is
    /// blurred once more, as in Crete, Dolmiere, Ladret and Nicolas 2007, "The
    /// blur effect: perception and estimation with a new no-reference perceptual
    /// blur metric". `None` if there is nothing to see.
    pub sharpness: Option<f32>,
}

/// Measures the middle of `part`, or of the whole picture if they do not
/// overlap.
pub fn measure(picture: LumaView<'_>, part: Rect) -> Measured {
    let bounds = picture.bounds();
    let part = part.intersection(bounds).unwrap_or(bounds);
    let (width, height) = (part.width.min(LARGEST), part.height.min(LARGEST));
    // Both are inside of the picture, so nothing is negative.
    let left = part.x as u32 + (part.width - width) / 2;
    let top = part.y as u32 + (part.height - height) / 2;
    let rows: Vec<&[u8]> = (top..top + height)
        .map(|y| &picture.row(y)[left as usize..][..width as usize])
        .collect();
    let pixels = f64::from(width) * f64::from(height);
    let sum: u64 = rows
        .iter()
        .map(|row| row.iter().map(|&value| u64::from(value)).sum::<u64>())
        .sum();
    let burnt: usize = rows
        .iter()
        .map(|row| row.iter().filter(|&&value| value >= 250).count())
        .sum();
    Measured {
        brightness: (sum as f64 / pixels / 255.0) as f32,
        burnt: (burnt as f64 / pixels) as f32,
        sharpness: sharpness(&rows),
    }
}

/// The pixels over which the picture is smoothed, to either side.
const REACH: usize = 4;

/// Smaller differences of neighbours are the camera's noise.
const NOISE: u8 = 6;

/// The mean of the differences that count, below which there are no edges.
const FAINT: f64 = 0.2;

/// The standard deviation of a part's pixels, below which there is nothing to see
/// in it. With more and no edges, it is blurred.
const FLAT: f64 = 10.0;

/// A sharp picture loses half of its edges.
const SCALE: f64 = 2.0;

fn sharpness(rows: &[&[u8]]) -> Option<f32> {
    let rows = without_noise(rows);
    let width = rows.first()?.len();
    let mut along_rows = Variation::default();
    for row in &rows {
        along_rows = along_rows.with(row);
    }
    let mut along_columns = Variation::default();
    let mut column = Vec::with_capacity(rows.len());
    for x in 0..width {
        column.clear();
        column.extend(rows.iter().map(|row| row[x]));
        along_columns = along_columns.with(&column);
    }
    // The blurred direction counts: a moving head is blurred in one.
    match (along_rows.lost(), along_columns.lost()) {
        (Some(rows), Some(columns)) => Some((SCALE * rows.min(columns)).min(1.0) as f32),
        _ => (deviation(&rows) >= FLAT).then_some(0.0),
    }
}

/// The mean of each pixel and its neighbours, without the edge of the picture.
fn without_noise(rows: &[&[u8]]) -> Vec<Vec<u8>> {
    rows.windows(3)
        .map(|three| {
            let width = three[0].len();
            (1..width.max(2) - 1)
                .map(|x| {
                    let sum: u32 = three
                        .iter()
                        .flat_map(|row| &row[x - 1..=x + 1])
                        .map(|&value| u32::from(value))
                        .sum();
                    (sum / 9) as u8
                })
                .collect()
        })
        .collect()
}

/// The standard deviation.
fn deviation(rows: &[Vec<u8>]) -> f64 {
    let (mut count, mut sum, mut squares) = (0_u64, 0_u64, 0_u64);
    for &value in rows.iter().flatten() {
        let value = u64::from(value);
        count += 1;
        sum += value;
        squares += value * value;
    }
    let count = count.max(1) as f64;
    let mean = sum as f64 / count;
    (squares as f64 / count - mean * mean).max(0.0).sqrt()
}

/// How much neighbours differ, and how much of that smoothing takes away.
#[derive(Clone, Copy, Debug, Default)]
struct Variation {
    count: u64,
    all: u64,
    lost: u64,
}

impl Variation {
    fn with(mut self, line: &[u8]) -> Self {
        const TAPS: usize = 2 * REACH + 1;
        if line.len() <= TAPS {
            return self;
        }
        let mut sum: u32 = line[..TAPS].iter().map(|&value| u32::from(value)).sum();
        for at in REACH + 1..line.len() - REACH {
            let before = sum;
            sum = sum + u32::from(line[at + REACH]) - u32::from(line[at - REACH - 1]);
            self.count += 1;
            let difference = line[at].abs_diff(line[at - 1]);
            if difference < NOISE {
                continue;
            }
            let sharp = u64::from(difference) * TAPS as u64;
            self.all += sharp;
            self.lost += sharp.saturating_sub(u64::from(sum.abs_diff(before)));
        }
        self
    }

    /// The share that smoothing takes away; a blurred picture loses little.
    fn lost(self) -> Option<f64> {
        let taps = (2 * REACH + 1) as f64;
        let mean = self.all as f64 / taps / self.count.max(1) as f64;
        (mean >= FAINT).then(|| self.lost as f64 / self.all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::advice::BLURRED;
    use super::*;
    use crate::image::{LumaImage, read_luma};
    use std::path::Path;

    fn flat(value: u8) -> LumaImage {
        LumaImage {
            width: 40,
            height: 30,
            pixels: vec![value; 1200],
        }
    }

    #[test]
    fn brightness_is_that_of_the_part() {
        let mut picture = flat(0);
        picture.pixels[..600].fill(255);
        let at = |part| measure(picture.view(), part);
        assert_eq!(at(Rect::new(0, 0, 40, 15)).brightness, 1.0);
        assert_eq!(at(Rect::new(0, 0, 40, 15)).burnt, 1.0);
        assert_eq!(at(Rect::new(0, 15, 40, 15)).brightness, 0.0);
        assert_eq!(at(picture.view().bounds()).brightness, 0.5);
        // Partly and wholly outside.
        assert_eq!(at(Rect::new(-5, -5, 20, 10)).brightness, 1.0);
        assert_eq!(at(Rect::new(500, 0, 20, 10)).brightness, 0.5);
        assert_eq!(
            measure(flat(7).view(), Rect::new(0, 0, 9, 9)).sharpness,
            None
        );
        assert_eq!(
            measure(flat(7).view(), Rect::new(3, 3, 1, 1)).sharpness,
            None
        );
    }

    /// The mean over a square around each pixel.
    fn blurred(picture: &LumaImage, reach: i64) -> LumaImage {
        let (width, height) = (i64::from(picture.width), i64::from(picture.height));
        let mut pixels = Vec::with_capacity(picture.pixels.len());
        for y in 0..height {
            for x in 0..width {
                let (mut sum, mut count) = (0_u32, 0);
                for v in (y - reach).max(0)..=(y + reach).min(height - 1) {
                    for u in (x - reach).max(0)..=(x + reach).min(width - 1) {
                        sum += u32::from(picture.pixels[(v * width + u) as usize]);
                        count += 1;
                    }
                }
                pixels.push((sum / count) as u8);
            }
        }
        LumaImage { pixels, ..*picture }
    }

    /// The same with noise that has this standard deviation, about.
    fn noisy(picture: &LumaImage, deviation: f64) -> LumaImage {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as f64 / f64::from(1 << 31)
        };
        let pixels = picture.pixels.iter().map(|&value| {
            // The sum of three has a deviation of one half.
            let noise = random() + random() + random() - 1.5;
            (f64::from(value) + 2.0 * deviation * noise)
                .round()
                .clamp(0.0, 255.0) as u8
        });
        LumaImage {
            pixels: pixels.collect(),
            ..*picture
        }
    }

    #[test]
    fn blurred_faces_are_told_from_sharp_ones_in_spite_of_noise() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
        for (name, face) in [
            ("astronaut.jpg", Rect::new(165, 55, 120, 120)),
            ("obama-portrait.jpg", Rect::new(172, 49, 143, 143)),
            ("biden.jpg", Rect::new(153, 117, 188, 188)),
        ] {
            let picture = read_luma(folder.join(name)).unwrap();
            for deviation in [0.0, 2.0] {
                let [sharp, soft, blurry] = [0, 3, 5].map(|reach| {
                    let picture = noisy(&blurred(&picture, reach), deviation);
                    measure(picture.view(), face).sharpness.unwrap()
                });
                let told = format!("{name}, noise {deviation}: {sharp} {soft} {blurry}");
                println!("{told}");
                assert!(sharp > BLURRED + 0.1 && soft < BLURRED, "{told}");
                assert!(soft >= blurry, "{told}");
            }
        }
    }
}
