//! Sources as the pipeline uses them: opened by their name with
//! [`affectd::capture::open`], from real files.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use affectd::capture::{
    CaptureError, Captured, Options, Pace, PixelFormat, Source, SourceSpec, cameras, open,
};
use affectd::frame::LumaView;
use affectd::image::turn::{Rotation, Turn};
use affectd::image::{self, RgbImage};
use tempfile::tempdir;

const NOW: Duration = Duration::ZERO;

fn options(source: &Path) -> Options {
    Options {
        source: source.to_str().unwrap().parse().unwrap(),
        pace: Pace::Fast,
        ..Options::default()
    }
}

fn error(source: &Path) -> String {
    match open(&options(source)) {
        Ok(source) => panic!("opened as {}", source.description()),
        Err(error) => error.to_string(),
    }
}

/// A gray JPEG of 16x8 whose pixels all have (nearly) this value.
fn jpeg(value: u8) -> Vec<u8> {
    let mut out = Vec::new();
    jpeg_encoder::Encoder::new(&mut out, 95)
        .encode(&[value; 128], 16, 8, jpeg_encoder::ColorType::Luma)
        .unwrap();
    out
}

fn write_png(path: &Path, value: u8) {
    let pixels = [value; 12];
    image::write_png_luma(path, LumaView::new(&pixels, 4, 3, 4).unwrap()).unwrap();
}

/// First pixel, milliseconds and sequence number of every frame until the end.
/// The source asks to wait `waits` times: once for each broken picture after
/// the first frame, so that many of them do not delay the loop. Broken pictures
/// before the first frame are skipped while the source is opened.
fn play(source: &mut dyn Source, waits: usize) -> Vec<(u8, u64, u64)> {
    let mut frames = Vec::new();
    let mut waited = 0;
    loop {
        match source.next(NOW) {
            Captured::Frame(f) => frames.push((
                f.luma.row(0)[0],
                f.timestamp.0.as_millis() as u64,
                f.sequence,
            )),
            Captured::Ended => {
                assert_eq!(waited, waits);
                return frames;
            }
            Captured::Waiting => waited += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_directory_is_played_in_natural_order_without_its_broken_pictures() {
    let directory = tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write_png(&at("face10.png"), 40);
    write_png(&at("face2.PNG"), 20);
    // A JPEG with a PNG's name: the contents decide.
    fs::write(at("face3.png"), jpeg(30)).unwrap();
    fs::write(at("face1.jpg"), b"").unwrap();
    fs::write(at("face4.jpg"), &jpeg(1)[..60]).unwrap();
    fs::write(at("notes.txt"), b"not a picture, and not one that says so").unwrap();
    fs::create_dir(at("more.png")).unwrap();

    let mut source = open(&options(directory.path())).unwrap();
    assert!(
        source.description().contains("5 pictures"),
        "{}",
        source.description()
    );
    // The times of face1 and face4 have no frame.
    assert_eq!(
        play(&mut *source, 1),
        [(20, 100, 1), (30, 200, 2), (40, 400, 4)]
    );
}

#[test]
fn the_rate_of_pictures_can_be_set() {
    let directory = tempdir().unwrap();
    for i in 0..3 {
        write_png(&directory.path().join(format!("{i}.png")), i);
    }
    let mut options = options(directory.path());
    options.fps = Some(2.0);
    let mut source = open(&options).unwrap();
    assert_eq!(
        play(&mut *source, 0),
        [(0, 0, 0), (1, 500, 1), (2, 1000, 2)]
    );
}

#[test]
fn a_still_picture_gives_one_frame_or_repeats_it() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("face.png");
    write_png(&path, 9);
    let mut source = open(&options(&path)).unwrap();
    assert_eq!(play(&mut *source, 0), [(9, 0, 0)]);
    let mut repeated = options(&path);
    repeated.repeat = true;
    let mut source = open(&repeated).unwrap();
    for i in 0..100 {
        let Captured::Frame(frame) = source.next(NOW) else {
            panic!("it ended");
        };
        assert_eq!((frame.luma.width(), frame.luma.height()), (4, 3));
        assert_eq!(frame.timestamp.0, Duration::from_millis(i * 100));
    }
}

#[test]
fn y4m_is_played_at_its_own_rate() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("clip.y4m");
    let mut file = b"YUV4MPEG2 W5 H3 F5:1 Ip C420jpeg\n".to_vec();
    for value in [11u8, 12] {
        file.extend_from_slice(b"FRAME\n");
        file.extend_from_slice(&[value; 15]);
        file.extend_from_slice(&[0xee; 12]);
    }
    fs::write(&path, &file).unwrap();
    let mut source = open(&options(&path)).unwrap();
    assert!(
        source.description().contains("5x3 at 5.000 fps"),
        "{}",
        source.description()
    );
    assert_eq!(play(&mut *source, 0), [(11, 0, 0), (12, 200, 1)]);

    // In real time the second frame is due after 200 ms.
    let mut live = options(&path);
    live.pace = Pace::Recorded;
    let mut source = open(&live).unwrap();
    let start = Instant::now();
    assert!(matches!(source.next(NOW), Captured::Frame(_)));
    assert!(matches!(
        source.next(Duration::from_millis(20)),
        Captured::Waiting
    ));
    let Captured::Frame(frame) = source.next(Duration::from_secs(10)) else {
        panic!("no second frame");
    };
    assert_eq!(frame.timestamp.0, Duration::from_millis(200));
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn concatenated_jpegs_are_recognised_by_their_name() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("clip.mjpeg");
    let cut = jpeg(99);
    let file = [&jpeg(10)[..], &cut[..cut.len() - 4], &jpeg(30), &jpeg(40)].concat();
    fs::write(&path, &file).unwrap();
    let mut options = options(&path);
    options.fps = Some(10.0);
    let mut source = open(&options).unwrap();
    assert_eq!(
        play(&mut *source, 1),
        [(10, 0, 0), (30, 200, 2), (40, 300, 3)]
    );
}

#[test]
fn files_that_cannot_be_played_give_the_reason() {
    let directory = tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    assert!(error(&at("none.y4m")).contains("does not exist"));
    assert!(error(Path::new("video7")).contains("/dev/video7"));
    assert!(error(directory.path()).contains("no .png"));
    let cases: [(&str, &[u8], &str); 9] = [
        ("empty.y4m", b"", "empty"),
        ("empty.mjpeg", b"", "empty"),
        ("movie.avi", b"RIFF....AVI LIST....", "ffmpeg"),
        ("broken.y4m", b"YUV4MPEG2 W0 H9\n", "0x9"),
        ("deep.y4m", b"YUV4MPEG2 W4 H4 C420p10\n", "C420p10"),
        ("none.y4m", b"YUV4MPEG2 W4 H4 Cmono\n", "no frame"),
        ("cut.y4m", b"YUV4MPEG2 W4 H4 Cmono\nFRAME\nabc", "cut off"),
        ("noise.mjpeg", b"there is no picture in here", "no frame"),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "ends before"),
    ];
    for (name, bytes, part) in cases {
        fs::write(at(name), bytes).unwrap();
        let error = error(&at(name));
        assert!(error.contains(part) && error.contains(name), "{error}");
    }
    for broken in ["a.png", "b.jpg"] {
        let only = tempdir().unwrap();
        fs::write(only.path().join(broken), b"\xff\xd8\xff").unwrap();
        assert!(error(only.path()).contains(broken));
    }
}

#[test]
fn pictures_from_1x1_to_the_largest_side() {
    let directory = tempdir().unwrap();
    for (width, height) in [(1, 1), (8000, 2), (3, 8000)] {
        let path = directory.path().join(format!("{width}x{height}.png"));
        let image = RgbImage {
            width,
            height,
            pixels: vec![100; (width * height * 3) as usize],
        };
        image::write_png_rgb(&path, &image).unwrap();
        let mut source = open(&options(&path)).unwrap();
        let Captured::Frame(frame) = source.next(NOW) else {
            panic!("no frame");
        };
        assert_eq!((frame.luma.width(), frame.luma.height()), (width, height));
    }
}

#[test]
fn a_missing_camera_is_waited_for() {
    for source in [
        "/dev/video4711",
        "/dev/v4l/by-id/usb-none",
        "card:No Such Card",
    ] {
        let options = Options {
            source: source.parse().unwrap(),
            ..Options::default()
        };
        let mut camera = open(&options).unwrap();
        assert!(camera.is_live());
        for _ in 0..3 {
            let start = Instant::now();
            match camera.next(Duration::from_millis(120)) {
                Captured::Lost { reason } => assert!(!reason.is_empty()),
                other => panic!("{source}: {other:?}"),
            }
            assert!(start.elapsed() < Duration::from_secs(2));
        }
    }
}

#[test]
fn devices_that_are_not_cameras_are_refused() {
    for source in ["/dev/null", "/dev/shm"] {
        let options = Options {
            source: SourceSpec::V4l2Path(source.into()),
            ..Options::default()
        };
        let Err(error) = open(&options) else {
            panic!("{source} was opened as a camera");
        };
        assert!(matches!(error, CaptureError::NotACamera { .. }), "{error}");
        assert!(error.to_string().contains(source), "{error}");
    }
}

#[test]
fn cameras_can_be_listed_where_there_are_none() {
    for camera in cameras() {
        assert!(!camera.to_string().is_empty());
    }
}

#[cfg(not(feature = "nokhwa"))]
#[test]
fn without_the_feature_nokhwa_says_what_to_do() {
    let options = Options {
        source: SourceSpec::Nokhwa(0),
        ..Options::default()
    };
    let error = open(&options).err().unwrap().to_string();
    assert!(error.contains("--features nokhwa"), "{error}");
}

/// The same recording gives the same frames at any pace.
#[test]
fn the_pace_does_not_change_the_frames() {
    let directory = tempdir().unwrap();
    for i in 0..4 {
        write_png(&directory.path().join(format!("{i}.png")), 10 * i);
    }
    let mut fast = options(directory.path());
    fast.fps = Some(100.0);
    let mut recorded = fast.clone();
    recorded.pace = Pace::Recorded;
    recorded.format = Some(PixelFormat::Mjpg);
    let expected = play(&mut *open(&fast).unwrap(), 0);
    let mut source = open(&recorded).unwrap();
    let mut found = Vec::new();
    loop {
        match source.next(Duration::from_millis(1)) {
            Captured::Frame(f) => found.push((
                f.luma.row(0)[0],
                f.timestamp.0.as_millis() as u64,
                f.sequence,
            )),
            Captured::Waiting => {}
            Captured::Ended => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found, expected);
}

/// Every source is turned in the same way, and its memory is reused.
#[test]
fn what_a_source_gives_is_turned() {
    let directory = tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        let view = LumaView::new(&[1, 2, 3, 4, 5, 6], 3, 2, 3).unwrap();
        image::write_png_luma(directory.path().join(name), view).unwrap();
    }
    let turn = Turn {
        rotation: Rotation::Quarter,
        mirror: true,
    };
    let mut source = open(&Options {
        turn,
        ..options(directory.path())
    })
    .unwrap();
    assert!(!source.is_live());
    let description = source.description();
    assert!(
        description.ends_with(", rotated by 90 degrees, mirrored"),
        "{description}"
    );
    let mut places = Vec::new();
    for sequence in 0..2 {
        let Captured::Frame(frame) = source.next(NOW) else {
            panic!("no frame");
        };
        assert_eq!((frame.luma.width(), frame.luma.height()), (2, 3));
        assert_eq!(frame.luma.data(), [1, 4, 2, 5, 3, 6]);
        assert_eq!(frame.sequence, sequence);
        places.push(frame.luma.data().as_ptr());
    }
    assert_eq!(places[0], places[1]);
    assert!(matches!(source.next(NOW), Captured::Ended));
}
