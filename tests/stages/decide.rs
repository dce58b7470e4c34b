//! The decide stage on realistic sequences of probabilities, and on arbitrary
//! ones.

use std::collections::BTreeMap;
use std::time::Duration;

use affectd::decide::{Decider, ExpressionDecision, Label, Options};
use affectd::frame::Timestamp;
use affectd::observe::Observations;
use affectd::observe::expression::{Expression, Probabilities};
use affectd::track::{FaceKey, Slot};
use proptest::prelude::*;

/// Lines of a time in milliseconds and seven probabilities, or dashes where
/// there is no face; `#` opens a comment.
fn parse(text: &str) -> Vec<(Timestamp, Option<Probabilities>)> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut fields = line.split_whitespace();
            let millis = fields.next().unwrap().parse().unwrap();
            let values: Vec<f32> = fields.filter_map(|field| field.parse().ok()).collect();
            let probabilities = <[f32; 7]>::try_from(values).ok().map(Probabilities);
            (Timestamp::from_millis(millis), probabilities)
        })
        .collect()
}

fn sequence(name: &str) -> Vec<(Timestamp, Option<Probabilities>)> {
    let path = format!(
        "{}/tests/data/sequences/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    parse(&std::fs::read_to_string(path).unwrap())
}

fn key(id: u32) -> FaceKey {
    FaceKey {
        id,
        slot: Slot::new(id as usize % 32).unwrap(),
    }
}

fn observed(expression: Option<Probabilities>) -> Observations {
    Observations {
        expression,
        ..Observations::default()
    }
}

/// The decisions about a face that some frames show, each with the frame's
/// time.
fn decide(
    options: Options,
    looks: &[(Timestamp, Option<Probabilities>)],
) -> Vec<(Timestamp, Option<ExpressionDecision>)> {
    let mut decider = Decider::new(options);
    looks
        .iter()
        .map(|&(now, probabilities)| {
            let face = probabilities.map(|_| key(1));
            decider.begin_frame(now, face);
            let decision = face.map(|face| decider.decide(face, &observed(probabilities)));
            (now, decision.map(|decision| decision.expression))
        })
        .collect()
}

/// The sequence of labels, each with the time in milliseconds at which it
/// began.
fn story(decisions: &[(Timestamp, Option<ExpressionDecision>)]) -> Vec<(&'static str, u128)> {
    let mut story: Vec<(&'static str, u128)> = Vec::new();
    for (now, decision) in decisions {
        let (name, since) = match decision {
            None => ("none", *now),
            Some(decision) => (decision.label.name(), decision.since),
        };
        if story.last().is_none_or(|last| last.0 != name) {
            story.push((name, since.0.as_millis()));
        }
    }
    story
}

fn names(decisions: &[(Timestamp, Option<ExpressionDecision>)]) -> Vec<&'static str> {
    story(decisions).into_iter().map(|(name, _)| name).collect()
}

/// How often the most probable class changes from one look to the next.
fn raw_changes(looks: &[(Timestamp, Option<Probabilities>)]) -> usize {
    let tops: Vec<_> = looks.iter().map(|(_, p)| p.map(|p| p.top().0)).collect();
    tops.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn a_smile_is_followed_within_a_time_constant_or_so() {
    let looks = sequence("smile");
    let story = story(&decide(Options::default(), &looks));
    let names: Vec<_> = story.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["neutral", "happy", "neutral"], "{story:?}");
    // The smile is complete at 1.3 s and ends at 2.8 s.
    assert!((1200..1700).contains(&story[1].1), "{story:?}");
    assert!((2900..3300).contains(&story[2].1), "{story:?}");
}

#[test]
fn outliers_are_not_shown() {
    let looks = sequence("outliers");
    assert!(raw_changes(&looks) >= 6);
    assert_eq!(names(&decide(Options::default(), &looks)), ["neutral"]);
}

#[test]
fn without_smoothing_and_dwell_outliers_are_shown() {
    let options = Options {
        time_constant: Duration::ZERO,
        dwell: Duration::ZERO,
        ..Options::default()
    };
    let names = names(&decide(options, &sequence("outliers")));
    assert!(names.contains(&"fear"), "{names:?}");
}

#[test]
fn a_borderline_face_does_not_flicker() {
    let looks = sequence("borderline");
    let decisions = decide(Options::default(), &looks);
    let changes = story(&decisions).len() - 1;
    assert!(raw_changes(&looks) >= 20, "{}", raw_changes(&looks));
    assert!(changes <= 3, "{:?}", story(&decisions));
}

#[test]
fn a_face_that_goes_and_comes_back() {
    let story = story(&decide(Options::default(), &sequence("gone")));
    assert_eq!(story, [("surprise", 0), ("none", 1100), ("surprise", 2000)]);
}

#[test]
fn a_recording_flickers_and_the_decisions_do_not() {
    let looks = sequence("recorded");
    let decisions = decide(Options::default(), &looks);
    let story = story(&decisions);
    // From 2 s to 4 s the model changes between happy and sad.
    assert!(raw_changes(&looks) >= 12, "{}", raw_changes(&looks));
    assert!(story.len() <= 5, "{story:?}");
    assert_eq!(story[0], ("happy", 0));
    assert_eq!(story[story.len() - 2..], [("none", 4000), ("happy", 4667)]);
}

#[test]
fn half_the_frames_decide_nearly_the_same() {
    let looks = sequence("smile");
    let half: Vec<_> = looks.iter().copied().step_by(2).collect();
    let (all, half) = (
        story(&decide(Options::default(), &looks)),
        story(&decide(Options::default(), &half)),
    );
    assert_eq!(all.len(), half.len());
    for (a, b) in all.iter().zip(&half) {
        assert_eq!(a.0, b.0);
        assert!(a.1.abs_diff(b.1) <= 200, "{all:?} {half:?}");
    }
}

/// A time step in milliseconds, sometimes negative, and a look for some tracks.
type Step = (i64, BTreeMap<u32, Option<[f32; 7]>>);

fn any_frame() -> impl Strategy<Value = Step> {
    let step = prop_oneof![
        8 => 0_i64..200,
        1 => Just(0_i64),
        1 => -500_i64..0,
        1 => 0_i64..100_000,
    ];
    let look = prop::option::weighted(0.9, prop::array::uniform7(0.0_f32..1.0));
    (step, prop::collection::btree_map(1_u32..4, look, 0..4))
}

/// The decisions of each frame, in the order of ids.
fn play(options: Options, frames: &[Step]) -> Vec<Vec<ExpressionDecision>> {
    let mut decider = Decider::new(options);
    let mut millis = 10_000_i64;
    frames
        .iter()
        .map(|(step, looks)| {
            millis = (millis + step).max(0);
            let now = Timestamp::from_millis(millis as u64);
            decider.begin_frame(now, looks.keys().copied().map(key));
            looks
                .iter()
                .map(|(&id, look)| {
                    let observed = observed(look.map(Probabilities));
                    decider.decide(key(id), &observed).expression
                })
                .collect()
        })
        .collect()
}

/// The same frames with looks that sum to `sum`. Looks that are all zero stay
/// zero.
fn scaled(frames: &[Step], sum: f32) -> Vec<Step> {
    let mut frames = frames.to_vec();
    let looks = frames.iter_mut().flat_map(|(_, looks)| looks.values_mut());
    for look in looks.flatten() {
        let factor = sum / look.iter().sum::<f32>();
        if factor.is_finite() {
            *look = look.map(|p| p * factor);
        }
    }
    frames
}

proptest! {
    /// For a network with the seven classes. Sums that differ from 1 by more
    /// than rounding are scaled.
    #[test]
    fn probabilities_stay_a_distribution(
        frames in prop::collection::vec(any_frame(), 1..60),
        sum in prop_oneof![Just(1.0_f32), 1.0_f32..4.0],
    ) {
        for decision in play(Options::default(), &scaled(&frames, sum)).iter().flatten() {
            let sum: f32 = decision.probabilities.0.iter().sum();
            prop_assert!((sum - 1.0).abs() <= 1e-6, "{}", sum);
            prop_assert!(decision.probabilities.0.iter().all(|p| (0.0..=1.0).contains(p)));
            prop_assert!((0.0..=1.0).contains(&decision.confidence));
        }
    }

    /// For a network with further classes, which keep the rest of the
    /// probability.
    #[test]
    fn the_share_of_further_classes_stays_theirs(
        frames in prop::collection::vec(any_frame(), 1..60),
        share in 0.01_f32..0.9,
    ) {
        let rest = 1.0 - share;
        for decision in play(Options::default(), &scaled(&frames, rest)).iter().flatten() {
            if decision.probabilities == Probabilities::UNIFORM {
                continue; // before the first look
            }
            let sum: f32 = decision.probabilities.0.iter().sum();
            prop_assert!((sum - rest).abs() <= 1e-4, "{} instead of {}", sum, rest);
            prop_assert!(decision.probabilities.0.iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }

    #[test]
    fn an_expression_lasts_for_the_dwell(
        steps in prop::collection::vec((1_u64..150, prop::array::uniform7(0.0_f32..1.0), 0_usize..7), 1..120),
        dwell in 0_u64..1_000,
        time_constant in 0_u64..500,
    ) {
        let options = Options {
            dwell: Duration::from_millis(dwell),
            time_constant: Duration::from_millis(time_constant),
            ..Options::default()
        };
        let mut now = 0;
        let looks: Vec<_> = steps.into_iter().map(|(step, mut p, boosted)| {
            now += step;
            p[boosted] += 3.0;
            (Timestamp::from_millis(now), Some(Probabilities(p)))
        }).collect();
        let decisions: Vec<_> = decide(options, &looks)
            .into_iter()
            .filter_map(|(_, decision)| decision)
            .collect();
        for pair in decisions.windows(2) {
            prop_assert!(pair[0].since <= pair[1].since);
            if let (Label::Expression(_), true) = (pair[0].label, pair[0].label != pair[1].label) {
                let held = pair[1].since.since(pair[0].since);
                prop_assert!(held >= options.dwell, "{held:?}");
            }
            // An expression that begins is the most probable one and above the
            // threshold.
            if let (Label::Expression(entered), true) = (pair[1].label, pair[0].label != pair[1].label) {
                prop_assert_eq!(pair[1].probabilities.top().0, entered);
                prop_assert!(pair[1].confidence >= options.enter);
            }
        }
    }

    #[test]
    fn the_same_frames_decide_the_same(frames in prop::collection::vec(any_frame(), 1..40)) {
        prop_assert_eq!(play(Options::default(), &frames), play(Options::default(), &frames));
    }

    #[test]
    fn a_steady_look_is_reached_and_shown(
        start in prop::array::uniform7(0.01_f32..1.0),
        index in 0_usize..7,
    ) {
        let steady = |tenths: u64| {
            let mut p = [0.02; 7];
            p[index] = 0.88;
            (Timestamp::from_millis(100 * tenths), Some(Probabilities(p)))
        };
        let mut looks = vec![(Timestamp::default(), Some(Probabilities(start)))];
        looks.extend((1..=20).map(steady));
        let last = decide(Options::default(), &looks).last().unwrap().1.unwrap();
        prop_assert_eq!(last.label, Label::Expression(Expression::from_index(index).unwrap()));
        prop_assert!(last.confidence > 0.87);
    }
}
