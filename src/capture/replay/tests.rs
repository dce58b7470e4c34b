use std::path::PathBuf;

use super::pictures::natural_order;
use super::*;

/// A recording of one-pixel frames that count from 0; `None` is a broken frame.
struct Script {
    frames: Vec<Option<u8>>,
    at: usize,
}

impl Recording for Script {
    fn read(&mut self, image: &mut LumaImage) -> Step {
        let Some(frame) = self.frames.get(self.at) else {
            return Step::End;
        };
        self.at += 1;
        (image.width, image.height) = (1, 1);
        match frame {
            Some(value) => {
                image.pixels = vec![*value];
                Step::Frame
            }
            None => Step::Broken("broken on purpose".to_owned()),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.at = 0;
        Ok(())
    }

    fn kind(&self) -> String {
        "script".to_owned()
    }
}

fn play(frames: &[Option<u8>], rate: Rate, options: &Options) -> Result<Player<Script>, String> {
    let script = Script {
        frames: frames.to_vec(),
        at: 0,
    };
    Player::open(script, "script".to_owned(), rate, options)
}

fn fast(repeat: bool) -> Options {
    Options {
        pace: Pace::Fast,
        repeat,
        ..Options::default()
    }
}

/// The value, timestamp in milliseconds and sequence of the next frame.
fn next(player: &mut impl Source) -> Option<(u8, u64, u64)> {
    match player.next(Duration::from_secs(1)) {
        Captured::Frame(frame) => Some((
            frame.luma.row(0)[0],
            frame.timestamp.0.as_millis() as u64,
            frame.sequence,
        )),
        Captured::Ended => None,
        other => panic!("{other:?}"),
    }
}

const TEN: Rate = Rate { num: 10, den: 1 };

#[test]
fn time_comes_from_the_recording() {
    let mut player = play(&[Some(5), Some(6)], TEN, &fast(false)).unwrap();
    assert!(!player.is_live());
    assert_eq!(next(&mut player), Some((5, 0, 0)));
    assert_eq!(next(&mut player), Some((6, 100, 1)));
    assert_eq!(next(&mut player), None);
    assert_eq!(next(&mut player), None);
}

#[test]
fn a_repeated_recording_goes_on_in_time() {
    let mut player = play(&[Some(5), Some(6)], TEN, &fast(true)).unwrap();
    for round in 0..3 {
        assert_eq!(next(&mut player), Some((5, round * 200, round * 2)));
        assert_eq!(
            next(&mut player),
            Some((6, round * 200 + 100, round * 2 + 1))
        );
    }
}

#[test]
fn broken_frames_keep_their_place() {
    let frames = [None, Some(5), None, None, Some(6), None];
    let mut player = play(&frames, TEN, &fast(true)).unwrap();
    assert_eq!(next(&mut player), Some((5, 100, 1)));
    assert_eq!(next(&mut player), Some((6, 400, 4)));
    assert_eq!(next(&mut player), Some((5, 700, 7)));
    assert_eq!(player.broken, 4, "each is counted once");
}

/// The results of `next` until the end: numbers of frames, or the reason of a
/// loss.
fn all(player: &mut impl Source) -> Vec<Result<u64, String>> {
    let mut found = Vec::new();
    loop {
        match player.next(Duration::from_millis(5)) {
            Captured::Frame(frame) => found.push(Ok(frame.sequence)),
            Captured::Lost { reason } => {
                let lost = Err(reason.to_owned());
                if found.last() != Some(&lost) {
                    found.push(lost);
                }
            }
            Captured::Waiting => {}
            Captured::Ended => return found,
            Captured::Skipped => panic!("nobody asked for it"),
        }
    }
}

#[test]
fn many_broken_frames_are_a_loss_in_the_recordings_time() {
    // 800 ms are 8 frames; 7 broken frames before a good one are not too many.
    let mut frames = vec![Some(1); 2];
    frames.extend([None; 7]);
    frames.push(Some(1));
    frames.extend([None; 8]);
    frames.push(Some(1));
    frames.extend([None; 9]);
    let lost =
        || Err("no whole frame for 0.8 s; the last broken one: broken on purpose".to_owned());
    let expected = [Ok(0), Ok(1), Ok(9), lost(), Ok(18), lost()];
    let mut player = play(&frames, TEN, &fast(false)).unwrap();
    assert_eq!(all(&mut player), expected);
    assert_eq!(player.counts().broken, 24);

    // At the recorded pace, ten times as fast, with the same results.
    let options = Options {
        stall_timeout: Duration::from_millis(80),
        ..Options::default()
    };
    let rate = Rate { num: 100, den: 1 };
    let mut player = play(&frames, rate, &options).unwrap();
    let start = Instant::now();
    let places = |found: Vec<Result<u64, String>>| -> Vec<Option<u64>> {
        found.into_iter().map(Result::ok).collect()
    };
    let expected = [Some(0), Some(1), Some(9), None, Some(18), None];
    assert_eq!(places(all(&mut player)), expected);
    assert!(start.elapsed() >= Duration::from_millis(260));
}

#[test]
fn a_slow_recording_is_lost_only_after_three_intervals() {
    let frames = [Some(1), None, None, Some(1), None, None, None, Some(1)];
    let rate = Rate { num: 1, den: 1 };
    let found = all(&mut play(&frames, rate, &fast(false)).unwrap());
    assert!(
        matches!(found[..], [Ok(0), Ok(3), Err(_), Ok(7)]),
        "{found:?}"
    );
}

#[test]
fn a_recording_without_a_frame_is_an_error_with_the_reason() {
    let error = play(&[None, None], TEN, &fast(true)).err().unwrap();
    assert_eq!(error, "broken on purpose");
    assert!(
        play(&[], TEN, &fast(true))
            .err()
            .unwrap()
            .contains("no frame")
    );
}

#[test]
fn a_recording_that_vanishes_ends() {
    let mut player = play(&[Some(5)], TEN, &fast(true)).unwrap();
    assert!(next(&mut player).is_some());
    player.recording.frames.clear();
    assert_eq!(next(&mut player), None);
}

#[test]
fn at_the_recorded_pace_a_frame_waits_until_it_is_due() {
    let options = Options::default();
    let rate = Rate { num: 20, den: 1 };
    let mut player = play(&[Some(5), Some(6)], rate, &options).unwrap();
    assert!(!player.is_live());
    let start = Instant::now();
    assert!(matches!(player.next(Duration::ZERO), Captured::Frame(_)));
    // Due after 50 ms.
    assert!(matches!(
        player.next(Duration::from_millis(5)),
        Captured::Waiting
    ));
    assert!(start.elapsed() >= Duration::from_millis(5));
    assert!(matches!(
        player.next(Duration::from_secs(5)),
        Captured::Frame(_)
    ));
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert!(matches!(player.next(Duration::ZERO), Captured::Ended));
}

#[test]
fn fractional_rates_do_not_drift() {
    let ntsc = Rate {
        num: 30_000,
        den: 1001,
    };
    assert_eq!(ntsc.at(30_000), Duration::from_secs(1001));
    // Two years of it.
    let index = 30_000 * 3600 * 24 * 700 / 1001;
    assert!(ntsc.at(index) <= Duration::from_secs(3600 * 24 * 700));
    assert_eq!(Rate::from_fps(12.5).at(25), Duration::from_secs(2));
    assert_eq!(Rate::from_fps(1e-9).at(1), Duration::from_secs(1000));
}

#[test]
fn files_are_ordered_as_a_person_counts() {
    let mut names = [
        "b.png",
        "frame10.png",
        "a.png",
        "frame2.png",
        "frame02.png",
        "frame1.png",
        "10.png",
        "9.png",
        "frame2a.png",
        "frame.png",
    ]
    .map(PathBuf::from);
    names.sort_by(|a, b| natural_order(a, b));
    assert_eq!(
        names.map(|n| n.display().to_string()),
        [
            "9.png",
            "10.png",
            "a.png",
            "b.png",
            "frame.png",
            "frame1.png",
            "frame02.png",
            "frame2.png",
            "frame2a.png",
            "frame10.png",
        ]
    );
}
