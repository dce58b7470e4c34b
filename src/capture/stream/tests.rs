use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::framer::{Expected, Framer, Taken};
use super::stdin::open_fd;
use crate::capture::convert::Layout;
use crate::capture::{Captured, Counts, Options, Pace, PixelFormat, Source, SourceSpec};
use crate::frame::Timestamp;
use crate::image::LumaImage;

fn options(format: PixelFormat, pace: Pace) -> Options {
    Options {
        source: SourceSpec::Stdin,
        size: Some((4, 2)),
        format: Some(format),
        pace,
        fps: Some(10.0),
        stall_timeout: LONG,
        ..Options::default()
    }
}

/// A source on a pipe, and the end to write into.
fn piped(options: &Options) -> (Box<dyn Source>, File) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    (open_fd(read, options).unwrap(), File::from(write))
}

/// A frame of 4x2 whose pixels all have this value, with chroma of another.
fn frame(format: PixelFormat, value: u8) -> Vec<u8> {
    let layout = Layout::packed(format, 4, 2);
    let mut bytes = vec![0xee; layout.frame()];
    match format {
        PixelFormat::Yuyv => bytes.iter_mut().step_by(2).for_each(|b| *b = value),
        _ => bytes[..8].fill(value),
    }
    bytes
}

const SHORT: Duration = Duration::from_millis(20);

/// Longer than any test needs, even on a busy machine.
const LONG: Duration = Duration::from_secs(30);

fn value(found: &Captured<'_>) -> (u8, u64) {
    match found {
        Captured::Frame(f) => {
            assert_eq!((f.luma.width(), f.luma.height()), (4, 2));
            assert!(
                f.luma
                    .rows()
                    .all(|row| row.iter().all(|&p| p == f.luma.row(0)[0]))
            );
            (f.luma.row(0)[0], f.sequence)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_fast_as_possible_every_frame_counts() {
    for format in [
        PixelFormat::I420,
        PixelFormat::Nv12,
        PixelFormat::Grey,
        PixelFormat::Yuyv,
    ] {
        let (mut source, mut pipe) = piped(&options(format, Pace::Fast));
        for i in 0..5 {
            pipe.write_all(&frame(format, i)).unwrap();
        }
        drop(pipe);
        for i in 0..5 {
            let found = source.next(LONG);
            assert_eq!(value(&found), (i, u64::from(i)));
            let Captured::Frame(f) = found else { panic!() };
            assert_eq!(f.timestamp, Timestamp::from_millis(u64::from(i) * 100));
        }
        assert!(matches!(source.next(LONG), Captured::Ended));
        assert!(matches!(source.next(LONG), Captured::Ended));
    }
}

#[test]
fn live_only_the_newest_whole_frame_counts() {
    let (mut source, mut pipe) = piped(&options(PixelFormat::Grey, Pace::Recorded));
    for i in 0..5 {
        pipe.write_all(&frame(PixelFormat::Grey, i)).unwrap();
    }
    pipe.write_all(&[9, 9, 9]).unwrap();
    let before = Timestamp::now();
    let found = source.next(LONG);
    assert_eq!(value(&found), (4, 4));
    let Captured::Frame(f) = found else { panic!() };
    assert!(f.timestamp >= before);
    // The incomplete frame is completed later.
    assert!(matches!(source.next(SHORT), Captured::Waiting));
    pipe.write_all(&[9; 5]).unwrap();
    assert_eq!(value(&source.next(LONG)), (9, 5));
}

#[test]
fn a_writer_that_never_pauses_does_not_block_the_reader() {
    let (mut source, mut pipe) = piped(&options(PixelFormat::Grey, Pace::Recorded));
    let writer = std::thread::spawn(move || while pipe.write_all(&[1; 8192]).is_ok() {});
    let start = Instant::now();
    for _ in 0..50 {
        value(&source.next(LONG));
    }
    assert!(start.elapsed() < LONG);
    drop(source);
    writer.join().unwrap();
}

#[test]
fn a_stalled_pipe_is_lost_and_comes_back() {
    let (mut source, mut pipe) = piped(&fast_stall(PixelFormat::Grey));
    let start = Instant::now();
    let reason = until_lost(&mut *source);
    assert_eq!(reason, "no whole frame for 0.1 s");
    assert!(start.elapsed() >= STALL);
    pipe.write_all(&frame(PixelFormat::Grey, 7)).unwrap();
    let start = Instant::now();
    assert_eq!(value(&source.next(LONG)), (7, 0));
    until_lost(&mut *source);
    assert!(start.elapsed() >= STALL);
    pipe.write_all(&[1, 2]).unwrap();
    drop(pipe);
    assert!(matches!(source.next(LONG), Captured::Ended));
}

const STALL: Duration = Duration::from_millis(60);

/// At 1000 frames per second, three intervals are very short compared with the
/// timeout.
fn fast_stall(format: PixelFormat) -> Options {
    Options {
        fps: Some(1000.0),
        stall_timeout: STALL,
        ..options(format, Pace::Recorded)
    }
}

/// Waits for the loss and returns its reason.
fn until_lost(source: &mut dyn Source) -> String {
    let start = Instant::now();
    loop {
        match source.next(SHORT) {
            Captured::Lost { reason } => return reason.to_owned(),
            Captured::Waiting => assert!(start.elapsed() < LONG),
            other => panic!("{other:?}"),
        }
    }
}

/// Waits for a loss with this part in its reason.
fn until_lost_because(source: &mut dyn Source, part: &str) {
    let start = Instant::now();
    loop {
        let reason = until_lost(source);
        if reason.contains(part) {
            return;
        }
        // On a busy machine the timeout may have come first.
        assert!(reason.starts_with("no whole frame"), "{reason}");
        assert!(start.elapsed() < LONG);
    }
}

#[test]
fn a_byte_now_and_then_is_no_picture() {
    let (mut source, mut pipe) = piped(&fast_stall(PixelFormat::Grey));
    pipe.write_all(&frame(PixelFormat::Grey, 7)).unwrap();
    value(&source.next(LONG));
    let start = Instant::now();
    let reason = loop {
        pipe.write_all(&[1]).unwrap();
        match source.next(Duration::from_millis(15)) {
            Captured::Lost { reason } => break reason.to_owned(),
            Captured::Waiting => assert!(start.elapsed() < LONG),
            // A frame has 8 bytes: the writer is slower than the timeout.
            other => panic!("{other:?}"),
        }
    };
    assert!(
        reason.contains("of the 8 bytes of a frame came"),
        "{reason}"
    );
}

#[test]
fn a_slow_stream_is_given_three_of_its_intervals() {
    let mut options = options(PixelFormat::Grey, Pace::Recorded);
    options.stall_timeout = STALL;
    options.fps = Some(5.0);
    let (mut source, mut pipe) = piped(&options);
    pipe.write_all(&frame(PixelFormat::Grey, 7)).unwrap();
    let start = Instant::now();
    value(&source.next(LONG));
    assert_eq!(until_lost(&mut *source), "no whole frame for 0.6 s");
    assert!(start.elapsed() >= Duration::from_millis(600));
}

fn jpeg(value: u8) -> Vec<u8> {
    let pixels: Vec<u8> = (0..64 * 48).map(|i| value ^ (i % 7) as u8).collect();
    let mut out = Vec::new();
    jpeg_encoder::Encoder::new(&mut out, 90)
        .encode(&pixels, 64, 48, jpeg_encoder::ColorType::Luma)
        .unwrap();
    out
}

/// Checks that a stream of this piece of a picture is a lost camera with this
/// part in its reason, and that memory does not grow.
fn a_stream_of(piece: &[u8], part: &str, broken: u64) {
    let (mut source, mut pipe) = piped(&Options {
        // Broken frames come in this time, even on a busy machine.
        stall_timeout: Duration::from_millis(400),
        ..fast_stall(PixelFormat::Mjpg)
    });
    let good = jpeg(40);
    pipe.write_all(&good).unwrap();
    pipe.write_all(&good).unwrap();
    assert!(matches!(source.next(LONG), Captured::Frame(_)));
    let piece = piece.to_owned();
    if piece.len() <= 4096 {
        // These pieces do not wait for the thread below.
        pipe.write_all(&piece.repeat(4)).unwrap();
    }
    let writer = std::thread::spawn(move || {
        // Until the reader is dropped.
        while pipe.write_all(&piece).is_ok() {}
    });
    let reason = until_lost(&mut *source);
    assert!(reason.contains(part), "{reason}");
    let start = Instant::now();
    let mut in_time = 0;
    while in_time < 20 || source.counts().broken < broken {
        let asked = Instant::now();
        assert!(matches!(source.next(SHORT), Captured::Lost { .. }));
        // A busy machine may delay some calls.
        in_time += u32::from(asked.elapsed() < Duration::from_secs(1));
        assert!(start.elapsed() < LONG, "{in_time}, {:?}", source.counts());
    }
    drop(source);
    writer.join().unwrap();
}

#[test]
fn half_pictures_are_a_loss() {
    let good = jpeg(40);
    a_stream_of(&good[..good.len() / 2], "broken ones came, the last: ", 3);
}

#[test]
fn pictures_without_an_end_marker_are_used() {
    let (mut source, mut pipe) = piped(&fast_stall(PixelFormat::Mjpg));
    let good = jpeg(40);
    for _ in 0..5 {
        pipe.write_all(&good[..good.len() - 2]).unwrap();
    }
    // The last one ends where the next would start.
    let Captured::Frame(found) = source.next(LONG) else {
        panic!()
    };
    assert_eq!(found.sequence, 3);
    // Or the last one ends with the stream.
    drop(pipe);
    let Captured::Frame(found) = source.next(LONG) else {
        panic!()
    };
    assert_eq!(found.sequence, 4);
    assert!(matches!(source.next(LONG), Captured::Ended));
    assert_eq!(source.counts(), Counts::default());
}

#[test]
fn a_last_picture_that_breaks_off_does_not_cost_the_one_before_it() {
    let (mut source, mut pipe) = piped(&options(PixelFormat::Mjpg, Pace::Recorded));
    let good = jpeg(40);
    pipe.write_all(&good).unwrap();
    pipe.write_all(&good[..good.len() / 2]).unwrap();
    drop(pipe);
    let Captured::Frame(found) = source.next(LONG) else {
        panic!()
    };
    assert_eq!(found.luma.width(), 64);
    assert_eq!(source.counts().broken, 1);
    assert!(matches!(source.next(LONG), Captured::Ended));
}

#[test]
fn zeros_are_a_loss() {
    a_stream_of(&[0; 30_000], "no whole frame", 0);
}

#[test]
fn half_a_picture_and_zeros_are_a_loss() {
    let good = jpeg(40);
    let piece = [&good[..good.len() / 2], &[0; 8 << 20]].concat();
    a_stream_of(&piece, "no whole frame", 1);
}

#[test]
fn headers_without_an_end_are_a_loss() {
    a_stream_of(b"\xff\xd8\xff\xe0\x00\x10JFIF", "no whole frame", 1);
    a_stream_of(b"\xff\xd8\xff\xff", "no whole frame", 1);
}

/// The size of a stream's buffer in bytes.
fn buffered(framer: &mut Framer) -> usize {
    let Framer::Jpegs { splitter, .. } = framer else {
        panic!()
    };
    splitter.capacity()
}

#[test]
fn memory_stays_near_what_good_pictures_need() {
    let good = jpeg(40);
    for piece in [
        good[..good.len() / 2].to_vec(),
        [&good[..good.len() / 2], &[0; 100_000]].concat(),
        b"\xff\xd8\xff\xff".to_vec(),
        [&b"\xff\xd8\xff\xe0\xff\xff"[..], &[7; 0xfffd]].concat(),
    ] {
        let mut framer = Framer::new(Expected::Jpegs);
        let mut image = LumaImage::default();
        let mut fed = 0;
        while fed < 64 << 20 {
            for part in piece.chunks(1 << 15) {
                framer.room()[..part.len()].copy_from_slice(part);
                framer.filled(part.len());
                fed += part.len();
                while framer.take(&mut image) != Taken::More {}
            }
            if piece.len() < 16 {
                // Small pieces would take too long.
                fed += 1 << 10;
            }
        }
        let bytes = buffered(&mut framer);
        assert!(bytes <= 4 << 20, "{bytes} bytes for {:?}", &piece[..6]);
    }
}

#[test]
fn jpegs_need_no_size_and_broken_ones_are_skipped() {
    let jpeg = |value: u8| {
        let mut out = Vec::new();
        jpeg_encoder::Encoder::new(&mut out, 95)
            .encode(&[value; 8], 4, 2, jpeg_encoder::ColorType::Luma)
            .unwrap();
        out
    };
    let half = super::tests::jpeg(50);
    let mut options = options(PixelFormat::Mjpg, Pace::Recorded);
    options.size = None;
    let (mut source, mut pipe) = piped(&options);
    pipe.write_all(&jpeg(20)).unwrap();
    pipe.write_all(&half[..half.len() / 2]).unwrap();
    pipe.write_all(&jpeg(90)).unwrap();
    assert_eq!(value(&source.next(LONG)), (90, 2));
    // If the newest one is broken, the good one before it is used.
    pipe.write_all(&jpeg(30)).unwrap();
    pipe.write_all(b"\xff\xd8\xff\xd9").unwrap();
    let Captured::Frame(found) = source.next(LONG) else {
        panic!()
    };
    assert_eq!(found.luma.row(0)[0], 30);
}

#[test]
fn a_redirected_file_is_a_recording() {
    let mut file = tempfile::tempfile().unwrap();
    for i in 0..3 {
        file.write_all(&frame(PixelFormat::I420, i)).unwrap();
    }
    file.write_all(&[1, 2, 3]).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut options = options(PixelFormat::I420, Pace::Fast);
    options.repeat = true;
    let mut source = open_fd(OwnedFd::from(file), &options).unwrap();
    let found: Vec<_> = (0..6).map(|_| value(&source.next(SHORT))).collect();
    // The cut-off frame at the end keeps its time.
    assert_eq!(found, [(0, 0), (1, 1), (2, 2), (0, 4), (1, 5), (2, 6)]);
}

#[test]
fn raw_frames_need_a_size() {
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let options = Options {
        size: None,
        ..options(PixelFormat::Grey, Pace::Fast)
    };
    let error = open_fd(read, &options).err().unwrap().to_string();
    assert!(error.contains("--format grey --size 640x480"), "{error}");
}

/// Options without a format.
fn anything() -> Options {
    Options {
        size: None,
        format: None,
        fps: None,
        ..options(PixelFormat::Grey, Pace::Recorded)
    }
}

#[test]
fn streams_that_say_themselves_what_they_are_need_no_format() {
    let mut y4m = b"YUV4MPEG2 W4 H2 F25:1 C420jpeg\n".to_vec();
    for value in [7, 8] {
        y4m.extend_from_slice(b"FRAME\n");
        y4m.extend_from_slice(&[value; 8]);
        y4m.extend_from_slice(&[0xee; 4]);
    }
    let mut part = Vec::new();
    jpeg_encoder::Encoder::new(&mut part, 95)
        .encode(&[8; 8], 4, 2, jpeg_encoder::ColorType::Luma)
        .unwrap();
    let multipart = [b"--boundary\r\nContent-Type: image/jpeg\r\n\r\n", &part[..]].concat();
    for bytes in [y4m, part, multipart] {
        for options in [anything(), options(PixelFormat::Mjpg, Pace::Recorded)] {
            if bytes.starts_with(b"YUV") && options.format.is_some() {
                continue;
            }
            let (mut source, mut pipe) = piped(&options);
            // In pieces, as pipes deliver them.
            let (first, rest) = bytes.split_at(3);
            pipe.write_all(first).unwrap();
            assert!(matches!(source.next(SHORT), Captured::Waiting));
            pipe.write_all(rest).unwrap();
            assert_eq!(value(&source.next(LONG)).0, 8);
        }
    }
}

#[test]
fn a_y4m_is_recognised_though_raw_frames_are_expected() {
    let (mut source, mut pipe) = piped(&options(PixelFormat::Nv12, Pace::Fast));
    pipe.write_all(b"YUV4MPEG2 W4 H2 Cmono\nFRAME\n\x05\x05\x05\x05\x05\x05\x05\x05")
        .unwrap();
    assert_eq!(value(&source.next(LONG)), (5, 0));
    assert_eq!(source.description(), "standard input: Y4M mono 4x2");
}

#[test]
fn bytes_between_the_frames_of_a_y4m_are_one_broken_frame() {
    let (mut source, mut pipe) = piped(&Options {
        pace: Pace::Fast,
        ..anything()
    });
    pipe.write_all(b"YUV4MPEG2 W4 H2 Cmono\nFRAME Ip\n55555555")
        .unwrap();
    pipe.write_all(b"gar\nbage\nFRAMFRAME\n66666666FRAME\n77777777")
        .unwrap();
    assert_eq!(value(&source.next(LONG)), (b'5', 0));
    assert_eq!(value(&source.next(LONG)), (b'6', 2));
    assert_eq!(value(&source.next(LONG)), (b'7', 3));
    assert_eq!(source.counts().broken, 1);
}

#[test]
fn the_error_for_an_unknown_stream_says_what_to_do() {
    for (bytes, part) in [
        (&b"0123456789abcdef"[..], "--format i420 --size 640x480"),
        (b"YUV4MPEG2 W4 H2 C420p10\nFRAME\n", "C420p10"),
        (b"YUV4MPEG2 W4\nFRAME\n", "no height"),
    ] {
        let (mut source, mut pipe) = piped(&anything());
        pipe.write_all(bytes).unwrap();
        let reason = until_lost(&mut *source);
        assert!(reason.contains(part), "{reason}");
        // The writer does not have to wait, although its 3 MiB do not fit into
        // a pipe.
        let writer = std::thread::spawn(move || {
            pipe.write_all(&vec![0; 3 << 20]).unwrap();
            pipe
        });
        let start = Instant::now();
        while !writer.is_finished() {
            assert!(matches!(source.next(SHORT), Captured::Lost { .. }));
            assert!(start.elapsed() < LONG);
        }
        drop(writer.join().unwrap());
    }
}

#[test]
fn padded_rows_are_read_with_a_stride() {
    let mut options = options(PixelFormat::Rgb24, Pace::Fast);
    options.stride = Some(16);
    let (mut source, mut pipe) = piped(&options);
    for value in [10, 20] {
        let row = [&[value; 12][..], &[0xee; 4]].concat();
        pipe.write_all(&[&row[..], &row].concat()).unwrap();
    }
    assert_eq!(value(&source.next(LONG)), (10, 0));
    assert_eq!(value(&source.next(LONG)), (20, 1));
    options.stride = Some(11);
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let error = open_fd(read, &options).err().unwrap().to_string();
    assert!(
        error.contains("11") && error.contains("12 bytes"),
        "{error}"
    );
}

#[test]
fn a_fifo_waits_for_its_writers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("frames");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let options = Options {
        source: SourceSpec::Replay(path.clone()),
        ..fast_stall(PixelFormat::Grey)
    };
    let mut source = crate::capture::open(&options).unwrap();
    assert!(source.is_live());
    assert!(source.description().starts_with("FIFO "));
    until_lost(&mut *source);
    for round in 0..3 {
        let mut writer = File::options().write(true).open(&path).unwrap();
        writer.write_all(&frame(PixelFormat::Grey, round)).unwrap();
        // A part of a frame that the next writer does not continue.
        writer.write_all(&[99; 3]).unwrap();
        assert_eq!(value(&source.next(LONG)).0, round);
        drop(writer);
        until_lost_because(&mut *source, "has closed it");
        // Waiting for the next one uses no processor time.
        for _ in 0..3 {
            let asked = Instant::now();
            assert!(matches!(source.next(SHORT), Captured::Lost { .. }));
            assert!(asked.elapsed() >= SHORT);
        }
    }
}

/// A source whose frames this shell script writes. The first frame may take any
/// time, the others [`STALL`].
fn script(text: &str) -> Box<dyn Source> {
    script_with(text, STALL, LONG)
}

fn script_with(text: &str, stall_timeout: Duration, start_timeout: Duration) -> Box<dyn Source> {
    let options = Options {
        source: SourceSpec::Command(["sh", "-c", text].map(str::to_owned).to_vec()),
        stall_timeout,
        start_timeout,
        ..fast_stall(PixelFormat::Grey)
    };
    crate::capture::open(&options).unwrap()
}

/// The next frame's value, however long it takes.
fn next_value(source: &mut dyn Source) -> u8 {
    let start = Instant::now();
    loop {
        match source.next(SHORT) {
            Captured::Frame(frame) => return frame.luma.row(0)[0],
            Captured::Waiting | Captured::Lost { .. } => assert!(start.elapsed() < LONG),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether a process runs. A zombie does not run.
fn is_running(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// Waits until a file has lines with process numbers, and all of these
/// processes have ended.
fn until_ended(pids: &Path) -> usize {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(pids).unwrap_or_default();
        if text.ends_with('\n') && !text.lines().any(is_running) {
            return text.lines().count();
        }
        assert!(start.elapsed() < LONG, "one of these is left: {text}");
        std::thread::sleep(SHORT);
    }
}

#[test]
fn a_program_that_ends_is_lost_with_its_last_words_and_started_again() {
    let text = "printf 11111111; echo no such sensor >&2; exit 3";
    let mut source = script_with(text, LONG, LONG);
    assert_eq!(next_value(&mut *source), b'1');
    let start = Instant::now();
    let mut reason = until_lost(&mut *source);
    if reason == "it has closed its standard output" {
        // On a busy machine it did not end in time.
        assert_eq!(next_value(&mut *source), b'1');
        reason = until_lost(&mut *source);
    }
    assert!(
        reason.contains("exit status: 3") && reason.contains("no such sensor"),
        "{reason}"
    );
    assert_eq!(next_value(&mut *source), b'1');
    // It is not started again at once.
    assert!(start.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_program_that_has_ended_before_its_picture_is_taken_is_lost_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let text = format!("printf 11111111; echo $$ >{}; exit 3", pid.display());
    let mut source = script(&text);
    // Starts the program.
    assert!(matches!(source.next(Duration::ZERO), Captured::Waiting));
    until_ended(&pid);
    assert_eq!(next_value(&mut *source), b'1');
    assert!(until_lost(&mut *source).contains("exit status: 3"));
}

#[test]
fn a_program_that_stalls_is_ended_with_all_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let mut source = script(&format!(
        "sleep 100 & echo $! >>{}; printf 11111111; wait",
        pids.display()
    ));
    assert_eq!(next_value(&mut *source), b'1');
    until_lost(&mut *source);
    assert_eq!(next_value(&mut *source), b'1', "it is started again");
    drop(source);
    // On a busy machine they may need some time to end.
    assert_eq!(until_ended(&pids), 2);
}

#[test]
fn the_first_picture_may_take_the_start_time_out() {
    let mut source = script("sleep 0.2; printf 11111111; sleep 100");
    let start = Instant::now();
    loop {
        match source.next(SHORT) {
            Captured::Waiting => assert!(start.elapsed() < LONG),
            Captured::Frame(_) => break,
            other => panic!("{other:?} after {:?}", start.elapsed()),
        }
    }
    assert!(start.elapsed() > STALL);
    // The second frame must come within the usual timeout.
    assert_eq!(until_lost(&mut *source), "no whole frame for 0.1 s");

    let mut source = script_with("sleep 100", STALL, Duration::from_millis(400));
    let start = Instant::now();
    assert_eq!(until_lost(&mut *source), "no whole frame for 0.4 s");
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[test]
fn a_program_that_ignores_being_asked_to_end_is_killed() {
    let mut source = script("trap '' TERM; printf 11111111; while :; do sleep 1; done");
    assert_eq!(next_value(&mut *source), b'1');
    until_lost(&mut *source);
    assert_eq!(next_value(&mut *source), b'1');
    let start = Instant::now();
    drop(source);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_program_that_says_too_much_holds_nothing_up() {
    let mut source = script(
        "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; printf 11111111; sleep 9",
    );
    assert_eq!(next_value(&mut *source), b'1');
}

#[test]
fn a_missing_program_is_named() {
    let open = |program: &str| {
        let options = Options {
            source: SourceSpec::Command(vec![program.to_owned()]),
            ..anything()
        };
        crate::capture::open(&options).err().unwrap().to_string()
    };
    let error = open("rpicam-vidd");
    assert!(
        error.contains("capture.command") && error.contains("'rpicam-vidd' is missing"),
        "{error}"
    );
    assert!(open("/etc/passwd").contains("not an executable file"));
    assert!(open("/nowhere/x").contains("'/nowhere/x'"));
    assert!(open("gst-launch-1.0x").contains("PATH is"));
}
