//! Looking around tracked faces finds what looking everywhere finds, for a
//! tenth of the work, and a full search keeps to its budget.

use std::path::Path;

use affectd::detect::{Cascade, Detection, Detector, Options, Search, SearchOptions};
use affectd::frame::{LumaView, Rect, Timestamp};

const WIDTH: u32 = 480;
const HEIGHT: u32 = 360;

struct Gray {
    pixels: Vec<u8>,
    width: u32,
    height: u32,
}

fn astronaut() -> Gray {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos/astronaut-gray.png");
    let file = std::fs::File::open(path).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    Gray {
        pixels,
        width: info.width,
        height: info.height,
    }
}

/// A face on textured ground: the photograph, `scale` times as large, with its
/// left top corner at `(x, y)`.
fn scene(face: &Gray, places: &[(f64, f64, f64)]) -> Vec<u8> {
    let mut pixels: Vec<u8> = (0..WIDTH * HEIGHT)
        .map(|at| {
            let (x, y) = (at % WIDTH, at / WIDTH);
            (100 + ((x * 7) ^ (y * 13)) % 23 + (x / 16 + y / 12) % 5 * 8) as u8
        })
        .collect();
    for &(left, top, scale) in places {
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (u, v) = ((f64::from(x) - left) / scale, (f64::from(y) - top) / scale);
                let (right, bottom) = (f64::from(face.width - 1), f64::from(face.height - 1));
                if u < 0.0 || v < 0.0 || u >= right || v >= bottom {
                    continue;
                }
                let at = |x: f64, y: f64| {
                    f64::from(face.pixels[(y as u32 * face.width + x as u32) as usize])
                };
                let (fu, fv) = (u.fract(), v.fract());
                let value = at(u, v) * (1.0 - fu) * (1.0 - fv)
                    + at(u + 1.0, v) * fu * (1.0 - fv)
                    + at(u, v + 1.0) * (1.0 - fu) * fv
                    + at(u + 1.0, v + 1.0) * fu * fv;
                pixels[(y * WIDTH + x) as usize] = value as u8;
            }
        }
    }
    pixels
}

fn view(pixels: &[u8]) -> LumaView<'_> {
    LumaView::new(pixels, WIDTH, HEIGHT, WIDTH as usize).unwrap()
}

fn detector() -> Detector {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/haarcascade_frontalface_default.xml");
    let options = Options {
        min_size: (30, 30),
        ..Options::default()
    };
    Detector::new(Cascade::load(&path).unwrap(), options).unwrap()
}

fn search(options: SearchOptions) -> Search {
    Search::new(detector(), options).unwrap()
}

/// Where the face is in frame `number`: moving across, up and down, nearer and
/// farther.
fn moving(number: u32) -> (f64, f64, f64) {
    let t = f64::from(number) / 30.0;
    (
        20.0 + 230.0 * (0.5 - 0.5 * (t * 1.1).cos()),
        10.0 + 130.0 * (0.5 - 0.5 * (t * 1.7).cos()),
        0.6 + 0.25 * (t * 0.9).sin(),
    )
}

fn rects(detections: &[Detection]) -> Vec<Rect> {
    detections.iter().map(|detection| detection.rect).collect()
}

#[test]
fn around_a_moving_face_the_boxes_are_those_of_a_full_search() {
    let face = astronaut();
    let mut full = search(SearchOptions {
        full_search_ms: 0,
        ..SearchOptions::default()
    });
    let mut tracking = search(SearchOptions::default());
    let mut tracked = Vec::new();
    let (mut frames, mut agree, mut around) = (0, 0, 0);
    let (mut full_work, mut around_work) = (0, 0);
    for number in 0..80 {
        let pixels = scene(&face, &[moving(number)]);
        let now = Timestamp::from_millis(u64::from(number) * 33);
        let expected = full.find(view(&pixels), now, &[]);
        assert!(expected.full);
        full_work += expected.work;
        let expected = rects(expected.detections);

        let found = tracking.find(view(&pixels), now, &tracked);
        if !found.full {
            around += 1;
            around_work += found.work;
        }
        tracked = rects(found.detections);
        frames += 1;
        agree += u32::from(
            tracked.len() == expected.len()
                && tracked
                    .iter()
                    .zip(&expected)
                    .all(|(a, b)| a.overlap(*b) >= 0.8),
        );
    }
    assert!(agree * 100 >= frames * 99, "{agree} of {frames} agree");
    // A full search every half second, that is every 16 frames.
    assert!(
        (70..=76).contains(&around),
        "{around} frames around the face"
    );
    let part = (around_work as f64 / f64::from(around)) / (full_work as f64 / f64::from(frames));
    assert!(
        part < 0.1,
        "looking around costs {part:.3} of a full search"
    );
}

#[test]
fn a_new_face_is_found_within_the_period() {
    let face = astronaut();
    let mut search = search(SearchOptions {
        full_search_ms: 300,
        ..SearchOptions::default()
    });
    let first = (0.0, 60.0, 0.6);
    let second = (170.0, 30.0, 0.7);
    let mut tracked = Vec::new();
    let mut appeared = None;
    for number in 0..60_u64 {
        let both = [first, second];
        // The second face comes in with frame 20.
        let pixels = scene(&face, if number < 20 { &both[..1] } else { &both });
        let now = Timestamp::from_millis(number * 33);
        let found = search.find(view(&pixels), now, &tracked);
        tracked = rects(found.detections);
        if tracked.len() == 2 && appeared.is_none() {
            assert!(found.full);
            appeared = Some(number);
        }
    }
    let appeared = appeared.expect("the second face was never found");
    assert!((20..=30).contains(&appeared), "found in frame {appeared}");
    assert_eq!(tracked.len(), 2);
}

#[test]
fn a_lost_face_starts_a_full_search_at_once() {
    let face = astronaut();
    let mut search = search(SearchOptions {
        full_search_ms: 10_000,
        idle_search_ms: 10_000,
        ..SearchOptions::default()
    });
    let here = scene(&face, &[(0.0, 40.0, 0.7)]);
    let there = scene(&face, &[(170.0, 40.0, 0.7)]);
    let at = |number: u64| Timestamp::from_millis(number * 33);
    let first = rects(search.find(view(&here), at(0), &[]).detections);
    assert_eq!(first.len(), 1);
    assert!(!search.find(view(&here), at(1), &first).full);
    // The face jumps too far to be found around its place.
    let found = search.find(view(&there), at(2), &first);
    assert!(found.full);
    let second = rects(found.detections);
    assert_eq!(second.len(), 1);
    assert!(second[0].x > 150, "{second:?}");
}

#[test]
fn a_budget_spreads_a_full_search_over_frames() {
    let face = astronaut();
    let pixels = scene(&face, &[(20.0, 40.0, 0.7), (190.0, 90.0, 0.5)]);
    let mut whole = detector();
    let expected = whole.detect(view(&pixels)).to_vec();
    assert_eq!(expected.len(), 2);
    let full_work = search(SearchOptions::default())
        .find(view(&pixels), Timestamp::default(), &[])
        .work;

    let budget_ms = 2.0;
    let work_per_ms = full_work as f64 / budget_ms / 10.0;
    let options = SearchOptions {
        budget_ms,
        work_per_ms,
        ..SearchOptions::default()
    };
    let run = || {
        let mut search = search(options.clone());
        let budget = search.budget().unwrap();
        let mut frames = Vec::new();
        for number in 0..40_u64 {
            let now = Timestamp::from_millis(number * 33);
            let found = search.find(view(&pixels), now, &[]);
            // What the last row takes is foreseen, not known.
            assert!(
                found.work < budget + budget / 20,
                "{} of {budget}",
                found.work
            );
            frames.push((
                found.full,
                found.detections.to_vec(),
                found.searched_at.to_vec(),
            ));
        }
        frames
    };
    let frames = run();
    let first = frames.iter().position(|frame| frame.0).unwrap();
    assert!((8..=16).contains(&first), "ended in frame {first}");
    for (full, detections, searched_at) in &frames[..=first] {
        // The picture stands still: the spread search finds the same.
        assert_eq!(detections, if *full { &expected[..] } else { &[] });
        for time in searched_at {
            assert!(*time < Timestamp::from_millis(first as u64 * 33));
        }
    }
    // The larger face was searched for, and found, in an earlier frame.
    let (_, detections, searched_at) = &frames[first];
    let larger = usize::from(detections[1].rect.width > detections[0].rect.width);
    assert!(searched_at[larger] <= searched_at[1 - larger]);
    assert_eq!(run(), frames, "not the same twice");
}

#[test]
fn options_out_of_range_are_refused() {
    let error = Search::new(
        detector(),
        SearchOptions {
            margin: 0.0,
            ..SearchOptions::default()
        },
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "margin = 0: from 0.1 to 4 is accepted");
}
