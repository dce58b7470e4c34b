//! The detector finds the same faces as OpenCV, with every kernel and on every
//! picture.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use affectd::detect::{Cascade, DetectError, Detection, Detector, Enhance, Options};
use affectd::frame::LumaView;
use affectd::isa::Isa;
use proptest::prelude::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Gray {
    pixels: Vec<u8>,
    width: u32,
    height: u32,
}

impl Gray {
    fn load(path: &Path) -> Self {
        let file = std::fs::File::open(path).unwrap();
        let mut reader = png::Decoder::new(std::io::BufReader::new(file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.color_type, png::ColorType::Grayscale);
        Self {
            pixels,
            width: info.width,
            height: info.height,
        }
    }

    fn view(&self) -> LumaView<'_> {
        LumaView::new(&self.pixels, self.width, self.height, self.width as usize).unwrap()
    }
}

fn astronaut() -> Gray {
    Gray::load(&root().join("tests/data/photos/astronaut-gray.png"))
}

fn frontal_face() -> Cascade {
    Cascade::load(&root().join("models/haarcascade_frontalface_default.xml")).unwrap()
}

/// A search recorded from OpenCV by `scripts/compare-opencv --record`.
#[derive(serde::Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    picture: PathBuf,
    cascade: PathBuf,
    scale_factor: f64,
    min_neighbors: u32,
    min_size: u32,
    max_size: u32,
    enhance: Enhance,
    /// x, y, width, height, neighbours
    faces: Vec<(i32, i32, u32, u32, u32)>,
}

#[test]
fn rectangles_equal_those_of_opencv() {
    let cases: Vec<Case> = ["opencv", "opencv-equalize", "opencv-clahe", "opencv-other"]
        .iter()
        .flat_map(|name| {
            let path = root().join(format!("tests/data/detect/{name}.json"));
            let text = std::fs::read_to_string(path).unwrap();
            serde_json::from_str::<Recorded>(&text).unwrap().cases
        })
        .collect();
    assert!(cases.len() > 100 && cases.iter().any(|case| case.faces.len() > 50));
    let mut cascades = HashMap::new();
    for case in &cases {
        let picture = Gray::load(&root().join(&case.picture));
        let cascade = cascades
            .entry(&case.cascade)
            .or_insert_with(|| Cascade::load(&root().join(&case.cascade)).unwrap());
        let options = Options {
            scale_factor: case.scale_factor,
            min_neighbors: case.min_neighbors,
            min_size: (case.min_size, case.min_size),
            max_size: (case.max_size > 0).then_some((case.max_size, case.max_size)),
            enhance: case.enhance,
        };
        for isa in Isa::available() {
            let mut detector = Detector::with_isa(cascade.clone(), options.clone(), isa).unwrap();
            let found: Vec<_> = detector
                .detect(picture.view())
                .iter()
                .map(|d| (d.rect.x, d.rect.y, d.rect.width, d.rect.height, d.neighbors))
                .collect();
            assert_eq!(
                found,
                case.faces,
                "{} with {} by {isa}, {options:?}",
                case.picture.display(),
                case.cascade.display()
            );
        }
    }
}

#[test]
fn plain_and_tiny_pictures_contain_no_face() {
    let mut detector = Detector::new(frontal_face(), Options::default()).unwrap();
    for (width, height) in [(1, 1), (23, 23), (24, 24), (5, 3000), (640, 480), (1, 1)] {
        let pixels = vec![200; (width * height) as usize];
        let view = LumaView::new(&pixels, width, height, width as usize).unwrap();
        assert_eq!(detector.detect(view), [], "{width}x{height}");
    }
}

#[test]
fn bytes_between_rows_are_ignored() {
    let picture = astronaut();
    let mut detector = Detector::new(frontal_face(), Options::default()).unwrap();
    let expected = detector.detect(picture.view()).to_vec();
    assert_eq!(expected.len(), 1);
    let stride = picture.width as usize + 13;
    let mut padded = vec![0xaa; stride * picture.height as usize];
    for (row, pixels) in padded.chunks_exact_mut(stride).zip(picture.view().rows()) {
        row[..pixels.len()].copy_from_slice(pixels);
    }
    let view = LumaView::new(&padded, picture.width, picture.height, stride).unwrap();
    assert_eq!(detector.detect(view), expected);
}

/// The sum over all pixels above the face and the sum over their squares both
/// need more than 32 bits.
#[test]
fn a_small_face_in_the_corner_of_a_huge_white_picture_is_found() {
    let (width, height) = (7000, 2500);
    let face = astronaut();
    // A quarter of its size: a face of 25 pixels, found at the finest levels,
    // where the sums are largest.
    let (face_width, face_height) = (face.width as usize / 4, face.height as usize / 4);
    let (left, top) = (width - face_width, height - face_height);
    let mut pixels = vec![255; width * height];
    for y in 0..face_height {
        for x in 0..face_width {
            let sum: u32 = (0..16)
                .map(|i| (4 * y + i / 4) * face.width as usize + 4 * x + i % 4)
                .map(|at| u32::from(face.pixels[at]))
                .sum();
            pixels[(top + y) * width + left + x] = (sum / 16) as u8;
        }
    }
    let view = LumaView::new(&pixels, width as u32, height as u32, width).unwrap();
    let options = Options {
        max_size: Some((30, 30)),
        min_neighbors: 2,
        ..Options::default()
    };
    let mut detector = Detector::new(frontal_face(), options).unwrap();
    let found = detector.detect(view);
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = affectd::frame::Rect::new(left as i32 + 12, top as i32 + 16, 25, 25);
    assert!(found[0].rect.overlap(expected) > 0.7, "{found:?}");
}

#[test]
fn the_largest_picture_is_searched() {
    let pixels = vec![128; 8000 * 8000];
    let view = LumaView::new(&pixels, 8000, 8000, 8000).unwrap();
    let options = Options {
        min_size: (1000, 1000),
        enhance: Enhance::Equalize,
        ..Options::default()
    };
    let mut detector = Detector::new(frontal_face(), options).unwrap();
    assert_eq!(detector.detect(view), []);
    assert!(detector.levels().len() > 20);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refused = |options: Options| Detector::new(frontal_face(), options).unwrap_err();
    for scale_factor in [1.0, 1.001, -1.0, 11.0, f64::NAN] {
        let error = refused(Options {
            scale_factor,
            ..Options::default()
        });
        assert!(matches!(error, DetectError::ScaleFactor(_)), "{error}");
    }
    let error = refused(Options {
        min_neighbors: 1001,
        ..Options::default()
    });
    assert_eq!(
        error.to_string(),
        "min_neighbors is 1001, but must be from 0 to 1000"
    );
    let error = refused(Options {
        min_size: (80, 80),
        max_size: Some((100, 79)),
        ..Options::default()
    });
    assert_eq!(
        error.to_string(),
        "the largest face (100x79) is smaller than the smallest (80x80)"
    );
}

/// A random cascade: `node` writes the nodes of each of its trees.
fn cascade_xml(kind: &str, categories: u32, features: &str, stages: &str) -> String {
    format!(
        "<opencv_storage><cascade><stageType>BOOST</stageType><featureType>{kind}</featureType>\
         <height>{WINDOW}</height><width>{WINDOW}</width>\
         <featureParams><maxCatCount>{categories}</maxCatCount></featureParams>\
         <stages>{stages}</stages><features>{features}</features></cascade></opencv_storage>"
    )
}

const WINDOW: u32 = 12;

/// Random numbers for a cascade, all from one stream.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % u64::from(sides)) as u32
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len() as u32) as usize]
    }
}

/// Haar features of all shapes, upright and tilted, in stumps and trees. Leaves
/// and stage thresholds are small multiples of 1/4, so that a stage's sum is
/// often equal to its threshold.
fn haar_cascade(dice: &mut Dice) -> String {
    let mut features = String::new();
    let count = 12;
    for _ in 0..count {
        let tilted = dice.roll(4) == 0;
        let (w, h) = (1 + dice.roll(2), 1 + dice.roll(2));
        let (x, y) = if tilted {
            (4 + dice.roll(4), dice.roll(4))
        } else {
            (dice.roll(6), dice.roll(6))
        };
        let rects = match dice.roll(5) {
            0 => format!("<_>{x} {y} {} {h} -1.</_><_>{x} {y} {w} {h} 2.</_>", 2 * w),
            1 if !tilted => format!(
                "<_>{x} {y} {} {h} -1.</_><_>{} {y} {w} {h} 3.</_>",
                3 * w,
                x + w
            ),
            2 if !tilted => format!(
                "<_>{x} {y} {} {} -1.</_><_>{x} {y} {w} {h} 2.</_><_>{} {} {w} {h} 2.</_>",
                2 * w,
                2 * h,
                x + w,
                y + h
            ),
            3 if !tilted => format!(
                "<_>{x} {y} {} {} -1.</_><_>{} {y} {w} {h} 2.</_><_>{x} {} {w} {h} 2.</_>",
                2 * w,
                2 * h,
                x + w,
                y + h
            ),
            _ => format!("<_>{x} {y} {w} {h} -1.</_><_>{x} {y} 1 1 -4.</_>"),
        };
        write!(
            features,
            "<_><rects>{rects}</rects><tilted>{}</tilted></_>",
            u8::from(tilted)
        )
        .unwrap();
    }
    let mut stages = String::new();
    for _ in 0..4 {
        let mut trees = String::new();
        for _ in 0..1 + dice.roll(6) {
            let mut node = |left: i32, right: i32| {
                let feature = dice.roll(count);
                let threshold = f64::from(dice.roll(200)) / 4000.0 - 0.025;
                format!("{left} {right} {feature} {threshold} ")
            };
            let (nodes, leaves) = match node(0, -1) {
                stump if stump.len() % 3 != 0 => (stump, 2),
                _ => (node(1, 2) + &node(0, -1) + &node(-2, -3), 4),
            };
            let leaves: String = (0..leaves)
                .map(|_| format!("{} ", f64::from(dice.roll(9)) / 4.0 - 1.0))
                .collect();
            write!(
                trees,
                "<_><internalNodes>{nodes}</internalNodes><leafValues>{leaves}</leafValues></_>"
            )
            .unwrap();
        }
        // Exactly a multiple of 1/4, after OpenCV's epsilon is subtracted.
        let threshold = dice.pick(&["-1.0", "-0.75", "-0.25", "-0.24999", "0.00001"]);
        write!(
            stages,
            "<_><stageThreshold>{threshold}</stageThreshold>\
             <weakClassifiers>{trees}</weakClassifiers></_>"
        )
        .unwrap();
    }
    cascade_xml("HAAR", 0, &features, &stages)
}

fn lbp_cascade(dice: &mut Dice) -> String {
    let mut features = String::new();
    let count = 8;
    for _ in 0..count {
        let (w, h) = (1 + dice.roll(3), 1 + dice.roll(3));
        let (x, y) = (dice.roll(WINDOW - 3 * w + 1), dice.roll(WINDOW - 3 * h + 1));
        write!(features, "<_><rect>{x} {y} {w} {h}</rect></_>").unwrap();
    }
    let mut stages = String::new();
    for _ in 0..3 {
        let mut trees = String::new();
        for _ in 0..1 + dice.roll(4) {
            let subset: String = (0..8)
                .map(|_| format!("{} ", (dice.roll(u32::MAX) << 1 | dice.roll(2)) as i32))
                .collect();
            write!(
                trees,
                "<_><internalNodes>0 -1 {} {subset}</internalNodes>\
                 <leafValues>-0.75 0.5</leafValues></_>",
                dice.roll(count)
            )
            .unwrap();
        }
        write!(
            stages,
            "<_><stageThreshold>{}</stageThreshold><weakClassifiers>{trees}</weakClassifiers></_>",
            dice.pick(&["-0.25", "-0.5", "0."])
        )
        .unwrap();
    }
    cascade_xml("LBP", 256, &features, &stages)
}

fn windows(cascade: &Cascade, isa: Isa, picture: &Gray, factor: f64) -> Vec<Detection> {
    let options = Options {
        min_neighbors: 0,
        scale_factor: factor,
        ..Options::default()
    };
    Detector::with_isa(cascade.clone(), options, isa)
        .unwrap()
        .detect(picture.view())
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn all_kernels_find_the_same_windows(
        seed in any::<u64>(),
        lbp in any::<bool>(),
        (width, height) in (8..150_u32, 8..70_u32),
        smooth in 1..6_u32,
        factor in 1.05..1.6_f64,
    ) {
        let mut dice = Dice(seed);
        let xml = if lbp { lbp_cascade(&mut dice) } else { haar_cascade(&mut dice) };
        let cascade = Cascade::parse(&xml).unwrap();
        let coarse: Vec<u32> = (0..64 * 64).map(|_| dice.roll(240)).collect();
        let pixels = (0..width * height)
            .map(|at| {
                let (x, y) = (at % width / smooth, at / width / smooth);
                (coarse[(y % 64 * 64 + x % 64) as usize] + dice.roll(16)) as u8
            })
            .collect();
        let picture = Gray { pixels, width, height };
        let expected = windows(&cascade, Isa::Scalar, &picture, factor);
        for isa in Isa::available() {
            let found = windows(&cascade, isa, &picture, factor);
            prop_assert_eq!(&found, &expected, "{}", isa);
        }
    }
}

/// The property above means something only if some windows pass and some fail.
#[test]
fn random_cascades_pass_some_windows() {
    let picture = astronaut();
    let (mut some, mut passed) = (0, 0);
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let xml = if seed % 2 == 0 {
            lbp_cascade(&mut dice)
        } else {
            haar_cascade(&mut dice)
        };
        let count = windows(&Cascade::parse(&xml).unwrap(), Isa::Scalar, &picture, 1.3).len();
        some += usize::from(count > 0);
        passed += count;
    }
    assert!(some >= 20, "{some} cascades pass anything");
    assert!(passed > 1000 && passed < 40 * 20_000, "{passed} windows");
}
