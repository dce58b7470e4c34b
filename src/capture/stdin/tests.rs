use super::*;
use std::io::Write;

fn options(format: PixelFormat, pace: Pace) -> Options {
    Options {
        source: crate::capture::SourceSpec::Stdin,
        size: Some((4, 2)),
        format: Some(format),
        pace,
        fps: Some(10.0),
        stall_timeout: Duration::from_millis(60),
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
const LONG: Duration = Duration::from_secs(5);

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
    // The frame under way is completed later.
    assert!(matches!(source.next(SHORT), Captured::Waiting));
    pipe.write_all(&[9; 5]).unwrap();
    assert_eq!(value(&source.next(LONG)), (9, 5));
}

#[test]
fn a_writer_that_never_rests_does_not_hold_the_reader() {
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
    let (mut source, mut pipe) = piped(&options(PixelFormat::Grey, Pace::Recorded));
    let start = Instant::now();
    assert!(matches!(source.next(SHORT), Captured::Waiting));
    while !matches!(source.next(SHORT), Captured::Lost { reason } if reason.contains("standard input"))
    {
        assert!(start.elapsed() < LONG);
    }
    assert!(start.elapsed() >= Duration::from_millis(60));
    pipe.write_all(&frame(PixelFormat::Grey, 7)).unwrap();
    assert_eq!(value(&source.next(LONG)), (7, 0));
    assert!(matches!(source.next(SHORT), Captured::Waiting));
    pipe.write_all(&[1, 2]).unwrap();
    drop(pipe);
    assert!(matches!(source.next(LONG), Captured::Ended));
}

#[test]
fn jpegs_need_no_size_and_broken_ones_are_passed_over() {
    let jpeg = |value: u8| {
        let mut out = Vec::new();
        jpeg_encoder::Encoder::new(&mut out, 95)
            .encode(&[value; 8], 4, 2, jpeg_encoder::ColorType::Luma)
            .unwrap();
        out
    };
    let mut options = options(PixelFormat::Mjpg, Pace::Recorded);
    options.size = None;
    let (mut source, mut pipe) = piped(&options);
    let cut = jpeg(50);
    pipe.write_all(&jpeg(20)).unwrap();
    pipe.write_all(&cut[..cut.len() - 2]).unwrap();
    pipe.write_all(&jpeg(90)).unwrap();
    assert_eq!(value(&source.next(LONG)), (90, 2));
    // A broken newest one does not cost the good one before it.
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
    // The cut-off frame at the end keeps its place.
    assert_eq!(found, [(0, 0), (1, 1), (2, 2), (0, 4), (1, 5), (2, 6)]);
}

#[test]
fn format_and_size_have_to_be_told() {
    for (format, size) in [(None, Some((4, 2))), (Some(PixelFormat::Grey), None)] {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let options = Options {
            format,
            size,
            ..options(PixelFormat::Grey, Pace::Fast)
        };
        let error = open_fd(read, &options).err().unwrap().to_string();
        assert!(error.contains("--format i420 --size 640x480"), "{error}");
    }
}
