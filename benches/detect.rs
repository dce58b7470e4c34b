//! The detector: `cargo bench --bench detect`.
//!
//! With `--follow`, compares the processor time of a full search of every frame
//! with two moving faces, of following the faces, and of following them with a
//! budget. With `--serve`, times searches for `scripts/bench-detector` and
//! `scripts/count-instructions`: one line of JSON in, one out.

#[path = "../tests/stages/scenes.rs"]
mod scenes;

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use affectd::detect::{Cascade, Detector, Expected, Options, Search, SearchOptions};
use affectd::frame::{LumaView, Timestamp};
use affectd::isa::Isa;
use affectd::track::{self, Tracker};
use criterion::{BenchmarkId, Criterion};

/// Gray pixels of a PNG file.
struct Gray {
    pixels: Vec<u8>,
    width: u32,
    height: u32,
}

impl Gray {
    fn load(path: &Path) -> Self {
        let file = std::fs::File::open(path).expect("a picture");
        let mut reader = png::Decoder::new(std::io::BufReader::new(file))
            .read_info()
            .expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("pixels");
        assert_eq!(info.color_type, png::ColorType::Grayscale);
        Self {
            pixels,
            width: info.width,
            height: info.height,
        }
    }

    fn view(&self) -> LumaView<'_> {
        LumaView::new(&self.pixels, self.width, self.height, self.width as usize)
            .expect("the pixels of a picture")
    }

    /// A frame of a camera's size, tiled with the picture and its mirror image.
    fn tiled(&self, width: u32, height: u32) -> Self {
        let fold = |at: u32, size: u32| {
            let at = at % (2 * size);
            at.min(2 * size - 1 - at)
        };
        Self {
            pixels: (0..width * height)
                .map(|at| {
                    let (x, y) = (fold(at % width, self.width), fold(at / width, self.height));
                    self.pixels[(y * self.width + x) as usize]
                })
                .collect(),
            width,
            height,
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cascade(name: &str) -> Cascade {
    Cascade::load(&root().join("models").join(name)).expect("a cascade")
}

fn bench(criterion: &mut Criterion) {
    let frame = Gray::load(&root().join("tests/data/photos/astronaut-gray.png")).tiled(640, 480);
    let mut group = criterion.benchmark_group("detect 640x480");
    group.sample_size(20);
    for name in [
        "haarcascade_frontalface_default.xml",
        "haarcascade_frontalface_alt2.xml",
    ] {
        for (scale_factor, side) in [(1.1, 30), (1.1, 80), (1.2, 30), (1.2, 80)] {
            for isa in Isa::available() {
                let options = Options {
                    scale_factor,
                    min_size: (side, side),
                    ..Options::default()
                };
                let mut detector =
                    Detector::with_isa(cascade(name), options, isa).expect("good options");
                let id =
                    BenchmarkId::new(format!("{name} {isa}"), format!("{scale_factor}/{side}"));
                group.bench_function(id, |bencher| {
                    bencher.iter(|| black_box(detector.detect(frame.view()).len()));
                });
            }
        }
    }
    group.bench_function("around a tracked face", |bencher| {
        let options = Options {
            min_size: (30, 30),
            ..Options::default()
        };
        let detector = Detector::new(cascade("haarcascade_frontalface_default.xml"), options)
            .expect("good options");
        let options = SearchOptions {
            full_search_ms: u32::MAX,
            ..SearchOptions::default()
        };
        let mut search = Search::new(detector, options).expect("good options");
        let now = Timestamp::default();
        let found = search.find(frame.view(), now, &[]).detections;
        let rects = found.iter().take(1).map(|detection| detection.rect);
        let tracked: Vec<_> = Expected::numbered(rects).collect();
        search.find(frame.view(), now, &tracked);
        bencher.iter(|| black_box(search.find(frame.view(), now, &tracked).full));
    });
    group.finish();
}

/// A request to time a search.
#[derive(serde::Deserialize)]
struct Request {
    picture: PathBuf,
    /// Tile a frame of this size with the picture.
    size: Option<(u32, u32)>,
    cascade: PathBuf,
    kernel: Option<String>,
    scale_factor: f64,
    min_neighbors: u32,
    min_size: u32,
}

/// Answers each request with the processor time of one search, in seconds, and
/// the number of faces. The detector and its picture are kept from one request
/// to the next if only the number of repetitions changes.
fn serve() {
    let mut kept: Option<(String, Detector, Gray)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        if kept.as_ref().is_none_or(|kept| kept.0 != line) {
            let request: Request = serde_json::from_str(&line).expect("a request");
            let options = Options {
                scale_factor: request.scale_factor,
                min_neighbors: request.min_neighbors,
                min_size: (request.min_size, request.min_size),
                ..Options::default()
            };
            let isa = Isa::available()
                .into_iter()
                .find(|isa| request.kernel.as_deref() == Some(isa.name()))
                .unwrap_or_else(Isa::best);
            let cascade = Cascade::load(&request.cascade).expect("a cascade");
            let detector = Detector::with_isa(cascade, options, isa).expect("good options");
            let picture = Gray::load(&request.picture);
            let picture = match request.size {
                Some((width, height)) => picture.tiled(width, height),
                None => picture,
            };
            kept = Some((line, detector, picture));
        }
        let (_, detector, picture) = kept.as_mut().expect("just set");
        let start = processor_time();
        let faces = black_box(detector.detect(picture.view())).len();
        let seconds = processor_time() - start;
        println!("{{\"seconds\": {seconds}, \"faces\": {faces}}}");
        std::io::stdout().flush().expect("a reader");
    }
}

/// A text with statistics of the times of single frames, in milliseconds.
fn told(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let part = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!(
        "mean {:.2} ms, median {:.2}, 99th percentile {:.2}, most {:.2}",
        times.iter().sum::<f64>() / times.len() as f64,
        part(0.5),
        part(0.99),
        part(1.0)
    )
}

/// Follows faces as the daemon does, with a board file's default options but
/// faces from `min_size` pixels, at 30 frames per second.
fn follow(min_size: u32) {
    let scene = scenes::Scene::new(640, 480);
    let frames: Vec<Vec<u8>> = (0..600)
        .map(|number| scene.frame(&scenes::two_people(number)))
        .collect();
    let search = |options: SearchOptions| {
        let options_of_faces = Options {
            min_size: (min_size, min_size),
            min_neighbors: 5,
            ..Options::default()
        };
        let cascade = cascade("haarcascade_frontalface_default.xml");
        let detector = Detector::new(cascade, options_of_faces).expect("good options");
        Search::new(detector, options).expect("good options")
    };
    let run = |options: SearchOptions| {
        let mut search = search(options);
        search.reserve(scene.width, scene.height);
        let mut tracker = Tracker::new(track::Options::default());
        let (mut times, mut boxes, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for (number, pixels) in frames.iter().enumerate() {
            let now = Timestamp::from_millis(number as u64 * 100 / 3);
            let tracked: Vec<_> = tracker.expected().collect();
            let picture = scene.view(pixels);
            let start = processor_time();
            let found = search.find(picture, now, &tracked);
            times.push((processor_time() - start) * 1e3);
            full.push(found.full);
            boxes.push(found.detections.iter().map(|d| d.rect).collect::<Vec<_>>());
            tracker.follow(now, picture.bounds(), &found, |_| None);
        }
        (times, boxes, full)
    };

    println!(
        "640x480, two moving faces, searched for from {min_size} pixels, {} frames",
        frames.len()
    );
    let everything = SearchOptions {
        full_search_ms: 0,
        ..SearchOptions::default()
    };
    let (mut full, expected, _) = run(everything);
    println!("full search of each: {}", told(&mut full));
    let (mut following, boxes, ended) = run(SearchOptions::default());
    let ratio = following.iter().sum::<f64>() / full.iter().sum::<f64>();
    let agreeing = boxes
        .iter()
        .zip(&expected)
        .filter(|(some, others)| scenes::agree(some, others, 0.8))
        .count();
    println!(
        "following: {}; {} full searches; {ratio:.3} of the time, {agreeing} frames agree",
        told(&mut following),
        ended.iter().filter(|ended| **ended).count()
    );
    let mean = full.iter().sum::<f64>() / full.len() as f64;
    for part in [0.5, 0.25, 0.15] {
        let budget_ms = mean * part;
        let (mut times, _, ended) = run(SearchOptions {
            budget_ms,
            ..SearchOptions::default()
        });
        let first = ended.iter().position(|ended| *ended);
        println!(
            "budget {budget_ms:.2} ms: {}; the first full search ends in frame {first:?}",
            told(&mut times)
        );
    }
}

fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    if std::env::args().any(|word| word == "--serve") {
        return serve();
    }
    if std::env::args().any(|word| word == "--follow") {
        follow(60);
        return follow(30);
    }
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
