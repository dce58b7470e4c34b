//! The formats, sizes, rates and controls of a camera: for the `devices`
//! command, for choosing a format, and for errors that list the possible
//! settings.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use v4l::v4l_sys::{
    V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_GRABBED, V4L2_CTRL_FLAG_INACTIVE,
    V4L2_CTRL_FLAG_READ_ONLY, V4L2_CTRL_FLAG_WRITE_ONLY,
    v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN as BOOLEAN,
    v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER as INTEGER,
    v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU as INTEGER_MENU,
    v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU as MENU, v4l2_fract,
};

use super::sys;
use crate::capture::PixelFormat;

/// More entries than any driver lists: a limit, in case a driver never ends its
/// list.
const MAX_ENTRIES: u32 = 512;

/// A V4L2 capture node and what it offers.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraInfo {
    /// The node, as in `/dev/video0`.
    pub path: PathBuf,
    /// The link to it that does not change, such as `/dev/v4l/by-id/...`.
    pub by_id: Option<PathBuf>,
    /// The name for `card:NAME`.
    pub card: String,
    pub driver: String,
    pub bus: String,
    pub formats: Vec<FormatInfo>,
    pub controls: Vec<ControlInfo>,
    /// Why nothing more is known about it.
    pub problem: Option<String>,
}

/// A pixel format with the sizes it comes in.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatInfo {
    /// affectd's name for it; `None` if affectd cannot read it.
    pub format: Option<PixelFormat>,
    /// V4L2's code for it.
    pub fourcc: u32,
    /// V4L2's name for it, as in `YUYV`.
    pub name: String,
    /// Empty if the driver does not list them.
    pub sizes: Vec<SizeInfo>,
}

/// A size, or a range of them, with its rates.
#[derive(Clone, Debug, PartialEq)]
pub struct SizeInfo {
    /// Width and height; `min` equals `max` for a single size.
    pub min: (u32, u32),
    pub max: (u32, u32),
    pub step: (u32, u32),
    /// Frames per second, the highest first; for a range of sizes, those of its
    /// largest. Empty if the driver does not list them.
    pub rates: Vec<f64>,
    /// `rates` has the two ends of a range.
    pub range_of_rates: bool,
}

impl SizeInfo {
    /// A single size.
    #[must_use]
    pub const fn one(width: u32, height: u32, rates: Vec<f64>) -> Self {
        Self {
            min: (width, height),
            max: (width, height),
            step: (0, 0),
            rates,
            range_of_rates: false,
        }
    }

    /// The size in this range that is nearest to the wanted one.
    pub(super) fn nearest(&self, wanted: (u32, u32)) -> (u32, u32) {
        let side = |min: u32, max: u32, step: u32, wanted: u32| {
            let clamped = wanted.clamp(min.min(max), max);
            match step {
                0 | 1 => clamped,
                step => min + (clamped - min) / step * step,
            }
        };
        (
            side(self.min.0, self.max.0, self.step.0, wanted.0),
            side(self.min.1, self.max.1, self.step.1, wanted.1),
        )
    }
}

/// A control that can be set by name.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlInfo {
    /// V4L2's id.
    pub id: u32,
    /// The name in board files and `v4l2-ctl --list-ctrls`.
    pub name: String,
    pub minimum: i64,
    pub maximum: i64,
    pub step: u64,
    pub default: i64,
    /// Its present value, if it can be read.
    pub value: Option<i64>,
    /// The entries of a menu.
    pub menu: Vec<(i64, String)>,
    /// Has no effect now: usually an automatic mode sets it.
    pub inactive: bool,
}

impl ControlInfo {
    /// A possible reason why it cannot be set.
    pub(super) fn hint(&self) -> &'static str {
        if self.inactive {
            " (an automatic mode sets it: switch that to manual first)"
        } else {
            ""
        }
    }
}

/// Turns a driver's name into that of v4l2-ctl: `Exposure Time, Absolute` is
/// `exposure_time_absolute`.
fn control_name(name: &str) -> String {
    let mut spelt = String::with_capacity(name.len());
    let mut gap = false;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            if gap && !spelt.is_empty() {
                spelt.push('_');
            }
            gap = false;
            spelt.push(c.to_ascii_lowercase());
        } else {
            gap = true;
        }
    }
    spelt
}

/// The entries of a driver's list, until it says that there are no more.
fn entries<T>(mut entry: impl FnMut(u32) -> io::Result<T>) -> impl Iterator<Item = T> {
    (0..MAX_ENTRIES).map_while(move |index| entry(index).ok())
}

pub(super) fn formats(fd: BorrowedFd<'_>) -> Vec<FormatInfo> {
    entries(|index| sys::format_description(fd, index))
        .map(|description| {
            let fourcc = description.pixelformat;
            FormatInfo {
                format: known(fourcc),
                fourcc,
                name: fourcc_name(fourcc),
                sizes: sizes(fd, fourcc),
            }
        })
        .collect()
}

fn sizes(fd: BorrowedFd<'_>, fourcc: u32) -> Vec<SizeInfo> {
    entries(|index| sys::frame_size(fd, fourcc, index))
        .map(|size| {
            let (rates, range_of_rates) = rates(fd, fourcc, size.max);
            SizeInfo {
                min: size.min,
                max: size.max,
                step: size.step,
                rates,
                range_of_rates,
            }
        })
        .collect()
}

fn rates(fd: BorrowedFd<'_>, fourcc: u32, size: (u32, u32)) -> (Vec<f64>, bool) {
    let mut rates = Vec::new();
    for interval in entries(|index| sys::frame_interval(fd, fourcc, size, index)) {
        match interval {
            sys::Interval::One(one) => rates.extend(fps(one)),
            sys::Interval::Range(shortest, longest) => {
                return (
                    fps(shortest).into_iter().chain(fps(longest)).collect(),
                    true,
                );
            }
        }
    }
    rates.sort_by(|a, b| b.total_cmp(a));
    (rates, false)
}

/// Frames per second from the seconds between two frames.
pub(super) fn fps(interval: v4l2_fract) -> Option<f64> {
    (interval.numerator > 0 && interval.denominator > 0)
        .then(|| f64::from(interval.denominator) / f64::from(interval.numerator))
}

pub(super) fn controls(fd: BorrowedFd<'_>) -> Vec<ControlInfo> {
    let mut controls = Vec::new();
    let mut last = 0;
    for control in entries(|_| {
        let control = sys::control_after(fd, last)?;
        // If a driver repeats an entry, the list would never end.
        if control.id <= last {
            return Err(io::ErrorKind::InvalidData.into());
        }
        last = control.id;
        Ok(control)
    }) {
        let settable = [INTEGER, BOOLEAN, MENU, INTEGER_MENU].contains(&control.type_);
        if !settable || control.flags & (V4L2_CTRL_FLAG_DISABLED | V4L2_CTRL_FLAG_READ_ONLY) != 0 {
            continue;
        }
        let name: Vec<u8> = control.name.iter().map(|&c| c as u8).collect();
        let readable = control.flags & V4L2_CTRL_FLAG_WRITE_ONLY == 0;
        controls.push(ControlInfo {
            id: control.id,
            name: control_name(&text(&name)),
            minimum: control.minimum,
            maximum: control.maximum,
            step: control.step,
            default: control.default_value,
            value: readable
                .then(|| sys::control(fd, control.id).ok().map(i64::from))
                .flatten(),
            menu: if [MENU, INTEGER_MENU].contains(&control.type_) {
                menu(
                    fd,
                    control.id,
                    control.type_ == MENU,
                    control.minimum,
                    control.maximum,
                )
            } else {
                Vec::new()
            },
            inactive: control.flags & (V4L2_CTRL_FLAG_INACTIVE | V4L2_CTRL_FLAG_GRABBED) != 0,
        });
    }
    controls
}

fn menu(fd: BorrowedFd<'_>, id: u32, named: bool, first: i64, last: i64) -> Vec<(i64, String)> {
    let first = first.max(0);
    let last = last.min(first + i64::from(MAX_ENTRIES));
    (first..=last)
        // Drivers leave out entries that they do not support.
        .filter_map(|index| {
            let entry = sys::menu_entry(fd, id, u32::try_from(index).ok()?).ok()?;
            let bytes = sys::menu_name(&entry);
            let name = if named {
                text(&bytes)
            } else {
                let number: [u8; 8] = bytes[..8].try_into().ok()?;
                i64::from_ne_bytes(number).to_string()
            };
            Some((index, name))
        })
        .collect()
}

/// A name in a fixed field: up to its first zero byte. Some are Latin-1 or cut
/// within a UTF-8 sequence.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

/// V4L2's name for a format; its highest bit stands for big endian.
pub(super) fn fourcc_name(fourcc: u32) -> String {
    const BIG_ENDIAN: u32 = 1 << 31;
    let letters = (fourcc & !BIG_ENDIAN).to_le_bytes();
    if !letters.iter().all(|c| c.is_ascii_graphic() || *c == b' ') {
        return format!("{fourcc:#010x}");
    }
    let name = String::from_utf8_lossy(&letters);
    let suffix = if fourcc & BIG_ENDIAN != 0 { "-BE" } else { "" };
    format!("{}{suffix}", name.trim_end())
}

fn known(fourcc: u32) -> Option<PixelFormat> {
    Some(match &fourcc.to_le_bytes() {
        b"YUYV" => PixelFormat::Yuyv,
        b"UYVY" => PixelFormat::Uyvy,
        b"NV12" => PixelFormat::Nv12,
        b"YU12" => PixelFormat::I420,
        b"GREY" => PixelFormat::Grey,
        b"Y16 " => PixelFormat::Y16,
        b"MJPG" | b"JPEG" => PixelFormat::Mjpg,
        _ => return None,
    })
}

/// All formats in one line, for errors: supported formats with their sizes, the
/// others only by name.
pub(super) fn list(formats: &[FormatInfo]) -> String {
    let mut parts: Vec<String> = formats
        .iter()
        .filter(|f| f.format.is_some())
        .map(ToString::to_string)
        .collect();
    parts.extend(unread(formats));
    if parts.is_empty() {
        return "nothing".to_owned();
    }
    parts.join("; ")
}

/// The names of the formats that affectd cannot read.
fn unread(formats: &[FormatInfo]) -> Option<String> {
    let names: Vec<&str> = formats
        .iter()
        .filter(|f| f.format.is_none())
        .map(|f| f.name.as_str())
        .collect();
    (!names.is_empty()).then(|| format!("not supported: {}", names.join(", ")))
}

impl fmt::Display for SizeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.min.0, self.min.1)?;
        if self.min != self.max {
            write!(f, " to {}x{}", self.max.0, self.max.1)?;
            if self.step.0 > 1 || self.step.1 > 1 {
                write!(f, " by {}x{}", self.step.0, self.step.1)?;
            }
        }
        if self.rates.is_empty() {
            return Ok(());
        }
        let between = if self.range_of_rates { " to " } else { "/" };
        let rates: Vec<String> = self
            .rates
            .iter()
            // 29.97 but 30.
            .map(|fps| {
                format!("{fps:.2}")
                    .trim_end_matches('0')
                    .trim_end_matches('.')
                    .to_owned()
            })
            .collect();
        write!(f, " ({} fps)", rates.join(between))
    }
}

impl fmt::Display for FormatInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            Some(format) => write!(f, "{format}")?,
            None => write!(f, "{}", self.name)?,
        }
        for (index, size) in self.sizes.iter().enumerate() {
            write!(f, "{} {size}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for ControlInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} to {}", self.name, self.minimum, self.maximum)?;
        if self.step > 1 {
            write!(f, " by {}", self.step)?;
        }
        write!(f, ", default {}", self.default)?;
        if let Some(value) = self.value {
            write!(f, ", now {value}")?;
        }
        if self.inactive {
            write!(f, ", inactive")?;
        }
        for (index, (number, name)) in self.menu.iter().enumerate() {
            write!(f, "{} {number} {name}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for CameraInfo {
    /// Several lines; the first one has no leading space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(problem) = &self.problem {
            return write!(f, ": {problem}");
        }
        write!(f, "  card:{}  ({}, {})", self.card, self.driver, self.bus)?;
        if let Some(link) = &self.by_id {
            write!(f, "\n  {}", link.display())?;
        }
        for format in self.formats.iter().filter(|f| f.format.is_some()) {
            write!(f, "\n  format  {format}")?;
        }
        if let Some(unread) = unread(&self.formats) {
            write!(f, "\n  formats {unread}")?;
        }
        for control in &self.controls {
            write!(f, "\n  control {control}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_zero_and_need_not_be_utf_8() {
        assert_eq!(text(b"HD Webcam\0junk"), "HD Webcam");
        assert_eq!(text(b"cut \xe6\x91"), "cut \u{fffd}");
        assert_eq!(text(&[b'a'; 32]), "a".repeat(32));
        assert_eq!(fourcc_name(u32::from_le_bytes(*b"Y16 ")), "Y16");
        assert_eq!(fourcc_name(u32::from_le_bytes(*b"Y16\xa0")), "Y16-BE");
        assert_eq!(fourcc_name(3), "0x00000003");
    }

    #[test]
    fn controls_are_named_as_v4l2_ctl_does() {
        assert_eq!(
            control_name("Exposure Time, Absolute"),
            "exposure_time_absolute"
        );
        assert_eq!(
            control_name("White Balance, Automatic"),
            "white_balance_automatic"
        );
        assert_eq!(control_name("  Gain (dB) "), "gain_db");
    }

    #[test]
    fn what_is_offered_reads_as_a_person_would_write_it() {
        let formats = [
            FormatInfo {
                format: Some(PixelFormat::Yuyv),
                fourcc: 0,
                name: "YUYV".into(),
                sizes: vec![
                    SizeInfo::one(640, 480, vec![30.0, 15.0]),
                    SizeInfo::one(320, 240, vec![30_000.0 / 1001.0]),
                ],
            },
            FormatInfo {
                format: None,
                fourcc: 0,
                name: "H264".into(),
                sizes: vec![SizeInfo {
                    min: (16, 16),
                    max: (1920, 1080),
                    step: (2, 2),
                    rates: vec![90.0, 1.0],
                    range_of_rates: true,
                }],
            },
        ];
        assert_eq!(
            list(&formats),
            "yuyv 640x480 (30/15 fps), 320x240 (29.97 fps); \
             not supported: H264"
        );
        assert_eq!(
            formats[1].to_string(),
            "H264 16x16 to 1920x1080 by 2x2 (90 to 1 fps)"
        );
    }
}
