//! The display: a picture file that follows the loop's reports, a screen for
//! every size, and a device that may fail or hang without any effect on the
//! rest.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::reports::face;
use affectd::decide::Label;
use affectd::draw::{Canvas, Grain, Part, Theme};
use affectd::frame::Rect;
use affectd::observe::expression::Expression;
use affectd::output::display::{
    self, Coloring, Display, DisplayError, Kind, Options, Outline, Panel, PngOptions,
    TftController, TftOptions, View,
};
use affectd::output::gpio::LineId;
use affectd::output::{Camera, FaceReport, Output, Report};
use embedded_graphics::draw_target::{DrawTarget, DrawTargetExt};
use embedded_graphics::geometry::{Dimensions, Point, Size};
use embedded_graphics::pixelcolor::{BinaryColor, Rgb565, Rgb888};
use embedded_graphics::primitives::Rectangle;
use proptest::prelude::*;

use crate::display_support::sample_views;

/// Long enough for a busy machine, short enough for a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn report<'a>(camera: Camera<'a>, faces: &'a [FaceReport]) -> Report<'a> {
    Report {
        is_new: true,
        camera,
        frame_size: (640, 480),
        faces,
        ..Report::default()
    }
}

fn show(output: &mut dyn Output, label: Label) {
    output.update(&report(Camera::Streaming, &[face(1, label, 0.8)]));
}

/// The file's pixels as red, green and blue; `None` while there is no file.
fn read_png(path: &Path) -> Option<(u32, u32, Vec<u8>)> {
    let file = std::io::BufReader::new(fs::File::open(path).ok()?);
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().expect("a whole file at any time");
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).expect("a whole picture");
    if info.color_type == png::ColorType::Grayscale {
        pixels = pixels.iter().flat_map(|&grey| [grey; 3]).collect();
    }
    Some((info.width, info.height, pixels))
}

fn drawn<C: Theme>(width: u32, height: u32, view: &View) -> Vec<u8> {
    let mut canvas = Canvas::new(width, height, C::of(Part::Ground));
    display::draw(&mut canvas, view).unwrap();
    canvas.pixels().iter().flat_map(|p| p.to_rgb()).collect()
}

#[test]
fn a_picture_file_follows_the_reports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/by/affectd/face.png");
    let options = Options {
        kind: Kind::Png(PngOptions {
            path: path.clone(),
            width: 128,
            height: 64,
            coloring: Coloring::Mono,
            every_change: false,
        }),
        max_fps: 1000.0,
    };
    let mut output = display::open(&options).unwrap();
    let shows = |view: &View| {
        let (width, height, pixels) = read_png(&path).unwrap_or_default();
        (width, height) == (128, 64) && pixels == drawn::<BinaryColor>(128, 64, view)
    };
    wait_until("the first picture", || shows(&View::Starting));
    output.update(&report(Camera::Streaming, &[]));
    wait_until("no face", || shows(&View::NoFace));
    // Somebody watches the preview.
    let mut watched = Canvas::new(128, 64, BinaryColor::Off);
    display::draw(&mut watched, &View::NoFace).unwrap();
    let before = watched.clone();
    display::draw_watched(&mut watched, &View::NoFace, Outline::Rectangle).unwrap();
    assert_ne!(before, watched);
    output.update(&Report {
        is_watched: true,
        ..report(Camera::Streaming, &[])
    });
    let pixels: Vec<u8> = watched.pixels().iter().flat_map(|p| p.to_rgb()).collect();
    wait_until("the mark", || {
        read_png(&path).is_some_and(|(_, _, shown)| shown == pixels)
    });
    output.update(&report(Camera::Streaming, &[]));
    wait_until("no mark", || shows(&View::NoFace));
    output.update(&report(
        Camera::Lost {
            reason: "unplugged",
        },
        &[],
    ));
    let lost = View::NoCamera {
        reason: display::Note::new("unplugged"),
    };
    wait_until("no camera", || shows(&lost));
    output.finish();
    assert!(shows(&View::Stopped));
    let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "nothing else is left");
}

#[test]
fn every_change_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("display.png");
    let kind = Kind::Png(PngOptions {
        path: path.clone(),
        every_change: true,
        ..PngOptions::default()
    });
    for run in 0..2 {
        let mut output = display::open(&Options {
            kind: kind.clone(),
            max_fps: 1000.0,
        })
        .unwrap();
        let kept = |number: u32| {
            folder
                .path()
                .join(format!("display-{:06}.png", run * 3 + number))
        };
        wait_until("starting", || kept(1).exists());
        show(&mut *output, Label::Expression(Expression::Happy));
        wait_until("happy", || kept(2).exists());
        output.finish();
        wait_until("stopped", || kept(3).exists());
        assert_eq!(
            read_png(&kept(3)).unwrap().2,
            drawn::<Rgb888>(240, 240, &View::Stopped)
        );
        assert!(!kept(4).exists());
    }
}

#[test]
fn a_folder_that_is_not_writable_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy/display.png");
    // A file in the place of the folder.
    fs::write(folder.path().join("busy"), "").unwrap();
    let mut output = display::open(&Options::new(Kind::Png(PngOptions {
        path: path.clone(),
        ..PngOptions::default()
    })))
    .unwrap();
    show(&mut *output, Label::Expression(Expression::Sad));
    thread::sleep(Duration::from_millis(50));
    fs::remove_file(folder.path().join("busy")).unwrap();
    wait_until("the picture", || path.exists());
    output.finish();
}

#[test]
fn impossible_options_are_refused_at_once() {
    let refuse = |kind: Kind, max_fps: f32| {
        display::open(&Options { kind, max_fps })
            .err()
            .expect("an error")
            .to_string()
    };
    let png = PngOptions::default();
    assert!(refuse(Kind::Png(png.clone()), 0.0).contains("max_fps"));
    assert!(refuse(Kind::Png(png.clone()), f32::NAN).contains("max_fps"));
    let wide = PngOptions {
        width: 5000,
        ..png.clone()
    };
    assert!(refuse(Kind::Png(wide), 10.0).contains("5000x240"));
    let nameless = PngOptions {
        path: "/".into(),
        ..png
    };
    assert!(refuse(Kind::Png(nameless), 10.0).contains("'/'"));
    for speed_hz in [0, 99_999, 125_000_001] {
        let tft = TftOptions {
            speed_hz,
            ..TftOptions::new(TftController::St7789, "chip", LineId::Offset(1))
        };
        assert!(refuse(Kind::Tft(tft), 10.0).contains(&format!("{speed_hz} Hz")));
    }
    assert!("grey".parse::<Coloring>().is_err());
}

/// A device in memory that a test can make fail or hang.
#[derive(Clone, Default)]
struct Fake {
    shows: Arc<Mutex<Option<Canvas<BinaryColor>>>>,
    broken: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    connects: Arc<AtomicU32>,
    whole: Arc<AtomicU32>,
}

impl Fake {
    const SIZE: (u32, u32) = (64, 32);

    fn start(&self, max_fps: f32) -> Display {
        let fake = self.clone();
        Display::start("display fake".into(), max_fps, move || {
            fake.connects.fetch_add(1, Ordering::SeqCst);
            if fake.broken.load(Ordering::SeqCst) {
                return Err(DisplayError::Options("no answer".into()));
            }
            // A newly opened device does not show earlier pictures.
            *fake.shows.lock().unwrap() = None;
            Ok(fake.clone())
        })
        .unwrap()
    }

    fn shows(&self, view: &View) -> bool {
        let mut canvas = Canvas::new(Self::SIZE.0, Self::SIZE.1, BinaryColor::Off);
        display::draw(&mut canvas, view).unwrap();
        self.shows.lock().unwrap().as_ref() == Some(&canvas)
    }
}

impl Panel for Fake {
    type Color = BinaryColor;

    fn size(&self) -> (u32, u32) {
        Self::SIZE
    }

    fn grain(&self) -> Grain {
        Grain {
            band: 8,
            overhead: 0,
        }
    }

    fn show(&mut self, canvas: &Canvas<BinaryColor>, rects: &[Rect]) -> Result<(), DisplayError> {
        while self.hangs.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(DisplayError::Options("no answer".into()));
        }
        let mut shows = self.shows.lock().unwrap();
        let shown =
            shows.get_or_insert_with(|| Canvas::new(Self::SIZE.0, Self::SIZE.1, BinaryColor::Off));
        for rect in rects {
            if *rect == canvas.bounds() {
                self.whole.fetch_add(1, Ordering::SeqCst);
            }
            // Only the pixels in the rectangles arrive.
            for y in rect.y..rect.bottom() as i32 {
                let row = Rectangle::new(Point::new(rect.x, y), Size::new(rect.width, 1));
                let pixels = canvas.span(*rect, y as u32).iter().copied();
                shown.fill_contiguous(&row, pixels).unwrap();
            }
        }
        Ok(())
    }

    fn darken(&mut self) -> Result<bool, DisplayError> {
        while self.hangs.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        *self.shows.lock().unwrap() = None;
        Ok(true)
    }
}

fn happy() -> View {
    let mut viewer = display::Viewer::default();
    viewer.view(&report(
        Camera::Streaming,
        &[face(1, Label::Expression(Expression::Happy), 0.8)],
    ))
}

#[test]
fn a_device_that_fails_is_opened_again_and_drawn_afresh() {
    let fake = Fake::default();
    let mut output = fake.start(1000.0);
    wait_until("starting", || fake.shows(&View::Starting));
    fake.broken.store(true, Ordering::SeqCst);
    output.update(&report(Camera::Streaming, &[]));
    wait_until("an attempt to open it", || {
        fake.connects.load(Ordering::SeqCst) >= 2
    });
    show(&mut output, Label::Expression(Expression::Happy));
    fake.broken.store(false, Ordering::SeqCst);
    wait_until("the newest picture, whole", || fake.shows(&happy()));
    assert!(fake.whole.load(Ordering::SeqCst) >= 2);
    output.finish();
    assert!(fake.shows.lock().unwrap().is_none(), "dark at the end");
}

#[test]
fn only_what_changed_is_sent() {
    let fake = Fake::default();
    let mut output = fake.start(1000.0);
    wait_until("starting", || fake.shows(&View::Starting));
    show(&mut output, Label::Expression(Expression::Happy));
    wait_until("happy", || fake.shows(&happy()));
    assert_eq!(fake.whole.load(Ordering::SeqCst), 1);
    output.finish();
}

/// A device whose picture is sent again from time to time.
struct Healing(Fake);

impl Panel for Healing {
    type Color = BinaryColor;
    const RESEND: Option<Duration> = Some(Duration::from_millis(20));

    fn size(&self) -> (u32, u32) {
        self.0.size()
    }

    fn grain(&self) -> Grain {
        self.0.grain()
    }

    fn show(&mut self, canvas: &Canvas<BinaryColor>, rects: &[Rect]) -> Result<(), DisplayError> {
        self.0.show(canvas, rects)
    }

    fn darken(&mut self) -> Result<bool, DisplayError> {
        self.0.darken()
    }
}

#[test]
fn a_picture_that_was_spoilt_is_sent_again() {
    let fake = Fake::default();
    let panel = fake.clone();
    let mut output = Display::start("display fake".into(), 1000.0, move || {
        Ok(Healing(panel.clone()))
    })
    .unwrap();
    wait_until("starting", || fake.shows(&View::Starting));
    // Something else drew over it; the loop reports nothing new.
    fake.shows.lock().unwrap().take();
    wait_until("the same picture", || fake.shows(&View::Starting));
    // Small changes do not prevent that the whole picture is sent.
    let whole = fake.whole.load(Ordering::SeqCst);
    let mut round = 0;
    wait_until("a whole picture between changes", || {
        round += 1;
        let label = Label::Expression(Expression::ALL[round % Expression::COUNT]);
        show(&mut output, label);
        fake.whole.load(Ordering::SeqCst) > whole + 1
    });
    output.finish();
}

#[test]
fn further_faces_are_counted() {
    let mut viewer = display::Viewer::default();
    let faces = [face(1, Label::Expression(Expression::Sad), 0.9); 3];
    let View::Expression { others, .. } = viewer.view(&report(Camera::Streaming, &faces)) else {
        panic!("an expression")
    };
    assert_eq!(others, 2);
    assert_eq!(viewer.view(&report(Camera::Streaming, &[])), View::NoFace);
    let many = vec![face(1, Label::Uncertain, 0.3); 1000];
    let View::Uncertain { others, .. } = viewer.view(&report(Camera::Streaming, &many)) else {
        panic!("uncertain")
    };
    assert_eq!(others, u8::MAX);
}

#[test]
fn a_device_that_hangs_holds_nothing_up() {
    let fake = Fake::default();
    fake.hangs.store(true, Ordering::SeqCst);
    let mut output = fake.start(10.0);
    wait_until("the device to hang", || {
        fake.connects.load(Ordering::SeqCst) == 1
    });
    let start = Instant::now();
    for round in 0..1000 {
        let label = Label::Expression(Expression::ALL[round % Expression::COUNT]);
        show(&mut output, label);
    }
    let updates = start.elapsed();
    let start = Instant::now();
    output.finish();
    let finish = start.elapsed();
    fake.hangs.store(false, Ordering::SeqCst);
    // The device hangs for ever, so any limit shows that the loop does not wait
    // for it.
    assert!(updates < Duration::from_secs(5), "{updates:?}");
    assert!(finish < Duration::from_secs(5), "{finish:?}");
    assert!(finish >= Duration::from_millis(150), "{finish:?}");
}

#[test]
fn a_device_is_not_written_to_more_often_than_asked() {
    let fake = Fake::default();
    // Every 10 s.
    let mut output = fake.start(0.1);
    wait_until("starting", || fake.shows(&View::Starting));
    show(&mut output, Label::Expression(Expression::Happy));
    thread::sleep(Duration::from_millis(30));
    assert!(fake.shows(&View::Starting));
    // The end does not wait until the next picture is due.
    let start = Instant::now();
    output.finish();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(fake.shows.lock().unwrap().is_none());
}

/// One character per pixel: '#' is lit.
fn to_text(canvas: &Canvas<BinaryColor>) -> String {
    let mut text = String::new();
    for y in 0..canvas.height() {
        text.extend(
            canvas
                .row(y)
                .iter()
                .map(|pixel| if pixel.is_on() { '#' } else { '.' }),
        );
        text.push('\n');
    }
    text
}

/// The pictures at 128x64 and one bit, as a person approved them.
/// `UPDATE_PICTURES=1 cargo test --test stages display` writes them again;
/// check them (`git diff` shows them as text) before you commit.
#[test]
fn the_screen_looks_as_it_was_approved() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/display");
    let renew = std::env::var_os("UPDATE_PICTURES").is_some();
    let mut differing = Vec::new();
    for (name, view) in sample_views() {
        let mut canvas = Canvas::new(128, 64, BinaryColor::Off);
        display::draw(&mut canvas, &view).unwrap();
        let text = to_text(&canvas);
        let path = folder.join(format!("{name}.txt"));
        if renew {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            differing.push(format!("{name}, now:\n{text}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The README's picture: views of the colour panel, and below them of the OLED
/// at twice its size. Written again like the pictures above.
#[test]
fn the_readme_shows_the_screen_as_it_is() {
    let views = sample_views();
    let of = |name: &str| views.iter().find(|(n, _)| *n == name).expect("a view").1;
    let ground = Rgb888::new(0xd8, 0xdd, 0xe4);
    let mut sheet = Canvas::new(4 * 264 + 8, 2 * 256 + 128 + 32, ground);
    for (index, (_, view)) in (0..).zip(&views[..8]) {
        let corner = Point::new(16 + index % 4 * 264, 16 + index / 4 * 256);
        put::<Rgb565>(&mut sheet, corner, Size::new(240, 240), 1, view);
    }
    for (index, name) in (0..).zip(["happy", "surprise", "no-face", "no-camera"]) {
        let corner = Point::new(8 + index * 264, 16 + 2 * 256);
        put::<BinaryColor>(&mut sheet, corner, Size::new(128, 64), 2, &of(name));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/display.png");
    if std::env::var_os("UPDATE_PICTURES").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(&path).unwrap();
        let mut encoder = png::Encoder::new(file, sheet.width(), sheet.height());
        encoder.set_color(png::ColorType::Rgb);
        // Flat colours compress best without a filter.
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::NoFilter);
        let pixels: Vec<u8> = sheet.pixels().iter().flat_map(|p| p.to_rgb()).collect();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels).unwrap();
        writer.finish().unwrap();
    }
    let pixels: Vec<u8> = sheet.pixels().iter().flat_map(|p| p.to_rgb()).collect();
    let (width, height, found) = read_png(&path).expect("docs/display.png");
    assert_eq!((width, height), (sheet.width(), sheet.height()));
    // Sines differ in their last bit between mathematics libraries, so a soft
    // edge may differ by one step of a 5-bit channel.
    let differing = pixels
        .iter()
        .zip(&found)
        .filter(|(now, then)| now.abs_diff(**then) > 9)
        .count();
    assert_eq!(
        differing, 0,
        "docs/display.png shows an older screen; write it again with UPDATE_PICTURES=1"
    );
}

/// Draws a view, enlarged, onto a sheet.
fn put<C: Theme>(sheet: &mut Canvas<Rgb888>, corner: Point, size: Size, zoom: u32, view: &View) {
    let mut canvas = Canvas::new(size.width, size.height, C::of(Part::Ground));
    display::draw(&mut canvas, view).unwrap();
    let canvas = &canvas;
    let colors = (0..size.height * zoom).flat_map(|y| {
        (0..size.width * zoom).map(move |x| {
            let [r, g, b] = canvas.row(y / zoom)[(x / zoom) as usize].to_rgb();
            Rgb888::new(r, g, b)
        })
    });
    sheet
        .fill_contiguous(&Rectangle::new(corner, size * zoom), colors)
        .unwrap();
}

#[test]
fn every_view_differs_from_every_other_in_its_picture_alone() {
    // The face alone, without text or bars, at one bit and 48 pixels.
    let faces: Vec<_> = sample_views()
        .into_iter()
        .map(|(name, view)| {
            let mut canvas = Canvas::new(20, 20, BinaryColor::Off);
            display::draw(&mut canvas, &view).unwrap();
            (name, canvas)
        })
        .collect();
    for (index, (name, face)) in faces.iter().enumerate() {
        for (other, other_face) in &faces[index + 1..] {
            let differing = face
                .pixels()
                .iter()
                .zip(other_face.pixels())
                .filter(|(a, b)| a != b)
                .count();
            assert!(differing >= 10, "{name} and {other}: {differing} pixels");
        }
    }
}

#[test]
fn faces_are_symmetric_where_they_should_be() {
    for (name, view) in sample_views() {
        if !["neutral", "happy", "angry", "surprise", "no-face"].contains(&name) {
            continue;
        }
        let mut canvas = Canvas::new(22, 22, BinaryColor::Off);
        display::draw(&mut canvas, &view).unwrap();
        for y in 0..22 {
            let row = canvas.row(y);
            let mirrored: Vec<_> = row.iter().rev().copied().collect();
            assert_eq!(row, mirrored, "{name}, row {y}\n{}", to_text(&canvas));
        }
    }
}

/// Any view, any target: the pixels drawn are inside, and no panic.
fn draws_inside<C: Theme>(width: u32, height: u32, view: &View) {
    struct Strict<C>(Canvas<C>);
    impl<C: Theme> Dimensions for Strict<C> {
        fn bounding_box(&self) -> Rectangle {
            self.0.bounding_box()
        }
    }
    impl<C: Theme> DrawTarget for Strict<C> {
        type Color = C;
        type Error = std::convert::Infallible;
        fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
        where
            I: IntoIterator<Item = embedded_graphics::Pixel<C>>,
        {
            let bounds = self.bounding_box();
            self.0.draw_iter(
                pixels
                    .into_iter()
                    .inspect(|pixel| assert!(bounds.contains(pixel.0), "{:?}", pixel.0)),
            )
        }
    }
    let mut strict = Strict(Canvas::new(width, height, C::of(Part::Ground)));
    display::draw(&mut strict, view).unwrap();
    for outline in [Outline::Rectangle, Outline::Round] {
        display::draw_watched(&mut strict, view, outline).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_size_and_any_state_are_drawn_inside(
        width in 1u32..=300,
        height in 1u32..=300,
        which in 0..sample_views().len(),
        others in any::<u8>(),
    ) {
        let mut view = sample_views()[which].1;
        if let View::Expression { others: number, .. } | View::Uncertain { others: number, .. } = &mut view {
            *number = others;
        }
        draws_inside::<BinaryColor>(width, height, &view);
        draws_inside::<Rgb565>(width, height, &view);
    }
}

#[test]
fn a_target_that_starts_elsewhere_is_filled_from_there() {
    let view = happy();
    let mut alone = Canvas::new(64, 32, BinaryColor::Off);
    display::draw(&mut alone, &view).unwrap();
    let mut large = Canvas::new(100, 60, BinaryColor::Off);
    let place = Rectangle::new(Point::new(30, 20), Size::new(64, 32));
    display::draw(&mut large.cropped(&place), &view).unwrap();
    for y in 0..32 {
        assert_eq!(&large.row(y + 20)[30..94], alone.row(y));
    }
}
