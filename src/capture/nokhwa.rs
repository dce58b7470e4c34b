//! Cameras read with the crate nokhwa, for laptops. nokhwa also supports Media
//! Foundation and AVFoundation, but affectd builds on Linux only, where nokhwa
//! uses V4L2.
//!
//! nokhwa's `frame()` waits without a limit. A thread of its own therefore
//! calls it, converts to luma and leaves the newest frame in a slot;
//! [`Nokhwa::next`] waits at the slot only as long as it may. There are three
//! buffers: one in the thread, one in the slot, one in the loop.
//!
//! Known faults of nokhwa 0.10.11, handled here:
//! - GRAY becomes the FourCC `GRAY`, which no kernel knows (it is `GREY`), so
//!   this format is never requested.
//! - A request for the closest format fails if the exact size is missing. So
//!   the formats are listed and one of them is requested exactly.
//! - Opening fails for frame rates that are not whole numbers (25/2). Only the
//!   V4L2 source can open such cameras.
//! - A camera that stalls keeps the thread inside nokhwa for ever. It is
//!   reported as lost until frames come again, and cannot be closed meanwhile.
//!   An unplugged camera gives an error.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use nokhwa::Camera;
use nokhwa::utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType};

use super::convert::Layout;
use super::stall::{Broken, Stall};
use super::{CaptureError, Captured, Counts, Frame, Options, PixelFormat, Source};
use crate::fault::FaultLog;
use crate::frame::Timestamp;
use crate::image::{LumaImage, jpeg};
use crate::incident;

/// The formats that can be requested, the cheapest first.
const FORMATS: [FrameFormat; 5] = [
    FrameFormat::NV12,
    FrameFormat::YUYV,
    FrameFormat::MJPEG,
    FrameFormat::RAWRGB,
    FrameFormat::RAWBGR,
];

const USUAL_SIZE: (u32, u32) = (640, 480);
const USUAL_FPS: u32 = 25;

/// The wait between attempts to get a lost camera back.
const RETRY: Duration = Duration::from_millis(500);

/// How long opening, and after it the first frame, may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The data that the thread passes to the loop.
#[derive(Default)]
struct Slot {
    image: LumaImage,
    timestamp: Timestamp,
    /// Frames taken so far.
    count: u64,
    /// `image` has not been collected.
    fresh: bool,
    /// The camera's description; empty until it has been opened.
    description: String,
    /// Why there is no camera, if there is none.
    lost: Option<String>,
    /// Why there will never be one; `open` returns this error.
    refused: Option<String>,
    /// Frames per second that the camera announces, until it has been taken.
    fps: Option<f64>,
    /// Broken frames in all.
    broken: u64,
    broken_since: Broken,
}

impl Slot {
    fn add_broken(&mut self, fault: &dyn fmt::Display) {
        self.broken += 1;
        self.broken_since.add(fault);
    }
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        // After a panic in the other thread the slot is still usable.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, reason: String) {
        let mut slot = self.lock();
        if slot.lost.as_ref() != Some(&reason) {
            warn!("{reason}");
        }
        slot.fresh = false;
        slot.lost = Some(reason);
        self.changed.notify_all();
    }
}

/// A camera that nokhwa reads.
pub struct Nokhwa {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
    name: String,
    image: LumaImage,
    stall: Stall,
    /// The count at the last good frame.
    good_count: u64,
    reason: String,
    lost: bool,
}

/// Distinguishes a format or size that the camera does not have from other
/// failures.
enum Failure {
    NotYet(String),
    Never(String),
}

impl Nokhwa {
    /// Opens camera number `index`, or begins to wait for it.
    ///
    /// # Errors
    /// nokhwa cannot deliver the format, or the camera does not have the format
    /// or size.
    pub fn open(index: u32, options: &Options) -> Result<Self, CaptureError> {
        let refuse = |reason: String| CaptureError::Nokhwa { index, reason };
        let wanted = match options.format {
            None => None,
            Some(PixelFormat::Nv12) => Some(FrameFormat::NV12),
            Some(PixelFormat::Yuyv) => Some(FrameFormat::YUYV),
            Some(PixelFormat::Mjpg) => Some(FrameFormat::MJPEG),
            Some(other) => {
                return Err(refuse(format!(
                    "nokhwa cannot read {other}: use nv12, yuyv or mjpg, or use /dev/videoN"
                )));
            }
        };
        if !options.controls.is_empty() {
            return Err(refuse(
                "nokhwa cannot set controls: use /dev/videoN".to_owned(),
            ));
        }
        let ask = Ask {
            index,
            size: options.size,
            fps: options.fps,
            format: wanted,
        };
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(format!("nokhwa-{index}"))
            .spawn(move || run(&theirs, &ask))
            .map_err(|error| refuse(format!("its thread cannot be started: {error}")))?;
        let mut source = Self {
            shared,
            thread,
            name: format!("nokhwa:{index}"),
            image: LumaImage::default(),
            stall: Stall::new(options.stall_timeout, options.fps, Timestamp::now()),
            good_count: 0,
            reason: String::new(),
            lost: false,
        };
        source.wait_for_opening().map_err(refuse)?;
        source.stall.restart(Timestamp::now());
        Ok(source)
    }

    fn wait_for_opening(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let mut slot = self.shared.lock();
        while slot.description.is_empty() && slot.lost.is_none() && slot.refused.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            slot = wait(&self.shared, slot, left);
        }
        match slot.refused.take() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}

fn wait<'a>(
    shared: &'a Shared,
    slot: MutexGuard<'a, Slot>,
    time: Duration,
) -> MutexGuard<'a, Slot> {
    match shared.changed.wait_timeout(slot, time) {
        Ok((slot, _)) => slot,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

impl Source for Nokhwa {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        let deadline = Instant::now() + timeout;
        let was_lost = self.lost;
        let mut slot = self.shared.lock();
        loop {
            if slot.fresh {
                slot.fresh = false;
                std::mem::swap(&mut slot.image, &mut self.image);
                let (timestamp, sequence) = (slot.timestamp, slot.count);
                if let Some(fps) = slot.fps.take() {
                    self.stall.announce(fps);
                }
                drop(slot);
                if self.lost {
                    self.stall.restart(timestamp);
                    self.lost = false;
                }
                let count = sequence - std::mem::replace(&mut self.good_count, sequence);
                self.stall.pictures(count, timestamp);
                return match self.image.try_view() {
                    Ok(luma) => Captured::Frame(Frame {
                        luma,
                        timestamp,
                        sequence,
                    }),
                    Err(_) => Captured::Waiting,
                };
            }
            // The first report of a loss does not wait.
            if slot.lost.is_some() && !was_lost {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            slot = wait(&self.shared, slot, left);
        }
        let mut limit = self.stall.limit();
        if self.good_count == 0 {
            limit = limit.max(OPEN_TIMEOUT);
        }
        if let Some(reason) = &slot.lost {
            self.reason.clone_from(reason);
            self.lost = true;
        } else if self.thread.is_finished() {
            "nokhwa panicked".clone_into(&mut self.reason);
            self.lost = true;
        } else if self.stall.silence(Timestamp::now()) >= limit {
            if !self.lost {
                self.reason = slot.broken_since.reason(limit);
                warn!(target: incident::CAMERA_LOST.target, "{}: {}", self.name, self.reason);
            }
            self.lost = true;
        }
        drop(slot);
        if self.lost {
            Captured::Lost {
                reason: &self.reason,
            }
        } else {
            Captured::Waiting
        }
    }

    fn description(&self) -> String {
        let slot = self.shared.lock();
        if slot.description.is_empty() {
            self.name.clone()
        } else {
            slot.description.clone()
        }
    }

    fn is_live(&self) -> bool {
        true
    }

    fn counts(&self) -> Counts {
        Counts {
            broken: self.shared.lock().broken,
            dark: 0,
        }
    }
}

impl Drop for Nokhwa {
    fn drop(&mut self) {
        // Dropping does not wait for the thread, which may hang inside nokhwa
        // for ever.
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// The settings requested from the camera.
struct Ask {
    index: u32,
    size: Option<(u32, u32)>,
    fps: Option<f32>,
    format: Option<FrameFormat>,
}

/// The thread: opens the camera, delivers frames until an error, and opens it
/// again.
fn run(shared: &Shared, ask: &Ask) {
    let name = format!("nokhwa:{}", ask.index);
    let mut first = true;
    while !shared.stop.load(Ordering::Relaxed) {
        match open_camera(ask) {
            Ok(mut camera) => {
                let format = camera.camera_format();
                let mut slot = shared.lock();
                slot.description = format!("{name} ({}): {format}", camera.info().human_name());
                slot.fps = Some(f64::from(format.frame_rate()));
                info!(target: incident::CAMERA_BACK.target, "camera {}", slot.description);
                drop(slot);
                shared.changed.notify_all();
                let reason = deliver(shared, &mut camera, &name);
                shared.lose(format!("{name}: {reason}"));
            }
            Err(Failure::Never(reason)) if first => {
                shared.lock().refused = Some(reason);
                shared.changed.notify_all();
                return;
            }
            Err(Failure::NotYet(reason) | Failure::Never(reason)) => {
                shared.lose(format!("{name}: {reason}"));
            }
        }
        first = false;
        thread::sleep(RETRY);
    }
}

fn open_camera(ask: &Ask) -> Result<Camera, Failure> {
    let any = RequestedFormat::with_formats(RequestedFormatType::None, &FORMATS);
    let mut camera =
        Camera::new(CameraIndex::Index(ask.index), any).map_err(|error| match error {
            nokhwa::NokhwaError::OpenDeviceError(..) => Failure::NotYet(error.to_string()),
            other => Failure::Never(other.to_string()),
        })?;
    let offered = camera
        .compatible_camera_formats()
        .map_err(|e| Failure::NotYet(e.to_string()))?;
    let chosen = choose(&offered, ask).ok_or_else(|| Failure::Never(missing(&offered, ask)))?;
    if camera.camera_format() != chosen {
        let exactly = RequestedFormat::with_formats(RequestedFormatType::Exact(chosen), &FORMATS);
        camera
            .set_camera_requset(exactly)
            .map_err(|e| Failure::NotYet(e.to_string()))?;
    }
    camera
        .open_stream()
        .map_err(|e| Failure::NotYet(e.to_string()))?;
    Ok(camera)
}

fn missing(offered: &[CameraFormat], ask: &Ask) -> String {
    let mut list: Vec<String> = offered
        .iter()
        .filter(|f| FORMATS.contains(&f.format()))
        .map(ToString::to_string)
        .collect();
    list.sort();
    let size = ask
        .size
        .map_or_else(|| "any size".to_owned(), |(w, h)| format!("{w}x{h}"));
    let format = ask
        .format
        .map_or_else(|| "any format".to_owned(), |f| f.to_string());
    format!(
        "the camera does not offer {format} at {size}; it offers {}",
        list.join(", ")
    )
}

/// The cheapest format that has the size and is fast enough, or else the
/// fastest.
fn choose(offered: &[CameraFormat], ask: &Ask) -> Option<CameraFormat> {
    let wanted = ask.fps.map_or(USUAL_FPS, |fps| fps.round() as u32);
    let (width, height) = ask.size.unwrap_or(USUAL_SIZE);
    let usable = offered.iter().filter(|f| {
        FORMATS.contains(&f.format())
            && ask.format.is_none_or(|asked| asked == f.format())
            && ask
                .size
                .is_none_or(|asked| asked == (f.width(), f.height()))
    });
    usable
        .min_by_key(|f| {
            let away = f.width().abs_diff(width) + f.height().abs_diff(height);
            let rate = f.frame_rate();
            // Among the rates above the wanted one, the lowest is best.
            let slowness = wanted.saturating_sub(rate);
            let cost = FORMATS.iter().position(|&known| known == f.format());
            (away, slowness, cost, rate)
        })
        .copied()
}

/// Delivers frames until there is an error, and returns the error.
fn deliver(shared: &Shared, camera: &mut Camera, name: &str) -> String {
    let format = camera.camera_format();
    let (width, height) = (format.width(), format.height());
    let mut image = LumaImage::default();
    let mut broken = FaultLog::new(format!("camera {name}: frame dropped"));
    while !shared.stop.load(Ordering::Relaxed) {
        let converted = match camera.frame_raw() {
            Ok(bytes) => {
                (image.width, image.height) = (width, height);
                luma(format.format(), &bytes, &mut image)
            }
            Err(error) => return error.to_string(),
        };
        // nokhwa turns the camera's monotonic time into wall-clock time,
        // which jumps; the time of arrival does not.
        let now = Timestamp::now();
        let mut slot = shared.lock();
        slot.count += 1;
        match converted {
            Ok(()) => {
                std::mem::swap(&mut slot.image, &mut image);
                slot.timestamp = now;
                slot.fresh = true;
                slot.lost = None;
                slot.broken_since.clear();
                drop(slot);
                shared.changed.notify_all();
            }
            Err(reason) => {
                slot.add_broken(&reason);
                drop(slot);
                broken.occurred(&reason);
            }
        }
    }
    debug!("camera {name}: closed");
    "closed".to_owned()
}

fn luma(format: FrameFormat, bytes: &[u8], image: &mut LumaImage) -> Result<(), String> {
    let (width, height) = (image.width, image.height);
    let size = width as usize * height as usize;
    let pixel_format = match format {
        FrameFormat::MJPEG => {
            let size = jpeg::luma(bytes, &mut image.pixels).map_err(|e| e.to_string())?;
            (image.width, image.height) = size;
            return Ok(());
        }
        FrameFormat::RAWRGB | FrameFormat::RAWBGR => {
            if bytes.len() < size * 3 {
                return Err(format!("{} of {} bytes came", bytes.len(), size * 3));
            }
            let red_first = format == FrameFormat::RAWRGB;
            image.pixels.clear();
            image
                .pixels
                .extend(bytes.chunks_exact(3).take(size).map(|p| {
                    let (r, b) = if red_first {
                        (p[0], p[2])
                    } else {
                        (p[2], p[0])
                    };
                    jpeg::luma_of(r, p[1], b)
                }));
            return Ok(());
        }
        FrameFormat::YUYV => PixelFormat::Yuyv,
        FrameFormat::NV12 => PixelFormat::Nv12,
        FrameFormat::GRAY => PixelFormat::Grey,
    };
    image.pixels.resize(size, 0);
    // nokhwa does not give the stride, so only rows without padding can be
    // read.
    Layout::packed(pixel_format, width, height)
        .luma(bytes, &mut image.pixels)
        .map_err(|short| short.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nokhwa::utils::Resolution;

    fn format(format: FrameFormat, width: u32, height: u32, fps: u32) -> CameraFormat {
        CameraFormat::new(Resolution::new(width, height), format, fps)
    }

    #[test]
    fn a_format_is_chosen_from_what_is_offered_and_never_gray() {
        let offered = [
            format(FrameFormat::GRAY, 640, 480, 30),
            format(FrameFormat::MJPEG, 640, 480, 30),
            format(FrameFormat::YUYV, 640, 480, 30),
            format(FrameFormat::YUYV, 640, 480, 5),
            format(FrameFormat::YUYV, 1280, 720, 10),
            format(FrameFormat::MJPEG, 1280, 720, 30),
        ];
        let mut ask = Ask {
            index: 0,
            size: None,
            fps: None,
            format: None,
        };
        assert_eq!(choose(&offered, &ask), Some(offered[2]));
        ask.size = Some((1280, 720));
        assert_eq!(choose(&offered, &ask), Some(offered[5]));
        ask.fps = Some(10.0);
        assert_eq!(choose(&offered, &ask), Some(offered[4]));
        ask.size = Some((1000, 700));
        assert_eq!(choose(&offered, &ask), None);
        assert!(missing(&offered, &ask).contains("1000x700"));
        assert!(!missing(&offered, &ask).contains("GRAY"));
        assert_eq!(choose(&offered[..1], &Ask { size: None, ..ask }), None);
    }

    #[test]
    fn options_that_nokhwa_lacks_are_refused_at_once() {
        let mut options = Options {
            format: Some(PixelFormat::Grey),
            ..Options::default()
        };
        let error = Nokhwa::open(0, &options).err().unwrap().to_string();
        assert!(
            error.contains("grey") && error.contains("/dev/video"),
            "{error}"
        );
        options.format = None;
        options.controls = vec![("gain".into(), 1)];
        let error = Nokhwa::open(0, &options).err().unwrap().to_string();
        assert!(error.contains("controls"), "{error}");
    }

    #[test]
    fn a_missing_camera_is_waited_for_within_the_time_limit() {
        let mut source = Nokhwa::open(97, &Options::default()).unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            let found = source.next(Duration::from_millis(50));
            assert!(matches!(found, Captured::Lost { reason } if reason.contains("97")));
            assert!(start.elapsed() < Duration::from_millis(450));
        }
    }

    #[test]
    fn broken_frames_are_counted_and_tell_why_the_camera_is_lost() {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !theirs.stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut source = Nokhwa {
            shared: Arc::clone(&shared),
            thread,
            name: "nokhwa:0".to_owned(),
            image: LumaImage::default(),
            stall: Stall::new(Duration::from_millis(50), None, Timestamp::now()),
            good_count: 0,
            reason: String::new(),
            lost: false,
        };
        let mut slot = shared.lock();
        slot.image = LumaImage {
            width: 1,
            height: 1,
            pixels: vec![7],
        };
        (slot.count, slot.timestamp, slot.fresh) = (1, Timestamp::now(), true);
        drop(slot);
        let found = source.next(Duration::ZERO);
        assert!(matches!(found, Captured::Frame(Frame { sequence: 1, .. })));
        let mut slot = shared.lock();
        slot.add_broken(&"no JPEG");
        slot.add_broken(&"half a JPEG");
        drop(slot);
        let reason = loop {
            match source.next(Duration::from_millis(10)) {
                Captured::Waiting => {}
                Captured::Lost { reason } => break reason.to_owned(),
                other => panic!("{other:?}"),
            }
        };
        let expected = "no whole frame for 0.1 s; 2 broken ones came, the last: half a JPEG";
        assert_eq!(reason, expected);
        assert_eq!(source.counts().broken, 2);
    }

    #[test]
    fn colours_are_weighted() {
        let mut image = LumaImage {
            width: 2,
            height: 1,
            pixels: Vec::new(),
        };
        let bytes = [255, 0, 0, 0, 0, 255];
        luma(FrameFormat::RAWRGB, &bytes, &mut image).unwrap();
        assert_eq!(image.pixels, [76, 29]);
        luma(FrameFormat::RAWBGR, &bytes, &mut image).unwrap();
        assert_eq!(image.pixels, [29, 76]);
        assert!(luma(FrameFormat::RAWRGB, &bytes[..5], &mut image).is_err());
    }
}
