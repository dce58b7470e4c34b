//! Chooses one of a camera's formats.

use super::super::PixelFormat;
use super::formats::FormatInfo;

/// The requested settings; the camera chooses those that are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    pub size: Option<(u32, u32)>,
    pub fps: Option<f32>,
    pub format: Option<PixelFormat>,
    pub controls: Vec<(String, i64)>,
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.format {
            Some(format) => write!(f, "{format}")?,
            None => write!(f, "any supported format")?,
        }
        match self.size {
            Some((width, height)) => write!(f, " at {width}x{height}"),
            None => Ok(()),
        }
    }
}

/// The default size: enough for faces across a room, and every camera has it.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// Without a requested rate, a format that needs more work is chosen to reach
/// this many frames per second.
const USUAL_FPS: f64 = 25.0;

/// The settings to request from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub format: PixelFormat,
    /// The driver's own code for it.
    pub fourcc: u32,
    pub width: u32,
    pub height: u32,
}

/// The cheapest format to convert among those that have the size and reach the
/// rate; if none reaches it, the fastest. `None` if no format has the size.
///
/// USB 2 can transfer uncompressed pictures up to 640x480 at 30 frames per
/// second. For larger sizes, webcams offer a few uncompressed frames per
/// second, and Motion-JPEG at 30.
pub fn choose(offered: &[FormatInfo], ask: &Ask) -> Option<Choice> {
    let wanted = ask.fps.map_or(USUAL_FPS, f64::from);
    let mut best: Option<((bool, f64, i32), Choice)> = None;
    for info in offered {
        let Some(format) = info.format else { continue };
        if ask.format.is_some_and(|asked| asked != format) {
            continue;
        }
        let Some(((width, height), fps)) = size_of(info, ask.size) else {
            continue;
        };
        // A driver that lists no rates is assumed to reach it. The 0.5 accepts
        // 29.97 for a requested 30.
        let reaches = fps.is_none_or(|fps| fps + 0.5 >= wanted);
        let cost = PixelFormat::ALL.iter().position(|&f| f == format);
        let cheapness = -(cost.unwrap_or(PixelFormat::ALL.len()) as i32);
        let speed = if reaches { 0.0 } else { fps.unwrap_or(0.0) };
        let rank = (reaches, speed, cheapness);
        if best.as_ref().is_none_or(|(r, _)| rank > *r) {
            let choice = Choice {
                format,
                fourcc: info.fourcc,
                width,
                height,
            };
            best = Some((rank, choice));
        }
    }
    best.map(|(_, choice)| choice)
}

/// The size to use of a format, and its highest rate if that is known.
fn size_of(info: &FormatInfo, asked: Option<(u32, u32)>) -> Option<((u32, u32), Option<f64>)> {
    if info.sizes.is_empty() {
        return Some((asked.unwrap_or(USUAL_SIZE), None));
    }
    let target = asked.unwrap_or(USUAL_SIZE);
    let (size, entry) = info
        .sizes
        .iter()
        .map(|entry| (entry.nearest(target), entry))
        .min_by_key(|((w, h), _)| w.abs_diff(target.0) + h.abs_diff(target.1))?;
    if asked.is_some_and(|asked| asked != size) {
        return None;
    }
    let fps = entry.rates.iter().copied().max_by(f64::total_cmp);
    Some((size, fps))
}

#[cfg(test)]
mod tests {
    use super::super::formats::SizeInfo;
    use super::*;

    fn format(format: PixelFormat, sizes: &[(u32, u32, f64)]) -> FormatInfo {
        FormatInfo {
            format: Some(format),
            fourcc: 7,
            name: String::new(),
            sizes: sizes
                .iter()
                .map(|&(w, h, fps)| SizeInfo::one(w, h, vec![fps]))
                .collect(),
        }
    }

    /// The formats of a common webcam.
    fn webcam() -> [FormatInfo; 2] {
        [
            format(
                PixelFormat::Mjpg,
                &[(640, 480, 30.0), (1280, 720, 30.0), (1920, 1080, 30.0)],
            ),
            format(
                PixelFormat::Yuyv,
                &[(640, 480, 30.0), (1280, 720, 10.0), (320, 240, 30.0)],
            ),
        ]
    }

    fn chosen(ask: &Ask) -> Option<(PixelFormat, u32, u32)> {
        choose(&webcam(), ask).map(|c| (c.format, c.width, c.height))
    }

    #[test]
    fn the_cheapest_format_that_is_fast_enough() {
        let mut ask = Ask::default();
        assert_eq!(chosen(&ask), Some((PixelFormat::Yuyv, 640, 480)));
        ask.size = Some((1280, 720));
        assert_eq!(chosen(&ask), Some((PixelFormat::Mjpg, 1280, 720)));
        ask.fps = Some(10.0);
        assert_eq!(chosen(&ask), Some((PixelFormat::Yuyv, 1280, 720)));
        ask.fps = Some(60.0);
        assert_eq!(chosen(&ask), Some((PixelFormat::Mjpg, 1280, 720)));
    }

    #[test]
    fn requested_settings_are_chosen_or_refused() {
        let mut ask = Ask {
            format: Some(PixelFormat::Mjpg),
            ..Ask::default()
        };
        assert_eq!(chosen(&ask), Some((PixelFormat::Mjpg, 640, 480)));
        ask.size = Some((320, 240));
        assert_eq!(chosen(&ask), None);
        ask.format = Some(PixelFormat::Nv12);
        ask.size = None;
        assert_eq!(chosen(&ask), None);
    }

    #[test]
    fn ranges_of_sizes_are_respected() {
        let mut info = format(PixelFormat::Nv12, &[]);
        info.sizes.push(SizeInfo {
            min: (32, 32),
            max: (600, 400),
            step: (8, 4),
            rates: vec![],
            range_of_rates: false,
        });
        let offered = [info];
        let chosen = choose(&offered, &Ask::default()).unwrap();
        assert_eq!((chosen.width, chosen.height), (600, 400));
        let with = |size| Ask {
            size: Some(size),
            ..Ask::default()
        };
        assert!(choose(&offered, &with((320, 240))).is_some());
        assert!(choose(&offered, &with((321, 240))).is_none());
        assert!(choose(&offered, &with((608, 240))).is_none());
    }
}
