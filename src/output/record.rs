//! The recording of eyes (`[fatigue] record`): a row per face and frame, numbers
//! only. The format is that of [`trace`], which
//! `affectd fatigue` reads again.
//!
//! A thread writes, so that a slow card does not delay the loop. Rows that do
//! not fit into its queue are dropped, counted, and noted in the file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::decide::fatigue;
use crate::decide::fatigue::trace::{self, Row};
use crate::fault::FaultLog;
use crate::frame::Timestamp;
use crate::output::growing_file;
use crate::output::{Camera, Changes, Output, Report};

/// How many rows may wait for the thread: some seconds of a face at 60 frames
/// per second.
const QUEUE: usize = 512;
/// Rows are written to the disk after this time at the latest.
const FLUSH: Duration = Duration::from_secs(1);
/// How long the end waits for the thread: with a live source, and with a
/// recording, for which complete rows matter more than time.
const FINISH_LIVE: Duration = Duration::from_millis(150);
const FINISH_RECORDED: Duration = Duration::from_secs(2);
/// How long the loop waits for room in the queue, with a recording.
const PATIENCE_RECORDED: Duration = Duration::from_secs(1);
/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(5);

/// The recording's part of `[fatigue]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub file: PathBuf,
    /// The largest size of the file in bytes: a full file is renamed to
    /// `FILE.1`, which replaces the earlier `FILE.1`.
    pub max_bytes: u64,
    /// The settings for the comments at the top.
    pub fatigue: fatigue::Options,
}

impl Options {
    /// The default of `max_bytes`: about six hours.
    pub const MAX_BYTES: u64 = 100_000_000;
    /// The smallest `max_bytes`.
    pub const MAX_BYTES_LEAST: u64 = 65_536;

    /// The new name of the full file.
    #[must_use]
    pub fn old_file(&self) -> PathBuf {
        growing_file::old_file(&self.file)
    }

    fn failed(&self, source: io::Error) -> Error {
        Error {
            path: self.file.clone(),
            source,
        }
    }
}

/// The recording cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("fatigue.record {}: {source}", .path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Opens the recording and closes it again, to check whether the daemon can
/// open it. A file that did not exist is removed again.
///
/// # Errors
/// It cannot be opened.
pub fn probe(options: &Options) -> Result<(), Error> {
    let existed = options.file.symlink_metadata().is_ok();
    growing_file::open(&options.file).map_err(|source| options.failed(source))?;
    if !existed {
        let _ = fs::remove_file(&options.file);
    }
    Ok(())
}

type Line = (Timestamp, u64, Row);

/// Records the eyes of all followed faces.
#[derive(Debug)]
pub struct Recorder {
    rows: Option<SyncSender<Line>>,
    thread: Option<JoinHandle<()>>,
    is_live: bool,
    dropped: Arc<AtomicU64>,
    reopen: Arc<AtomicBool>,
}

impl Recorder {
    /// Opens the file; an existing file becomes the old one. `is_live`: whether
    /// frames come in real time, so that nothing may wait.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread started.
    pub fn new(options: Options, is_live: bool) -> Result<Self, Error> {
        let failed = |source| options.failed(source);
        let file = growing_file::open(&options.file).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        // An old recording has other times and perhaps other settings, so rows
        // are not appended to it.
        let file = if metadata.is_file() && metadata.len() > 0 {
            growing_file::replace(&options.file).map_err(failed)?
        } else {
            file
        };
        let (rows, waiting) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let reopen = Arc::new(AtomicBool::new(false));
        let path = options.file.clone();
        let writer = RecordFile {
            out: BufWriter::new(file),
            bytes: 0,
            is_begun: false,
            fault: FaultLog::new(format!("fatigue.record {}", options.file.display())),
            retry_at: None,
            line: Vec::with_capacity(512),
            options,
        };
        let (lost, again) = (Arc::clone(&dropped), Arc::clone(&reopen));
        let thread = std::thread::Builder::new()
            .name("record".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || writer.run(&waiting, &lost, &again))
            .map_err(|source| Error { path, source })?;
        Ok(Self {
            rows: Some(rows),
            thread: Some(thread),
            is_live,
            dropped,
            reopen,
        })
    }

    fn send(&self, line: Line) {
        let Some(rows) = &self.rows else {
            return;
        };
        let mut sent = rows.try_send(line);
        if !self.is_live {
            let deadline = Instant::now() + PATIENCE_RECORDED;
            while matches!(sent, Err(TrySendError::Full(_))) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
                sent = rows.try_send(line);
            }
        }
        if sent.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Output for Recorder {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        let Some(fatigue) = report.fatigue.filter(|fatigue| fatigue.is_new) else {
            return Changes::NONE;
        };
        let (time, frame) = (report.timestamp, report.frame);
        if fatigue.took_acknowledgement {
            self.send((time, frame, Row::Acknowledged));
        }
        if matches!(report.camera, Camera::Lost { .. }) {
            self.send((time, frame, Row::CameraLost));
        } else if fatigue.samples.is_empty() {
            self.send((time, frame, Row::NoFace));
        } else {
            for sample in fatigue.samples {
                self.send((time, frame, Row::Face(*sample)));
            }
        }
        Changes::NONE
    }

    fn reopen_files(&mut self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    fn finish(&mut self) {
        self.rows = None;
        if let Some(thread) = self.thread.take() {
            let patience = if self.is_live {
                FINISH_LIVE
            } else {
                FINISH_RECORDED
            };
            let deadline = Instant::now() + patience;
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The file, with the thread's end of the queue.
#[derive(Debug)]
struct RecordFile {
    options: Options,
    out: BufWriter<File>,
    bytes: u64,
    /// Whether the file has its first lines.
    is_begun: bool,
    fault: FaultLog,
    retry_at: Option<Instant>,
    line: Vec<u8>,
}

impl RecordFile {
    fn run(mut self, rows: &Receiver<Line>, dropped: &AtomicU64, reopen: &AtomicBool) {
        let mut flush_at = Instant::now() + FLUSH;
        loop {
            let wait = flush_at.saturating_duration_since(Instant::now());
            let row = rows.recv_timeout(wait);
            if reopen.swap(false, Ordering::Relaxed) {
                let again = growing_file::open(&self.options.file);
                self.take(again);
            }
            let is_end = match row {
                Ok(row) => {
                    self.write(&row, dropped);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if is_end || Instant::now() >= flush_at {
                flush_at = Instant::now() + FLUSH;
                let flushed = self.out.flush();
                self.note(flushed);
            }
            if is_end {
                return;
            }
        }
    }

    fn note(&mut self, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                self.fault.cleared();
                true
            }
            Err(error) => {
                self.fault.occurred(&error);
                self.retry_at = Some(Instant::now() + RETRY);
                false
            }
        }
    }

    /// Continues in another file.
    fn take(&mut self, file: io::Result<File>) {
        match file {
            Ok(file) => {
                let before = std::mem::replace(&mut self.out, BufWriter::new(file));
                // Rows that a full disk refused are dropped; otherwise they
                // would be written again and again.
                let (_, _unwritten) = before.into_parts();
                self.bytes = 0;
                self.is_begun = false;
            }
            Err(error) => {
                self.note(Err(error));
            }
        }
    }

    fn write(&mut self, (time, frame, row): &Line, dropped: &AtomicU64) {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.retry_at = None;
        if self.bytes >= self.options.max_bytes - 512 {
            let flushed = self.out.flush();
            if !self.note(flushed) {
                return;
            }
            let file = growing_file::replace(&self.options.file);
            self.take(file);
            if self.retry_at.is_some() {
                return;
            }
        }
        self.line.clear();
        // Writing into memory cannot fail.
        if !self.is_begun {
            let _ = trace::write_header(&mut self.line, &self.options.fatigue);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(self.line, "# {lost} rows are missing here");
        }
        let _ = trace::write_row(&mut self.line, *time, *frame, row);
        let written = self.out.write_all(&self.line);
        if self.note(written) {
            self.is_begun = true;
            self.bytes += self.line.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::decide::fatigue::trace::Trace;
    use crate::decide::fatigue::{EyeSample, FaceSample, Fatigue};
    use crate::output::FatigueReport;

    fn options(folder: &Path, max_bytes: u64) -> Options {
        Options {
            file: folder.join("drive.csv"),
            max_bytes,
            fatigue: fatigue::Options::default(),
        }
    }

    /// Passes frames to the rules and to a recorder; returns the events.
    fn record(options: &Options, frames: u64) -> Vec<fatigue::Event> {
        let mut recorder = Recorder::new(options.clone(), false).unwrap();
        let mut fatigue = Fatigue::new(options.fatigue);
        let mut events = Vec::new();
        for frame in 0..frames {
            let openness = ((frame * 7919) % 1000) as f32 / 3000.0 + 0.7;
            let openness = if frame % 400 > 340 { 0.02 } else { openness };
            let samples = [FaceSample {
                track: 3,
                eyes: EyeSample {
                    left: Some(openness),
                    right: Some(openness * 0.99),
                    jaw: Some(openness / 7.0),
                    rect: Some([0.1, 1.0 / 3.0, 0.2, 0.25]),
                    ..EyeSample::default()
                },
            }];
            let samples = if frame % 50 == 49 {
                &samples[..0]
            } else {
                &samples
            };
            let now = Timestamp(Duration::from_nanos(33_333_333 * frame));
            // Within an alarm, which begins 1.5 s after frame 340, and elsewhere.
            if frame % 400 == 391 || frame == 700 {
                fatigue.acknowledge();
            }
            let camera = if frame % 211 == 210 {
                fatigue.lose_camera(now);
                Camera::Lost { reason: "gone" }
            } else {
                fatigue.look(now, samples);
                Camera::Streaming
            };
            events.extend(fatigue.events());
            recorder.update(&Report {
                timestamp: now,
                frame,
                is_new: true,
                camera,
                fatigue: Some(FatigueReport {
                    decision: fatigue.decision(),
                    events: fatigue.events(),
                    samples,
                    is_acknowledged: false,
                    took_acknowledgement: fatigue.took_acknowledgement(),
                    is_new: true,
                }),
                ..Report::default()
            });
        }
        recorder.finish();
        events
    }

    #[test]
    fn a_recording_leads_to_the_same_events() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), Options::MAX_BYTES);
        let events = record(&options, 2000);
        let trace = Trace::read(&fs::read(&options.file).unwrap()).unwrap();
        assert_eq!(trace.options, options.fatigue);
        assert_eq!(trace.frames.len(), 2000);
        let mut replayed = Vec::new();
        trace.replay(trace.options, |_, fatigue| {
            replayed.extend(fatigue.events());
        });
        assert!(events.len() > 60);
        let is_acknowledgement = |event: &fatigue::Event| matches!(event.what, fatigue::What::Alarm(alarm) if alarm.is_acknowledged);
        assert!(events.iter().any(is_acknowledgement));
        let acknowledged = trace.frames.iter().filter(|frame| frame.is_acknowledged);
        assert_eq!(acknowledged.count(), 6);
        assert_eq!(events, replayed);
    }

    #[test]
    fn a_full_file_and_an_earlier_file_become_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), Options::MAX_BYTES_LEAST);
        record(&options, 1200);
        for file in [&options.file, &options.old_file()] {
            let bytes = fs::read(file).unwrap();
            assert!(bytes.len() as u64 <= options.max_bytes, "{}", bytes.len());
            Trace::read(&bytes).unwrap();
        }
        let last = fs::read(&options.file).unwrap();
        record(&options, 1);
        assert_eq!(fs::read(options.old_file()).unwrap(), last);
    }

    #[test]
    fn a_full_disk_holds_nothing_up() {
        let options = Options {
            file: "/dev/full".into(),
            ..options(Path::new(""), Options::MAX_BYTES)
        };
        let start = Instant::now();
        record(&options, 2000);
        assert!(start.elapsed() < Duration::from_secs(10));
        let missing = Options {
            file: "/no/such/folder/x.csv".into(),
            ..options
        };
        assert!(
            probe(&missing)
                .unwrap_err()
                .to_string()
                .contains("/no/such/folder/x.csv")
        );
    }
}
