//! What the preview costs the loop: nothing while nobody watches, and no
//! allocation while somebody does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use affectd::assets;
use affectd::frame::{LumaView, Timestamp};
use affectd::host::memory;
use affectd::image::{self, LumaImage};
use affectd::output::Output as _;
use affectd::preview::{Options, Preview, UprightOptions};
use affectd::report::{Camera, Report};
use affectd::snapshot::Published;

fn get(socket: &Path, path: &str) -> UnixStream {
    let mut client = UnixStream::connect(socket).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client
}

#[test]
fn a_viewer_costs_the_loop_no_allocation() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let options = Options {
        socket: Some(socket.clone()),
        fps: 30.0,
        ..Options::default()
    };
    let upright = UprightOptions {
        cascade: assets::DEFAULT_CASCADE.into(),
        detector: affectd::detect::Options::default(),
    };
    let mut preview =
        Preview::open(&options, Published::default(), Arc::default(), upright).unwrap();
    let pixels: Vec<u8> = (0..640 * 480).map(|at| (at % 251) as u8).collect();
    let mut frame = 0;
    let mut update = |preview: &mut Preview| {
        frame += 1;
        let report = Report {
            timestamp: Timestamp::from_millis(frame),
            frame,
            is_new: true,
            camera: Camera::Streaming,
            frame_size: (640, 480),
            picture: Some(LumaView::new(&pixels, 640, 480, 640).unwrap()),
            ..Report::default()
        };
        let (before, began) = (memory::usage().system_here, Instant::now());
        preview.update(&report);
        let took = began.elapsed();
        (memory::usage().system_here - before, took)
    };

    let mut times = Vec::with_capacity(1001);
    for _ in 0..1001 {
        let (allocations, took) = update(&mut preview);
        assert_eq!(allocations, 0);
        times.push(took);
    }
    // A look at a flag; a copy of the frame takes much longer. The median is the
    // same on a busy machine.
    times.sort_unstable();
    assert!(times[500] < Duration::from_micros(10), "{:?}", times[500]);

    let mut client = get(&socket, "/stream");
    client.set_nonblocking(true).unwrap();
    let mut received = 0;
    let mut bytes = vec![0; 1 << 20];
    let start = Instant::now();
    while received < 1 << 18 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{received} bytes"
        );
        assert_eq!(update(&mut preview).0, 0);
        std::thread::sleep(Duration::from_millis(5));
        if let Ok(count) = client.read(&mut bytes) {
            assert!(count > 0, "the stream ended");
            received += count;
        }
    }
    // A viewer who goes, and a new one: the buffers are there.
    drop(client);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(update(&mut preview).0, 0);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut client = get(&socket, "/snapshot");
    client.set_nonblocking(true).unwrap();
    let mut snapshot = Vec::new();
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert_eq!(update(&mut preview).0, 0);
        std::thread::sleep(Duration::from_millis(5));
        match client.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => snapshot.extend_from_slice(&bytes[..count]),
            Err(_) => {}
        }
    }
    preview.finish();
    let body = snapshot
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let mut picture = LumaImage::default();
    image::luma(&snapshot[body..], &mut picture).unwrap();
    assert_eq!((picture.width, picture.height), (640, 480));
}
