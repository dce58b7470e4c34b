//! A capture node of the kernel: finds it by the camera's name, opens it,
//! agrees on a format with its driver, and starts the stream.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use log::{debug, info, warn};
use v4l::v4l_sys::{
    V4L2_CAP_DEVICE_CAPS, V4L2_CAP_META_CAPTURE, V4L2_CAP_STREAMING, V4L2_CAP_TIMEPERFRAME,
    V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE, v4l2_capability,
    v4l2_field_V4L2_FIELD_NONE as FIELD_NONE, v4l2_fract, v4l2_pix_format,
};

use super::backend::{Granted, Opener, Refusal, Target, is_absence};
use super::formats::{self, CameraInfo, ControlInfo, FormatInfo, fourcc_name};
use super::negotiate::{Ask, Choice, choose};
use super::stream::Streaming;
use super::sys;
use crate::capture::convert::Layout;
use crate::capture::{CaptureError, PixelFormat};
use crate::frame::MAX_SIDE;
use crate::suggest::nearest;

/// The default of frames per second.
const USUAL_FPS: f32 = 30.0;

/// The cameras of this machine.
pub struct Linux;

impl Opener for Linux {
    type Stream = Streaming;

    fn open(
        &mut self,
        target: &Target,
        ask: &Ask,
        strict: bool,
    ) -> Result<(Streaming, Granted), Refusal> {
        let node = match target {
            Target::Path(path) => Node::open(path)?,
            Target::Card(name) => by_card(name)?,
        };
        node.start(ask, strict)
    }
}

/// An open capture node.
pub struct Node {
    file: File,
    path: PathBuf,
    pub card: String,
    pub driver: String,
    pub bus: String,
}

impl Node {
    /// Opens a capture node and queries its capabilities.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        let device = path.display().to_string();
        let not_a_camera = |reason: &str| {
            Refusal::Never(CaptureError::NotACamera {
                device: device.clone(),
                reason: reason.to_owned(),
            })
        };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return Err(Refusal::of_opening(&device, error)),
        };
        if !metadata.file_type().is_char_device() {
            return Err(not_a_camera("it is not a device file"));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| Refusal::of_opening(&device, error))?;
        let capability = sys::capability(file.as_fd()).map_err(|error| {
            if is_absence(&error) {
                Refusal::NotYet("it is gone".to_owned())
            } else {
                not_a_camera("it does not support V4L2")
            }
        })?;
        let has = |flag| capabilities(&capability) & flag != 0;
        if !has(V4L2_CAP_VIDEO_CAPTURE) {
            return Err(not_a_camera(if has(V4L2_CAP_META_CAPTURE) {
                "it delivers a camera's metadata; use another node of the same camera, usually the one before it ('affectd devices' lists them)"
            } else if has(V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
                "it has only multi-planar formats, which affectd cannot read; pipe its frames into standard input (see --source -)"
            } else {
                "it does not capture video ('affectd devices' lists the cameras)"
            }));
        }
        if !has(V4L2_CAP_STREAMING) {
            return Err(not_a_camera("it cannot stream into memory"));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            card: formats::text(&capability.card),
            driver: formats::text(&capability.driver),
            bus: formats::text(&capability.bus_info),
        })
    }

    pub fn formats(&self) -> Vec<FormatInfo> {
        formats::formats(self.file.as_fd())
    }

    pub fn controls(&self) -> Vec<ControlInfo> {
        formats::controls(self.file.as_fd())
    }

    fn name(&self) -> String {
        format!("{} ({}, {})", self.path.display(), self.card, self.driver)
    }

    /// Starts the stream of an open node.
    fn start(self, ask: &Ask, strict: bool) -> Result<(Streaming, Granted), Refusal> {
        let (layout, field) = self.agree(ask)?;
        let fps = self.set_rate(ask.fps);
        self.set_controls(&ask.controls, strict)?;
        let granted = Granted {
            device: self.name(),
            layout,
            fps,
        };
        if field != FIELD_NONE {
            info!(
                "camera {}: fields are interlaced (V4L2 field {field})",
                granted.device
            );
        }
        let stream = Streaming::start(self.file, &self.path)?;
        debug!(
            "camera {}: {} bytes per row, {} buffers",
            granted.device,
            layout.stride,
            stream.buffers()
        );
        Ok((stream, granted))
    }

    fn not_offered(&self, ask: &Ask, formats: &[FormatInfo]) -> Refusal {
        Refusal::Never(CaptureError::NotOffered {
            device: self.name(),
            asked: ask.to_string(),
            offered: formats::list(formats),
        })
    }

    /// Agrees on a format; returns it with the order of fields.
    fn agree(&self, ask: &Ask) -> Result<(Layout, u32), Refusal> {
        let formats = self.formats();
        let choice = choose(&formats, ask).ok_or_else(|| self.not_offered(ask, &formats))?;
        let size = (choice.width, choice.height);
        let pix = sys::set_format(self.file.as_fd(), choice.fourcc, size)
            .map_err(|e| Refusal::of_starting(&self.path, &e, "the format cannot be set"))?;
        let kept = pix.pixelformat == choice.fourcc
            && ask
                .size
                .is_none_or(|asked| asked == (pix.width, pix.height));
        if !kept {
            debug!(
                "camera {}: {} {}x{} became {} {}x{}",
                self.name(),
                choice.format,
                choice.width,
                choice.height,
                fourcc_name(pix.pixelformat),
                pix.width,
                pix.height
            );
            return Err(self.not_offered(ask, &formats));
        }
        let layout = layout(&choice, &pix).ok_or_else(|| {
            Refusal::Never(CaptureError::NotACamera {
                device: self.name(),
                reason: format!(
                    "its driver gives {}x{} with {} bytes per row, which do not fit together",
                    pix.width, pix.height, pix.bytesperline
                ),
            })
        })?;
        Ok((layout, pix.field))
    }

    /// Sets the rate as closely as the driver can. Returns the rate that the
    /// driver reports, if any.
    ///
    /// Also without a requested rate: a driver keeps the rate that an earlier
    /// program has set.
    fn set_rate(&self, asked: Option<f32>) -> Option<f64> {
        let fd = self.file.as_fd();
        let parameters = match sys::frame_rate(fd) {
            Ok(parameters) => parameters,
            Err(error) => {
                debug!("camera {}: no frame rate: {error}", self.name());
                return None;
            }
        };
        let mut interval = parameters.timeperframe;
        if parameters.capability & V4L2_CAP_TIMEPERFRAME != 0 {
            let fps = asked.unwrap_or(USUAL_FPS);
            let wish = v4l2_fract {
                numerator: 1000,
                denominator: (f64::from(fps) * 1000.0).round().max(1.0) as u32,
            };
            match sys::set_frame_rate(fd, wish) {
                Ok(granted) => interval = granted.timeperframe,
                Err(error) => warn!("camera {}: {fps} fps: {error}", self.name()),
            }
        }
        formats::fps(interval)
    }

    fn set_controls(&self, wishes: &[(String, i64)], strict: bool) -> Result<(), Refusal> {
        if wishes.is_empty() {
            return Ok(());
        }
        let controls = self.controls();
        for (name, value) in wishes {
            let Err(reason) = self.set_control(&controls, name, *value) else {
                continue;
            };
            let error = CaptureError::Control {
                device: self.name(),
                name: name.clone(),
                reason,
            };
            if strict {
                return Err(Refusal::Never(error));
            }
            warn!("{error}");
        }
        Ok(())
    }

    fn set_control(&self, known: &[ControlInfo], name: &str, value: i64) -> Result<(), String> {
        let Some(control) = known.iter().find(|c| c.name == name) else {
            let names = || known.iter().map(|c| c.name.as_str());
            return Err(match nearest(name, names()) {
                Some(near) => {
                    format!("the camera has no control of this name; did you mean '{near}'?")
                }
                None if known.is_empty() => "the camera has no controls".to_owned(),
                None => format!(
                    "the camera has no control of this name; it has {}",
                    names().collect::<Vec<_>>().join(", ")
                ),
            });
        };
        let number = i32::try_from(value)
            .ok()
            .filter(|_| (control.minimum..=control.maximum).contains(&value))
            .ok_or_else(|| {
                format!(
                    "{value} is not from {} to {}",
                    control.minimum, control.maximum
                )
            })?;
        sys::set_control(self.file.as_fd(), control.id, number)
            .map_err(|error| format!("cannot be set to {value}: {error}{}", control.hint()))
    }
}

/// The node's own capabilities; old drivers give only those of the whole
/// device.
fn capabilities(capability: &v4l2_capability) -> u32 {
    if capability.capabilities & V4L2_CAP_DEVICE_CAPS != 0 {
        capability.device_caps
    } else {
        capability.capabilities
    }
}

/// The layout that the driver set, if it makes sense.
fn layout(choice: &Choice, pix: &v4l2_pix_format) -> Option<Layout> {
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&pix.width) || !sides.contains(&pix.height) {
        return None;
    }
    let packed = Layout::packed(choice.format, pix.width, pix.height);
    let stride = match (choice.format, pix.bytesperline as usize) {
        // Compressed, or a driver that leaves it out: no padding.
        (PixelFormat::Mjpg, _) | (_, 0) => packed.stride,
        (_, stride) => stride,
    };
    let layout = Layout { stride, ..packed };
    // Rows may be padded but not too short; with an odd width the last chroma
    // may be missing.
    (stride + 2 >= packed.stride && stride <= packed.stride + (1 << 16)).then_some(layout)
}

/// If a camera names both its device and its function, uvcvideo calls the card
/// `Webcam: Webcam`, with the second name cut off. The first name is enough.
fn is_called(card: &str, name: &str) -> bool {
    card == name
        || card
            .split_once(": ")
            .is_some_and(|(device, _)| device == name)
}

/// The first capture node whose card has this name.
fn by_card(name: &str) -> Result<Node, Refusal> {
    let mut others: Vec<String> = Vec::new();
    let mut denied = None;
    for path in nodes() {
        match Node::open(&path) {
            Ok(node) if is_called(&node.card, name) => return Ok(node),
            Ok(node) if !others.contains(&node.card) => others.push(node.card),
            Err(Refusal::Never(error @ CaptureError::Permission { .. })) => denied = Some(error),
            _ => {}
        }
    }
    match denied {
        Some(error) => Err(Refusal::Never(error)),
        None if others.is_empty() => Err(Refusal::NotYet("there is no camera".to_owned())),
        None => Err(Refusal::NotYet(format!(
            "no camera has this card name; the cameras are: {}",
            others.join(", ")
        ))),
    }
}

/// Every V4L2 capture node of this machine, by number. Nodes without pictures
/// (a webcam's metadata) are left out; a node that cannot be opened is listed
/// with the problem.
#[must_use]
pub fn cameras() -> Vec<CameraInfo> {
    nodes().iter().filter_map(|path| camera(path)).collect()
}

fn camera(path: &Path) -> Option<CameraInfo> {
    let mut info = CameraInfo {
        path: path.to_owned(),
        by_id: link_to(path),
        card: String::new(),
        driver: String::new(),
        bus: String::new(),
        formats: Vec::new(),
        controls: Vec::new(),
        problem: None,
    };
    match Node::open(path) {
        Ok(node) => {
            info.formats = node.formats();
            info.controls = node.controls();
            info.card = node.card;
            info.driver = node.driver;
            info.bus = node.bus;
        }
        Err(Refusal::Never(CaptureError::NotACamera { .. })) => return None,
        Err(Refusal::Never(error)) => info.problem = Some(error.to_string()),
        Err(Refusal::NotYet(reason)) => info.problem = Some(reason),
    }
    Some(info)
}

/// `/dev/videoN`, by number.
fn nodes() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev") else {
        return Vec::new();
    };
    let mut numbers: Vec<u32> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.strip_prefix("video")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
        .iter()
        .map(|n| PathBuf::from(format!("/dev/video{n}")))
        .collect()
}

fn link_to(node: &Path) -> Option<PathBuf> {
    let mut links: Vec<PathBuf> = std::fs::read_dir("/dev/v4l/by-id")
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|link| std::fs::canonicalize(link).is_ok_and(|target| target == node))
        .collect();
    links.sort();
    links.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_cameras_has_none() {
        // On a machine with cameras, each of them can at least be printed.
        for camera in cameras() {
            assert!(camera.to_string().contains("/dev/video"));
        }
    }

    #[test]
    fn a_card_goes_by_its_whole_name_or_its_device_s() {
        assert!(is_called("HD Pro Webcam C920", "HD Pro Webcam C920"));
        assert!(is_called("HD Webcam: HD Webc", "HD Webcam"));
        assert!(is_called("HD Webcam: HD Webc", "HD Webcam: HD Webc"));
        assert!(!is_called("HD Webcam: HD Webc", "HD Web"));
    }

    #[test]
    fn layouts_from_a_driver_must_make_sense() {
        let choice = |format| Choice {
            format,
            fourcc: 0,
            width: 0,
            height: 0,
        };
        let granted = |format, width, height, bytesperline| {
            let mut pix = sys::no_format();
            (pix.width, pix.height, pix.bytesperline) = (width, height, bytesperline);
            layout(&choice(format), &pix).map(|l| l.stride)
        };
        assert_eq!(granted(PixelFormat::Yuyv, 640, 480, 1280), Some(1280));
        assert_eq!(granted(PixelFormat::Yuyv, 640, 480, 1536), Some(1536));
        assert_eq!(granted(PixelFormat::Yuyv, 639, 480, 1278), Some(1278));
        assert_eq!(granted(PixelFormat::Yuyv, 640, 480, 0), Some(1280));
        assert_eq!(granted(PixelFormat::Mjpg, 640, 480, 77), Some(640));
        assert_eq!(granted(PixelFormat::Yuyv, 640, 480, 640), None);
        assert_eq!(granted(PixelFormat::Grey, 0, 480, 640), None);
        assert_eq!(granted(PixelFormat::Grey, 640, 9000, 640), None);
        assert_eq!(granted(PixelFormat::Grey, 640, 480, u32::MAX), None);
    }
}
