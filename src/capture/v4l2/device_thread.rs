//! The thread that opens and closes a camera.
//!
//! A call of a driver may take any time: a USB camera that fails while it is
//! being closed can keep a program waiting for ever. So the loop gives the work
//! to this thread and continues; meanwhile it sets safe levels and handles
//! signals. Only one camera is open at a time, because the thread does one
//! thing after the other.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::backend::{Granted, Opener, Refusal, Target, V4l2Backend};
use super::negotiate::Ask;
use crate::capture::CaptureError;
use crate::frame::Timestamp;

/// How long dropping this waits until the camera is closed, so that the next
/// program does not find it busy.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

type Answer<S> = Result<(S, Granted), Refusal>;

/// Opens and closes one camera on a thread of its own.
pub struct DeviceThread<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    work: Mutex<Work<S>>,
    changed: Condvar,
    /// Readable when there is an answer. A descriptor, because a signal ends
    /// the wait for a descriptor.
    answered: OwnedFd,
}

struct Work<S> {
    /// The stream to close, before anything else.
    close: Option<S>,
    /// Whether to open the camera, and whether strictly.
    open: Option<bool>,
    answer: Option<Answer<S>>,
    /// The thread is inside of a call to the driver.
    busy: bool,
    /// The thread must end.
    ended: bool,
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, Work<S>> {
        // Nothing panics while the lock is held.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Send + 'static> DeviceThread<S> {
    /// Starts the thread for the camera `target`, which it opens with the
    /// settings in `ask`.
    ///
    /// # Errors
    /// No thread can be started, or no descriptor is left.
    pub fn start(
        opener: impl Opener<Stream = S> + Send + 'static,
        target: Target,
        ask: Ask,
    ) -> Result<Self, CaptureError> {
        let device = target.to_string();
        let failed = |source| CaptureError::Device {
            device,
            doing: "starting its thread",
            source,
        };
        let shared = Self::spawn(opener, target, ask).map_err(failed)?;
        Ok(Self { shared })
    }

    fn spawn(
        mut opener: impl Opener<Stream = S> + Send + 'static,
        target: Target,
        ask: Ask,
    ) -> io::Result<Arc<Shared<S>>> {
        let shared = Arc::new(Shared {
            work: Mutex::new(Work {
                close: None,
                open: None,
                answer: None,
                busy: false,
                ended: false,
            }),
            changed: Condvar::new(),
            answered: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("camera".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || thread.run(|strict| opener.open(&target, &ask, strict)))?;
        Ok(shared)
    }
}

impl<S> Shared<S> {
    /// Does the requested work until the thread must end.
    fn run(&self, mut open: impl FnMut(bool) -> Answer<S>) {
        loop {
            let mut work = self.lock();
            work.busy = false;
            self.changed.notify_all();
            let mut work = self
                .changed
                .wait_while(work, |work| {
                    work.close.is_none() && work.open.is_none() && !work.ended
                })
                .unwrap_or_else(PoisonError::into_inner);
            work.busy = true;
            if let Some(stream) = work.close.take() {
                drop(work);
                drop(stream);
            } else if work.ended {
                // An answer that was not collected is closed here as well.
                let answer = work.answer.take();
                drop(work);
                drop(answer);
                self.lock().busy = false;
                self.changed.notify_all();
                return;
            } else if let Some(strict) = work.open.take() {
                drop(work);
                let answer = open(strict);
                self.lock().answer = Some(answer);
                // Fails only if the counter is full, and then it is readable
                // anyway.
                let _ = rustix::io::write(&self.answered, &1_u64.to_ne_bytes());
            }
        }
    }

    fn take_answer(&self) -> Option<Answer<S>> {
        let answer = self.lock().answer.take()?;
        // The thread may not have written yet; then a later wait ends too early
        // once.
        let _ = rustix::io::read(&self.answered, &mut [0; 8]);
        Some(answer)
    }
}

impl<S: super::backend::Stream> V4l2Backend for DeviceThread<S> {
    type Stream = S;

    fn begin_open(&mut self, strict: bool) {
        self.shared.lock().open = Some(strict);
        self.shared.changed.notify_all();
    }

    fn opened(&mut self, timeout: Duration) -> Option<Answer<S>> {
        self.shared.take_answer().or_else(|| {
            let mut wait = [PollFd::new(&self.shared.answered, PollFlags::IN)];
            let limit = Timespec::try_from(timeout).ok();
            if poll(&mut wait, limit.as_ref()).is_ok_and(|ready| ready > 0) {
                let _ = rustix::io::read(&self.shared.answered, &mut [0; 8]);
            }
            self.shared.take_answer()
        })
    }

    fn begin_close(&mut self, stream: S) {
        self.shared.lock().close = Some(stream);
        self.shared.changed.notify_all();
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

impl<S> Drop for DeviceThread<S> {
    fn drop(&mut self) {
        let mut work = self.shared.lock();
        work.open = None;
        work.ended = true;
        self.shared.changed.notify_all();
        let _work = self
            .shared
            .changed
            .wait_timeout_while(work, CLOSE_PATIENCE, |work| {
                work.busy || work.close.is_some() || work.answer.is_some()
            })
            .unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::{Filled, Ready, Stream};
    use super::super::camera::Camera;
    use super::*;
    use crate::capture::convert::Layout;
    use crate::capture::{Captured, Options, PixelFormat, Source as _};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    /// How long the loop waits for a frame.
    const PATIENCE: Duration = Duration::from_millis(50);

    /// Longer than any call here takes on a busy machine, and shorter than the
    /// driver hangs.
    const SOON: Duration = Duration::from_secs(10);

    /// A driver that hangs where the test wants it, until the test releases it.
    struct Driver {
        entered: Sender<&'static str>,
        hang_in_open: Receiver<()>,
        hang_in_close: Option<Receiver<()>>,
    }

    struct FakeStream {
        entered: Sender<&'static str>,
        hang: Option<Receiver<()>>,
    }

    impl Opener for Driver {
        type Stream = FakeStream;

        fn open(&mut self, _: &Target, _: &Ask, _: bool) -> Result<(FakeStream, Granted), Refusal> {
            self.entered.send("open").unwrap();
            // Until the test releases it, or has ended.
            let _ = self.hang_in_open.recv();
            let stream = FakeStream {
                entered: self.entered.clone(),
                hang: self.hang_in_close.take(),
            };
            let granted = Granted {
                device: "fake".to_owned(),
                layout: Layout::packed(PixelFormat::Grey, 2, 2),
                fps: None,
            };
            Ok((stream, granted))
        }
    }

    impl Stream for FakeStream {
        fn wait(&mut self, _: Duration) -> io::Result<Ready> {
            Ok(Ready::Data)
        }

        fn dequeue(&mut self) -> io::Result<Option<Filled>> {
            Err(io::Error::from_raw_os_error(libc::ENODEV))
        }

        fn bytes(&self, _: &Filled) -> &[u8] {
            &[]
        }

        fn requeue(&mut self, _: Filled) -> io::Result<()> {
            Ok(())
        }
    }

    impl Drop for FakeStream {
        fn drop(&mut self) {
            let _ = self.entered.send("close");
            if let Some(hang) = self.hang.take() {
                let _ = hang.recv();
            }
        }
    }

    struct Test {
        camera: Camera<DeviceThread<FakeStream>>,
        entered: Receiver<&'static str>,
        let_open: Sender<()>,
        let_close: Sender<()>,
    }

    /// A camera that was opened this many times before the test continues.
    fn camera(opened: usize) -> Test {
        let (entered, entered_there) = channel();
        let (let_open, hang_in_open) = channel();
        let (let_close, hang_in_close) = channel();
        for _ in 0..opened {
            let_open.send(()).unwrap();
        }
        let driver = Driver {
            entered,
            hang_in_open,
            hang_in_close: Some(hang_in_close),
        };
        let target = Target::Card("fake".to_owned());
        let backend = DeviceThread::start(driver, target.clone(), Ask::default()).unwrap();
        let camera = Camera::open(backend, target, &Options::default()).unwrap();
        Test {
            camera,
            entered: entered_there,
            let_open,
            let_close,
        }
    }

    impl Test {
        /// One call, as from the loop; returns the reason of the loss.
        fn lost(&mut self) -> String {
            let start = Instant::now();
            let Captured::Lost { reason } = self.camera.next(PATIENCE) else {
                panic!("it is not lost");
            };
            let reason = reason.to_owned();
            assert!(start.elapsed() < SOON, "after {:?}", start.elapsed());
            reason
        }
    }

    #[test]
    fn a_driver_that_hangs_in_close_holds_up_neither_the_loss_nor_the_loop() {
        let mut test = camera(1);
        assert_eq!(test.entered.recv(), Ok("open"));
        assert_eq!(test.lost(), "it has been unplugged");
        assert_eq!(test.entered.recv(), Ok("close"));
        // The thread hangs in the driver. The loop continues, past the time at
        // which the camera would be opened again.
        for _ in 0..8 {
            test.lost();
        }
        assert!(
            test.entered.try_recv().is_err(),
            "opened before it is closed"
        );
        test.let_close.send(()).unwrap();
        test.let_open.send(()).unwrap();
        // It is opened again, and lost again at once.
        while test.lost() != "it has been unplugged" || test.entered.try_recv() != Ok("open") {}
    }

    #[test]
    fn a_driver_that_hangs_in_open_holds_up_neither_the_start_nor_the_loop() {
        let start = Instant::now();
        let mut test = camera(0);
        assert!(start.elapsed() < SOON);
        assert_eq!(test.entered.recv(), Ok("open"));
        assert_eq!(test.lost(), "it is still being opened");
        test.let_open.send(()).unwrap();
        while test.lost() != "it has been unplugged" {}
    }

    #[test]
    fn a_driver_that_hangs_keeps_nobody_from_ending() {
        let mut test = camera(1);
        assert_eq!(test.lost(), "it has been unplugged");
        let start = Instant::now();
        drop(test.camera);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        // The sender still exists: the driver was hanging all the time.
        drop(test.let_close);
    }

    #[test]
    fn a_camera_that_is_dropped_is_closed() {
        let test = camera(1);
        test.let_close.send(()).unwrap();
        drop(test.camera);
        for wanted in ["open", "close"] {
            assert_eq!(test.entered.recv_timeout(SOON), Ok(wanted));
        }
    }
}
