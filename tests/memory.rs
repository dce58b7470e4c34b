//! Tests of memory and time: a hundred thousand frames pass through all stages
//! without a call to the system's allocator after the first hundred, and a
//! display that hangs does not delay GPIO lines.

use std::convert::Infallible;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use affectd::assets;
use affectd::capture::{self, Pace, SourceSpec};
use affectd::decide::{self, Decider, fatigue};
use affectd::detect::{self, Cascade, Detector, Search, SearchOptions};
use affectd::draw::{Canvas, Grain};
use affectd::frame::LumaView;
use affectd::host::memory::{self, FrameAllocator};
use affectd::image::{LumaImage, read_luma};
use affectd::monitor::{Known, Monitor};
use affectd::observe::{Classifier, ClassifyError, FaceBox, Observations, Observer};
use affectd::output::Output;
use affectd::output::display::{Display, DisplayError, Panel};
use affectd::output::events::{self, Announcer, Events, Hello};
use affectd::output::gpio::{self, Bank, LineId, LineOptions, Lines, Role};
use affectd::pipeline::stats::{Stage, WARM_UP};
use affectd::pipeline::{Pipeline, Stages, Step};
use affectd::snapshot::{Published, Snapshot};
use affectd::track::{self, Tracker};
use embedded_graphics::pixelcolor::Rgb565;
use embedded_hal::digital::{ErrorType, InputPin, OutputPin, PinState};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

#[global_allocator]
static ALLOCATOR: FrameAllocator = FrameAllocator;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tiny() -> PathBuf {
    root().join("tests/data/classify/tiny.onnx")
}

/// Pins that count their edges and allocate nothing.
struct Wires(&'static AtomicU64);

impl ErrorType for Wires {
    type Error = Infallible;
}

impl OutputPin for Wires {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set_low()
    }
}

impl InputPin for Wires {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }
}

impl Bank for Wires {
    type Pin = Self;
    type Input = Self;
    type Error = Infallible;

    fn request(&mut self, _: &LineOptions, _: PinState) -> Result<Self, Infallible> {
        Ok(Self(self.0))
    }

    fn request_input(&mut self, _: &LineId, _: &str) -> Result<Self, Infallible> {
        Ok(Self(self.0))
    }
}

/// A display in memory that may be slow.
struct Screen {
    pictures: Arc<AtomicU64>,
    takes: Duration,
}

impl Panel for Screen {
    type Color = Rgb565;

    fn size(&self) -> (u32, u32) {
        (128, 128)
    }

    fn grain(&self) -> Grain {
        Grain {
            band: 1,
            overhead: 8,
        }
    }

    fn show(&mut self, _: &Canvas<Rgb565>, _: &[affectd::frame::Rect]) -> Result<(), DisplayError> {
        self.pictures.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.takes);
        Ok(())
    }

    fn darken(&mut self) -> Result<bool, DisplayError> {
        Ok(true)
    }
}

/// A reader of events, or one that reads nothing until it is dropped.
struct Listener {
    done: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
}

impl Listener {
    fn connect(socket: &Path, reads: bool) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let (done, bytes) = (
            Arc::new(AtomicBool::new(false)),
            Arc::<AtomicU64>::default(),
        );
        let (done_there, bytes_there) = (Arc::clone(&done), Arc::clone(&bytes));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !done_there.load(Ordering::Relaxed) {
                if !reads {
                    std::thread::sleep(Duration::from_millis(50));
                } else if let Ok(count) = stream.read(&mut buffer) {
                    bytes_there.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        });
        Self { done, bytes }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// A part of a picture, scaled by nearest pixel.
fn part(picture: &LumaImage, x: f64, y: f64, side: f64, pixels: usize) -> Vec<u8> {
    let at = |start: f64, i: usize, limit: u32| {
        let place = start + (i as f64 + 0.5) * side / pixels as f64;
        place.clamp(0.0, f64::from(limit - 1)) as usize
    };
    let mut out = Vec::with_capacity(pixels * pixels);
    for row in 0..pixels {
        let line = at(y, row, picture.height) * picture.width as usize;
        for column in 0..pixels {
            out.push(picture.pixels[line + at(x, column, picture.width)]);
        }
    }
    out
}

/// A recording of square JPEGs as a webcam sends them: a face moves in the
/// first two thirds, then there is none.
fn recording(directory: &Path, pixels: usize) -> PathBuf {
    let astronaut = read_luma(root().join("tests/data/photos/astronaut.jpg")).unwrap();
    let coffee = read_luma(root().join("tests/data/photos/coffee.jpg")).unwrap();
    let mut clip = Vec::new();
    for frame in 0..90 {
        let sway = f64::from(frame % 12 - 6).abs();
        let luma = if frame < 60 {
            part(&astronaut, 140.0 + sway, 30.0 + sway, 170.0, pixels)
        } else {
            part(&coffee, 20.0 + sway, 20.0, 170.0, pixels)
        };
        let ycbcr: Vec<u8> = luma.iter().flat_map(|&y| [y, 128, 128]).collect();
        let mut encoder = jpeg_encoder::Encoder::new(&mut clip, 85);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
        let side = pixels as u16;
        encoder
            .encode(&ycbcr, side, side, jpeg_encoder::ColorType::Ycbcr)
            .unwrap();
    }
    let path = directory.join("clip.mjpeg");
    fs::write(&path, clip).unwrap();
    path
}

/// A model that tract runs in part: the tiny one with a Softmax at its end.
fn with_softmax(directory: &Path) -> PathBuf {
    use tract_onnx::pb::{ModelProto, NodeProto};
    let mut model = ModelProto::decode(&*fs::read(tiny()).unwrap()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(NodeProto {
        op_type: "Softmax".into(),
        input: vec![graph.output[0].name.clone()],
        output: vec!["p".into()],
        ..Default::default()
    });
    graph.output[0].name = "p".into();
    let onnx = model.encode_to_vec();
    let manifest = fs::read_to_string(tiny().with_extension("toml")).unwrap();
    let mut lines: Vec<String> = manifest.lines().map(str::to_owned).collect();
    let hash: String = Sha256::digest(&onnx)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    for line in &mut lines {
        if line.starts_with("sha256") {
            *line = format!("sha256 = \"{hash}\"");
        } else if line.starts_with("output") {
            *line = "output = \"probabilities\"".to_owned();
        }
    }
    let path = directory.join("softmax.onnx");
    fs::write(&path, onnx).unwrap();
    fs::write(path.with_extension("toml"), lines.join("\n")).unwrap();
    path
}

fn stages(classifier: Classifier, min_size: u32, watch: Watch) -> Stages {
    let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE).unwrap()).unwrap();
    let options = detect::Options {
        min_neighbors: 3,
        scale_factor: 1.2,
        min_size: (min_size, min_size),
        ..detect::Options::default()
    };
    let stages = Stages::new(
        Search::new(
            Detector::new(cascade, options).unwrap(),
            SearchOptions::default(),
        )
        .unwrap(),
        Tracker::new(track::Options {
            confirm: 1,
            lost_after: Duration::from_millis(150),
            ..track::Options::default()
        }),
        Decider::new(decide::Options::default()),
    )
    .with_observer(classifier, Duration::ZERO);
    match watch {
        Watch::Expressions => stages,
        // Everybody is watched, which needs the most memory.
        Watch::Eyes => stages.with_fatigue(fatigue::Options {
            watch: fatigue::Watch::All,
            ..fatigue::Options::default()
        }),
    }
}

/// The same network again, as a second model.
struct SecondModel(Classifier);

impl Observer for SecondModel {
    fn name(&self) -> &str {
        "second"
    }

    fn reserve(&mut self, width: u32, height: u32) {
        self.0.reserve(width, height);
    }

    fn observe(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError> {
        let again = self.0.classify(picture, face.rect)?;
        // The rehearsal shows each observer a face of its own.
        let agrees = seen.expression.is_none_or(|first| first == again);
        assert!(agrees, "the two models disagree");
        Ok(())
    }
}

struct Rig {
    pipeline: Pipeline,
    monitor: Monitor,
    announcer: Announcer,
    /// For the control socket and metrics.
    latest: Published,
    hello: Arc<Hello>,
    lost_reason: Arc<str>,
    edges: &'static AtomicU64,
    shown: Arc<AtomicU64>,
    listener: Listener,
    _directory: tempfile::TempDir,
}

/// What the display shows: expressions, which change in each repetition of the
/// recording, or the state of eyes that no network sees here.
#[derive(Clone, Copy)]
enum Watch {
    Expressions,
    Eyes,
}

/// How the devices of a rig behave.
#[derive(Clone, Copy)]
enum Devices {
    Well,
    /// The display takes ten seconds for a picture, and the reader of events
    /// does not read.
    Hanging,
}

const HANGS: Duration = Duration::from_secs(10);

/// All stages on a recording that never ends; if `models` is empty, with a
/// model that tract runs in part.
fn rig(models: &[&Path], pixels: usize, min_size: u32, devices: Devices, watch: Watch) -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let source = capture::open(&capture::Options {
        source: SourceSpec::Replay(recording(directory.path(), pixels)),
        pace: Pace::Fast,
        repeat: true,
        ..capture::Options::default()
    })
    .unwrap();
    let classifier = match models.first() {
        Some(model) => Classifier::load(model),
        None => Classifier::load(&with_softmax(directory.path())),
    }
    .unwrap();
    let model_name = classifier.manifest().name.clone();
    let mut stages = stages(classifier, min_size, watch);
    for model in models.iter().skip(1) {
        let second = SecondModel(Classifier::load(model).unwrap());
        stages = stages.with_observer(second, Duration::ZERO);
    }
    stages.rehearse(pixels as u32, pixels as u32).unwrap();

    let edges: &'static AtomicU64 = Box::leak(Box::default());
    let line = |(offset, role)| LineOptions::new(role, LineId::Offset(offset));
    let lines = Lines::new(
        Wires(edges),
        &gpio::Options {
            chip: "wires".to_owned(),
            lines: (0..).zip(Role::all()).map(line).collect(),
            ..gpio::Options::default()
        },
    )
    .unwrap();
    let shown = Arc::<AtomicU64>::default();
    let pictures = Arc::clone(&shown);
    let display = Display::start("screen".to_owned(), 1000.0, move || {
        Ok(Screen {
            pictures: Arc::clone(&pictures),
            takes: match devices {
                Devices::Well => Duration::ZERO,
                Devices::Hanging => HANGS,
            },
        })
    })
    .unwrap();
    let socket = directory.path().join("events.sock");
    let options = events::Options {
        socket: Some(socket.clone()),
        period: Some(Duration::from_millis(100)),
        ..events::Options::default()
    };
    let hello = Hello {
        source: source.description(),
        // With a camera, nothing waits until there is room for an event.
        live: true,
        model: model_name,
        ..Hello::default()
    };
    let events = Events::new(&options, hello).unwrap();
    let announcer = events.announcer();
    let listener = Listener::connect(&socket, matches!(devices, Devices::Well));
    let outputs: Vec<Box<dyn Output>> = vec![Box::new(lines), Box::new(events), Box::new(display)];
    Rig {
        pipeline: Pipeline::new(source, stages, outputs),
        monitor: Monitor::new(),
        announcer,
        latest: Published::default(),
        hello: Arc::default(),
        lost_reason: Arc::from(""),
        edges,
        shown,
        listener,
        _directory: directory,
    }
}

impl Rig {
    fn run(&mut self, frames: u64) {
        for _ in 0..frames {
            assert_eq!(self.pipeline.step(), Step::Frame);
            let known = Known {
                temperature: Some(50.0),
                ..Known::default()
            };
            let period = self.monitor.look(&mut self.pipeline, &known);
            // Regular reports of health are rare. Further ones are sent here,
            // to test that they allocate nothing.
            if self.pipeline.stats().frames().is_multiple_of(32) || period.is_some() {
                let health = self.monitor.health(&self.pipeline, &known);
                let at = self.pipeline.last_frame();
                self.latest.put(Snapshot {
                    hello: Arc::clone(&self.hello),
                    health: health.clone(),
                    lost_reason: Arc::clone(&self.lost_reason),
                    figures: self.monitor.figures(&self.pipeline),
                    at: Instant::now(),
                });
                self.announcer.health(health, false, at);
            }
        }
    }
}

/// The process's resident memory in KiB.
fn resident() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Rss:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs a rig and checks that its memory stays the same.
fn stays_the_same(name: &str, mut rig: Rig, frames: u64) {
    let start = Instant::now();
    // The first frames give buffers their sizes; the display's and the events'
    // threads follow.
    rig.run(2000.min(frames / 2).max(WARM_UP + 1));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(rig.pipeline.stats().allocations(), Some(0), "{name}: early");
    // In this order, because reading the resident size allocates.
    let (before_resident, before) = (resident(), memory::usage());
    let done = rig.pipeline.stats().frames();
    rig.run(frames - done);
    let (after, after_resident) = (memory::usage(), resident());
    println!(
        "{name}: {frames} frames in {:.1} s, resident {before_resident} to {after_resident} KiB, \
         {} allocations by all threads, {} bytes of the arena\n{}",
        start.elapsed().as_secs_f64(),
        after.system - before.system,
        after.high_water,
        rig.pipeline.stats()
    );
    assert_eq!(after.system_here, before.system_here, "{name}: by the loop");
    assert_eq!(after.system, before.system, "{name}: by all threads");
    assert_eq!(after.overflows, 0, "{name}");
    assert_eq!(after.kept, 0, "{name}: something outlasted its frame");
    // A few pages that were never used before, such as those of a stack, may be
    // added.
    assert!(
        after_resident <= before_resident + 128,
        "{name}: resident memory grew"
    );
    assert!(
        rig.edges.load(Ordering::Relaxed) > frames / 100,
        "{name}: GPIO"
    );
    assert!(rig.shown.load(Ordering::Relaxed) > 2, "{name}: display");
    assert!(
        rig.listener.bytes.load(Ordering::Relaxed) > frames,
        "{name}: events"
    );
    rig.pipeline.finish("test");
}

/// Whether GPIO edges come as fast with devices that hang as with devices that
/// work. Both run in turns for ten seconds, so that other programs on this
/// machine affect both.
fn hanging_devices_are_not_felt() -> bool {
    let mut rigs = [Devices::Well, Devices::Hanging].map(|devices| {
        let mut rig = rig(&[&tiny()], 64, 30, devices, Watch::Expressions);
        rig.run(WARM_UP);
        rig
    });
    let start = Instant::now();
    while start.elapsed() < HANGS {
        for rig in &mut rigs {
            rig.run(10);
        }
    }
    let late = |quantile| {
        rigs.each_ref().map(|rig| {
            let stats = rig.pipeline.stats();
            stats.quantile(Stage::Edge, quantile).unwrap()
        })
    };
    let ([well, hanging], medians) = (late(0.99), late(0.5));
    println!(
        "frame ready to GPIO edge, with devices that work and with devices that hang: medians \
         {medians:?}, 99th percentiles {well:?} and {hanging:?}"
    );
    let shown = rigs.each_ref().map(|rig| rig.shown.load(Ordering::Relaxed));
    assert!(shown[0] > 2 && shown[1] <= 2, "one did not hang: {shown:?}");
    hanging < well + Duration::from_millis(1)
}

// Without the usual test harness, which has threads of its own: the allocator
// counts for the whole process.
fn main() {
    memory::reserve(4 << 20).unwrap();
    let small = || rig(&[&tiny()], 64, 30, Devices::Well, Watch::Eyes);
    stays_the_same("64x64, tiny model", small(), 100_000);
    let tract = rig(&[], 64, 30, Devices::Well, Watch::Expressions);
    stays_the_same("64x64, tract runs a part", tract, 2_000);
    // The network in integers needs no arena; the part that tract runs does.
    assert!(memory::usage().high_water > 0, "tract used no arena");
    let model = assets::find(assets::DEFAULT_MODEL).unwrap();
    let large = rig(
        &[&model, &model],
        480,
        120,
        Devices::Well,
        Watch::Expressions,
    );
    stays_the_same("480x480, shipped model twice", large, 400);
    // A 99th percentile is the time of a few edges. Another program may delay
    // them on one side only, but hardly three times.
    assert!(
        (0..3).any(|_| hanging_devices_are_not_felt()),
        "a GPIO edge waits for a display or a reader of events"
    );
}
