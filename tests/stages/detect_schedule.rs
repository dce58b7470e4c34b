//! A search around tracked faces finds the same as a full search, with a tenth
//! of the work, and no frame's search takes more than its budget.

use std::path::Path;

use crate::scenes::{Scene, agree, two_people};
use affectd::detect::{Cascade, Detection, Detector, Expected, Options, Search, SearchOptions};
use affectd::frame::{Rect, Timestamp};
use affectd::track::{self, Tracker};

fn detector(min_size: u32) -> Detector {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/haarcascade_frontalface_default.xml");
    let options = Options {
        min_size: (min_size, min_size),
        min_neighbors: 5,
        ..Options::default()
    };
    Detector::new(Cascade::load(&path).unwrap(), options).unwrap()
}

fn search(min_size: u32, options: SearchOptions) -> Search {
    Search::new(detector(min_size), options).unwrap()
}

fn rects(detections: &[Detection]) -> Vec<Rect> {
    detections.iter().map(|detection| detection.rect).collect()
}

fn expected(detections: &[Detection]) -> Vec<Expected> {
    Expected::numbered(rects(detections)).collect()
}

/// The time of a frame at 30 per second.
fn at(number: u32) -> Timestamp {
    Timestamp::from_millis(u64::from(number) * 100 / 3)
}

/// With the default options of a board file.
#[test]
fn around_moving_faces_the_boxes_are_those_of_a_full_search() {
    let scene = Scene::new(640, 480);
    let mut full = search(
        60,
        SearchOptions {
            full_search_ms: 0,
            ..SearchOptions::default()
        },
    );
    let mut tracking = search(60, SearchOptions::default());
    let mut tracker = Tracker::new(track::Options::default());
    let frames = 300;
    let (mut agreeing, mut around) = (0, 0);
    let (mut full_work, mut tracking_work) = (0, 0);
    for number in 0..frames {
        let pixels = scene.frame(&two_people(number));
        let picture = scene.view(&pixels);
        let expected = full.find(picture, at(number), &[]);
        assert!(expected.full);
        full_work += expected.work;

        let tracked: Vec<_> = tracker.expected().collect();
        let found = tracking.find(picture, at(number), &tracked);
        tracking_work += found.work;
        around += u32::from(!found.full);
        agreeing += u32::from(agree(
            &rects(found.detections),
            &rects(expected.detections),
            0.8,
        ));
        assert_eq!(expected.detections.len(), 2, "two people in frame {number}");
        tracker.follow(at(number), picture.bounds(), &found, |_| None);
    }
    assert!(
        agreeing * 100 >= frames * 99,
        "{agreeing} of {frames} frames agree"
    );
    // A full search every second, that is every 30 frames.
    assert!((285..=292).contains(&around), "{around} around faces");
    let part = tracking_work as f64 / full_work as f64;
    assert!(part <= 0.1, "following takes {part:.4} of full searches");
}

#[test]
fn a_new_face_is_found_within_the_period() {
    let scene = Scene::new(480, 360);
    let mut search = search(
        40,
        SearchOptions {
            full_search_ms: 300,
            ..SearchOptions::default()
        },
    );
    let both = [(0.0, 60.0, 0.6), (170.0, 30.0, 0.7)];
    let mut tracked = Vec::new();
    let mut appeared = None;
    for number in 0..60 {
        // The second face comes in with frame 20.
        let pixels = scene.frame(if number < 20 { &both[..1] } else { &both });
        let found = search.find(scene.view(&pixels), at(number), &tracked);
        tracked = expected(found.detections);
        if tracked.len() == 2 && appeared.is_none() {
            assert!(found.full);
            appeared = Some(number);
        }
    }
    let appeared = appeared.expect("the second face was never found");
    assert!((20..=29).contains(&appeared), "found in frame {appeared}");
    assert_eq!(tracked.len(), 2);
}

#[test]
fn a_lost_face_starts_a_full_search_at_once() {
    let scene = Scene::new(480, 360);
    let mut search = search(
        40,
        SearchOptions {
            full_search_ms: 10_000,
            idle_search_ms: 10_000,
            ..SearchOptions::default()
        },
    );
    let here = scene.frame(&[(0.0, 40.0, 0.7)]);
    let there = scene.frame(&[(170.0, 40.0, 0.7)]);
    let first = expected(search.find(scene.view(&here), at(0), &[]).detections);
    assert_eq!(first.len(), 1);
    assert!(!search.find(scene.view(&here), at(1), &first).full);
    // The face jumps so far that a search around its place does not find it.
    let found = search.find(scene.view(&there), at(2), &first);
    assert!(found.full);
    let second = rects(found.detections);
    assert_eq!(second.len(), 1);
    assert!(second[0].x > 150, "{second:?}");
}

/// Work of a full search of a picture.
fn full_work(scene: &Scene, pixels: &[u8]) -> u64 {
    search(40, SearchOptions::default())
        .find(scene.view(pixels), at(0), &[])
        .work
}

/// A search with a budget per frame of `part` of that work.
fn with_budget(full_work: u64, part: f64) -> Search {
    let budget_ms = 2.0;
    let options = SearchOptions {
        budget_ms,
        // Not 0, which means that the rate is measured.
        work_per_ms: (full_work as f64 * part / budget_ms).max(1e-3),
        ..SearchOptions::default()
    };
    search(40, options)
}

/// The work of the most expensive row of windows in a picture: with a tiny
/// budget, a search continues by one row per frame. The work of a row is only
/// estimated before it runs, so a frame may exceed its budget by this much.
fn most_expensive_row(scene: &Scene, pixels: &[u8]) -> u64 {
    let mut search = with_budget(1, 0.0);
    let mut most = 0;
    for number in 0.. {
        let found = search.find(scene.view(pixels), at(number), &[]);
        most = most.max(found.work);
        if found.full {
            assert!(number > 100, "{number} rows are not all");
            return most;
        }
    }
    unreachable!("a search ends");
}

#[test]
fn a_budget_spreads_a_full_search_over_frames() {
    let scene = Scene::new(480, 360);
    let pixels = scene.frame(&[(20.0, 40.0, 0.7), (190.0, 90.0, 0.5)]);
    let mut whole = detector(40);
    let expected = whole.detect(scene.view(&pixels)).to_vec();
    assert_eq!(expected.len(), 2);
    let full_work = full_work(&scene, &pixels);
    let row = most_expensive_row(&scene, &pixels);
    assert!(row < full_work / 100, "a row of {row} of {full_work}");

    let run = || {
        let mut search = with_budget(full_work, 0.1);
        let budget = search.budget().unwrap();
        let mut frames = Vec::new();
        for number in 0..40 {
            let found = search.find(scene.view(&pixels), at(number), &[]);
            assert!(found.work <= budget + row, "{} of {budget}", found.work);
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
        // The picture does not change, so the spread search finds the same
        // faces.
        assert_eq!(detections, if *full { &expected[..] } else { &[] });
        for time in searched_at {
            assert!(*time < at(first as u32));
        }
    }
    // The larger face was searched for and found in an earlier frame.
    let (_, detections, searched_at) = &frames[first];
    let larger = usize::from(detections[1].rect.width > detections[0].rect.width);
    assert!(searched_at[larger] <= searched_at[1 - larger]);
    assert_eq!(run(), frames, "not the same twice");
}

#[test]
fn within_a_budget_tracked_faces_take_turns_and_none_is_lost() {
    let scene = Scene::new(480, 360);
    let places = [
        (-10.0, 0.0, 0.6),
        (110.0, -10.0, 0.6),
        (230.0, 0.0, 0.6),
        (340.0, -10.0, 0.6),
        (10.0, 190.0, 0.6),
        (130.0, 190.0, 0.6),
        (250.0, 200.0, 0.6),
    ];
    let pixels = scene.frame(&places);
    let picture = scene.view(&pixels);
    let mut whole = detector(40);
    let faces = expected(whole.detect(picture));
    assert_eq!(faces.len(), places.len());
    let full_work = full_work(&scene, &pixels);
    let row = most_expensive_row(&scene, &pixels);
    let around = {
        let mut search = search(40, SearchOptions::default());
        search.find(picture, at(0), &faces);
        search.find(picture, at(1), &faces).work
    };
    // Not enough for all faces in one frame, while a full search is always
    // running.
    let mut search = with_budget(full_work, 0.6 * around as f64 / full_work as f64);
    let budget = search.budget().unwrap();

    let mut tracker = Tracker::new(track::Options::default());
    let (mut found_all, mut turns, mut above) = (None, 0, 0);
    for number in 0..200 {
        let tracked: Vec<_> = tracker.expected().collect();
        let found = search.find(picture, at(number), &tracked);
        // Up to eight rows are searched together, and with so many faces side
        // by side a row differs much from the rows before it.
        assert!(found.work <= budget + 8 * row, "{} of {budget}", found.work);
        above += u32::from(found.work > budget + row);
        let keys: Vec<_> = tracked.iter().map(|face| face.key).collect();
        assert!(found.looked.iter().all(|key| keys.contains(key)));
        if !tracked.is_empty() {
            assert!(!found.looked.is_empty(), "in frame {number}");
        }
        turns += u32::from(found.looked.len() < tracked.len());
        let tracks = tracker.follow(at(number), picture.bounds(), &found, |_| None);
        if tracks.len() == faces.len() && found_all.is_none() {
            found_all = Some(number);
        }
        if found_all.is_some() {
            assert_eq!(tracks.len(), faces.len(), "in frame {number}");
            for track in tracks {
                // Each face is searched every few frames, and its track has the
                // time.
                let age = at(number).since(track.searched).as_millis();
                assert!(age <= 200, "{age} ms ago in frame {number}");
                assert_eq!(track.searched, track.last_seen);
                assert_eq!(track.found, age == 0);
            }
        }
    }
    assert!(above <= 10, "{above} of 200 frames took more by over a row");
    let found_all = found_all.expect("not all faces were found");
    assert!(found_all < 100, "all faces only in frame {found_all}");
    assert!(turns > 50, "{turns} frames did not look at all faces");
}

/// A face that was left out because the budget was used up is the first in the
/// next frame, wherever it is in the list then.
#[test]
fn turns_go_by_face_and_not_by_place_in_a_list() {
    let scene = Scene::new(480, 360);
    let pixels = scene.frame(&[(-10.0, 0.0, 0.6), (170.0, 0.0, 0.6), (330.0, 0.0, 0.6)]);
    let picture = scene.view(&pixels);
    let mut faces = expected(detector(40).detect(picture));
    assert_eq!(faces.len(), 3);
    for (face, key) in faces.iter_mut().zip([70, 50, 60]) {
        face.key = key;
    }
    // So little that one face uses all of it.
    let mut search = with_budget(full_work(&scene, &pixels), 0.001);
    let mut looked = Vec::new();
    for number in 0..6 {
        looked.extend_from_slice(search.find(picture, at(number), &faces).looked);
        faces.rotate_left(1);
    }
    assert_eq!(looked, [70, 50, 60, 70, 50, 60]);
}

#[test]
fn options_out_of_range_are_refused() {
    let error = Search::new(
        detector(40),
        SearchOptions {
            margin: 0.0,
            ..SearchOptions::default()
        },
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "margin is 0, but must be from 0.1 to 4");
}
