//! A USB webcam in software.
//!
//! It is plugged into the kernel's virtual USB host controller (vhci-hcd, made
//! for USB over networks) by a socket, so that the kernel enumerates it and its
//! own uvcvideo driver serves it: a program sees the same at /dev/video0 as
//! with a real webcam. Dropping a [`Webcam`] pulls the cable.
//!
//! - `usbip`: the protocol on that socket
//! - `descriptors`: the webcam's description of itself, YUYV and MJPG in two
//!   sizes
//! - `picture`: the picture in front of the webcam
//!
//! It streams by bulk transfers, each with a UVC payload header of two bytes
//! (length, flags), 30 frames per second if the machine is fast enough.

pub mod descriptors;
mod picture;
mod usbip;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use descriptors::{INTERVAL_30, MJPG, PAYLOAD, SIZES, YUYV};
pub use picture::Picture;
use usbip::{Request, Setup, Transfer};

/// How a webcam can misbehave while it stays plugged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// No more frames, and no error either.
    Stalled,
    /// Transfers fail as on a bad cable (EPROTO).
    Errors,
    /// Frames of the right length, but with noise instead of the picture.
    Noise,
    /// Every frame ends in its middle.
    HalfFrames,
}

/// The picture and the fault of the webcam; shared with its thread.
struct Stage {
    picture: Picture,
    fault: Fault,
    /// Frames begun.
    sent: u64,
}

/// A webcam that is plugged in.
pub struct Webcam {
    cable: UnixStream,
    stage: Arc<Mutex<Stage>>,
    device: Option<JoinHandle<()>>,
}

impl Webcam {
    /// Plugs it in; returns before the host has recognised it.
    pub fn plug(picture: &Picture) -> Self {
        let stage = Arc::new(Mutex::new(Stage {
            picture: picture.clone(),
            fault: Fault::None,
            sent: 0,
        }));
        let cable = attach();
        let mut device = Device {
            host: cable.try_clone().expect("a descriptor"),
            stage: Arc::clone(&stage),
            agreed: Agreement::default(),
            waiting: VecDeque::new(),
            frame: Vec::new(),
            sent: 0,
            toggle: false,
        };
        let device = thread::spawn(move || {
            // An error is the end of the cable.
            let _ = device.run();
        });
        Self {
            cable,
            stage,
            device: Some(device),
        }
    }

    pub fn show(&self, picture: &Picture) {
        self.stage.lock().unwrap().picture = picture.clone();
    }

    pub fn fail(&self, fault: Fault) {
        self.stage.lock().unwrap().fault = fault;
    }
}

impl Drop for Webcam {
    fn drop(&mut self) {
        let _ = self.cable.shutdown(std::net::Shutdown::Both);
        if let Some(device) = self.device.take() {
            let _ = device.join();
        }
    }
}

/// Gives one end of a socket to the virtual host controller, as the program
/// usbip does.
fn attach() -> UnixStream {
    const ATTACH: &str = "/sys/devices/platform/vhci_hcd.0/attach";
    const PORT: u32 = 0;
    const DEVICE: u32 = 0x0001_0002;
    const HIGH_SPEED: u32 = 3;
    let (ours, hosts) = UnixStream::pair().expect("a pair of sockets");
    let line = format!("{PORT} {} {DEVICE} {HIGH_SPEED}", hosts.as_raw_fd());
    // The port may still be busy with the device that was plugged in before.
    let start = Instant::now();
    while let Err(error) = std::fs::write(ATTACH, &line) {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{ATTACH}: {error}"
        );
        thread::sleep(Duration::from_millis(20));
    }
    ours
}

/// What host and device agreed on by UVC's probe and commit.
struct Agreement {
    format: u8,
    size: u8,
    interval: u32,
}

impl Default for Agreement {
    fn default() -> Self {
        Self {
            format: YUYV,
            size: 1,
            interval: INTERVAL_30,
        }
    }
}

impl Agreement {
    /// Accepts the part of a host's request that the device supports.
    fn ask(&mut self, wish: &[u8]) {
        if let [_, _, format, size, a, b, c, d, ..] = *wish {
            self.format = if format == MJPG { MJPG } else { YUYV };
            self.size = size.clamp(1, SIZES.len() as u8);
            self.interval = u32::from_le_bytes([a, b, c, d]).max(INTERVAL_30);
        }
    }

    fn size_index(&self) -> usize {
        usize::from(self.size) - 1
    }

    /// The 26 bytes of a UVC 1.0 probe.
    fn bytes(&self) -> [u8; 26] {
        let (width, height) = SIZES[self.size_index()];
        let largest = u32::from(width) * u32::from(height) * 2;
        let mut bytes = [0; 26];
        bytes[0] = 1;
        bytes[2] = self.format;
        bytes[3] = self.size;
        bytes[4..8].copy_from_slice(&self.interval.to_le_bytes());
        bytes[18..22].copy_from_slice(&largest.to_le_bytes());
        bytes[22..26].copy_from_slice(&PAYLOAD.to_le_bytes());
        bytes
    }
}

/// The webcam's side of the cable.
struct Device {
    host: UnixStream,
    stage: Arc<Mutex<Stage>>,
    agreed: Agreement,
    /// Bulk transfers that the host has asked for and that wait for data.
    waiting: VecDeque<Transfer>,
    /// The frame that is being sent, empty between two frames.
    frame: Vec<u8>,
    sent: usize,
    /// UVC's frame identifier: changes with each frame.
    toggle: bool,
}

impl Device {
    fn run(&mut self) -> io::Result<()> {
        let mut due = Instant::now();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let mut wait = [PollFd::new(&self.host, PollFlags::IN)];
            let timeout = Timespec::try_from(left).ok();
            let asked = poll(&mut wait, timeout.as_ref())? > 0;
            if asked {
                self.serve()?;
            }
            let now = Instant::now();
            if now >= due {
                let interval = Duration::from_nanos(u64::from(self.agreed.interval) * 100);
                due = (due + interval).max(now);
                self.begin_frame()?;
            }
            self.send_frame()?;
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        match usbip::receive(&self.host)? {
            Request::Bulk(transfer) => self.waiting.push_back(transfer),
            Request::Unlink { seq, wanted } => {
                let before = self.waiting.len();
                self.waiting.retain(|transfer| transfer.seq != wanted);
                usbip::answer_unlink(&self.host, seq, self.waiting.len() < before)?;
                if self.waiting.is_empty() {
                    // The host has stopped the stream.
                    self.frame.clear();
                }
            }
            Request::Control(transfer, setup, data) => {
                let answer = self.control(setup, &data);
                let answer = answer.as_deref().map_err(|&errno| errno);
                let length = usize::from(setup.length);
                let cut = answer.map(|bytes| &bytes[..bytes.len().min(length)]);
                usbip::answer(&self.host, transfer, cut)?;
            }
        }
        Ok(())
    }

    /// USB 2.0, 9.4, and UVC 1.0, 4.2 and 4.3. An unknown request is refused by
    /// a stalled endpoint, EPIPE.
    fn control(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, i32> {
        const STALL: i32 = libc::EPIPE;
        let [selector, index] = setup.value.to_be_bytes();
        // The streaming interface's probe (1) and commit (2) controls.
        let negotiates = setup.index & 0xff == 1 && matches!(selector, 1 | 2);
        match (setup.kind, setup.request) {
            // Descriptors.
            (0x80, 6) => match selector {
                1 => Ok(descriptors::DEVICE.to_vec()),
                2 => Ok(descriptors::configuration()),
                3 => descriptors::string(index).ok_or(STALL),
                _ => Err(STALL),
            },
            // Status; which configuration; choosing either; features.
            (0x80..=0x82, 0) => Ok(vec![0, 0]),
            (0x80, 8) => Ok(vec![1]),
            (0x00, 9 | 1 | 3) | (0x01, 11) | (0x02, 1) => Ok(Vec::new()),
            (0x21, 1) if negotiates => {
                self.agreed.ask(data);
                self.frame.clear();
                Ok(Vec::new())
            }
            // The present, least, greatest and default values are one.
            (0xa1, 0x81 | 0x82 | 0x83 | 0x87) if negotiates => Ok(self.agreed.bytes().to_vec()),
            // How long the control is, and that it can be read and set.
            (0xa1, 0x85) => Ok(vec![26, 0]),
            (0xa1, 0x86) => Ok(vec![3]),
            _ => Err(STALL),
        }
    }

    /// Begins the next frame, if the last one was sent and the host waits for
    /// one.
    fn begin_frame(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() || self.waiting.is_empty() {
            return Ok(());
        }
        let mut stage = self.stage.lock().unwrap();
        match stage.fault {
            Fault::Stalled => return Ok(()),
            Fault::Errors => {
                if let Some(transfer) = self.waiting.pop_front() {
                    usbip::answer(&self.host, transfer, Err(libc::EPROTO))?;
                }
                return Ok(());
            }
            Fault::None | Fault::Noise | Fault::HalfFrames => {}
        }
        let picture = match self.agreed.format {
            MJPG => &stage.picture.mjpg,
            _ => &stage.picture.yuyv,
        };
        self.frame.clone_from(&picture[self.agreed.size_index()]);
        match stage.fault {
            Fault::HalfFrames => self.frame.truncate(self.frame.len() / 2),
            Fault::Noise => {
                // Xorshift, from the frame's number: the same noise every time.
                let mut state = stage.sent | 1 << 40;
                for byte in &mut self.frame {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    *byte = state as u8;
                }
            }
            _ => {}
        }
        stage.sent += 1;
        self.sent = 0;
        self.toggle = !self.toggle;
        Ok(())
    }

    /// Sends as much of the frame as the host has asked for.
    fn send_frame(&mut self) -> io::Result<()> {
        const END_OF_HEADER: u8 = 0x80;
        const END_OF_FRAME: u8 = 0x02;
        while !self.frame.is_empty() {
            let Some(transfer) = self.waiting.pop_front() else {
                break;
            };
            let room = transfer.length.min(PAYLOAD as usize) - 2;
            let end = self.frame.len().min(self.sent + room);
            let last = end == self.frame.len();
            let mut payload = vec![2, END_OF_HEADER | u8::from(self.toggle)];
            if last {
                payload[1] |= END_OF_FRAME;
            }
            payload.extend_from_slice(&self.frame[self.sent..end]);
            usbip::answer(&self.host, transfer, Ok(&payload))?;
            self.sent = end;
            if last {
                self.frame.clear();
            }
        }
        (&self.host).flush()
    }
}
