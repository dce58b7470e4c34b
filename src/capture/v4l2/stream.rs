//! A running stream: its buffers go to the driver empty and come back filled.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use log::debug;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use v4l::v4l_sys::{
    V4L2_BUF_FLAG_ERROR, V4L2_BUF_FLAG_TIMESTAMP_MASK, V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
};

use super::backend::{Filled, Ready, Refusal, Stream};
use super::sys;
use crate::frame::Timestamp;

/// Enough that the driver has buffers while one is converted; more would only
/// contain older frames.
const BUFFERS: u32 = 4;

/// A running stream.
pub struct Streaming {
    buffers: sys::Buffers,
}

impl Streaming {
    /// Requests buffers of the device at `path`, gives them to the driver and
    /// starts the stream.
    pub fn start(device: File, path: &Path) -> Result<Self, Refusal> {
        let mut buffers = sys::Buffers::map(device, BUFFERS)
            .map_err(|e| Refusal::of_starting(path, &e, "it gives no buffers"))?;
        let count = buffers.len();
        if count < 2 {
            return Err(Refusal::NotYet(format!("it gives only {count} buffers")));
        }
        for index in 0..count {
            buffers
                .queue(index)
                .map_err(|e| Refusal::of_starting(path, &e, "a buffer cannot be queued"))?;
        }
        buffers
            .start()
            .map_err(|e| Refusal::of_starting(path, &e, "streaming cannot be started"))?;
        Ok(Self { buffers })
    }

    /// How many buffers the driver gave.
    pub fn buffers(&self) -> usize {
        self.buffers.len()
    }
}

impl Stream for Streaming {
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready> {
        let device = self.buffers.device();
        let mut fds = [PollFd::new(&device, PollFlags::IN)];
        let limit = Timespec::try_from(timeout).ok();
        if poll(&mut fds, limit.as_ref())? == 0 {
            return Ok(Ready::Nothing);
        }
        let error = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        Ok(if fds[0].revents().intersects(error) {
            Ready::Error
        } else {
            Ready::Data
        })
    }

    fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        let filled = match self.buffers.dequeue() {
            Ok(filled) => filled,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let monotonic =
            filled.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        let seconds = u64::try_from(filled.timestamp.tv_sec).ok();
        let micros = u32::try_from(filled.timestamp.tv_usec)
            .ok()
            .filter(|&us| us < 1_000_000);
        Ok(Some(Filled {
            index: filled.index as usize,
            used: filled.bytesused as usize,
            damaged: filled.flags & V4L2_BUF_FLAG_ERROR != 0,
            sequence: filled.sequence,
            timestamp: seconds
                .zip(micros)
                .filter(|_| monotonic)
                .map(|(s, us)| Timestamp(Duration::new(s, us * 1000))),
        }))
    }

    fn bytes(&self, filled: &Filled) -> &[u8] {
        let bytes = self.buffers.bytes(filled.index);
        &bytes[..filled.used.min(bytes.len())]
    }

    fn requeue(&mut self, filled: Filled) -> io::Result<()> {
        self.buffers.queue(filled.index)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // If the camera is gone, there is nothing to stop.
        if let Err(error) = self.buffers.stop() {
            debug!("stopping the camera: {error}");
        }
    }
}
