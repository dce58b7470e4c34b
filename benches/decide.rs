//! The track and decide stages, per frame: their time should be small beside
//! detection and classification, which take milliseconds.

use std::hint::black_box;

use affectd::decide::{Decider, Options};
use affectd::detect::Detection;
use affectd::frame::{Rect, Timestamp};
use affectd::observe::Observations;
use affectd::observe::expression::Probabilities;
use affectd::track::{self, FaceKey, Policy, Slot, Tracker};
use criterion::{Criterion, criterion_group, criterion_main};

const PICTURE: Rect = Rect::new(0, 0, 640, 480);

fn faces(count: i32, frame: u64) -> Vec<Detection> {
    (0..count)
        .map(|i| Detection {
            rect: Rect::new(i % 8 * 80 + (frame % 3) as i32, i / 8 * 80, 60, 60),
            neighbors: 5,
        })
        .collect()
}

fn stages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("per frame");
    for count in [1, 4, 32] {
        let frames: Vec<_> = (0..3).map(|frame| faces(count, frame)).collect();
        let mut tracker = Tracker::new(track::Options {
            policy: Policy::All,
            ..track::Options::default()
        });
        let mut frame = 0_u64;
        group.bench_function(format!("track {count}"), |b| {
            b.iter(|| {
                frame += 1;
                let now = Timestamp::from_millis(33 * frame);
                let found = black_box(&frames[(frame % 3) as usize]);
                black_box(tracker.update(now, PICTURE, Some(found)));
            });
        });

        let mut decider = Decider::new(Options::default());
        let faces: Vec<_> = (1..)
            .zip(Slot::all().take(count as usize))
            .map(|(id, slot)| FaceKey { id, slot })
            .collect();
        let mut frame = 0_u64;
        group.bench_function(format!("decide {count}"), |b| {
            b.iter(|| {
                frame += 1;
                decider.begin_frame(
                    Timestamp::from_millis(33 * frame),
                    black_box(&faces).iter().copied(),
                );
                for face in &faces {
                    let mut logits = [0.0; 7];
                    logits[(frame / 40 % 7) as usize] = 3.0;
                    let observed = Observations {
                        expression: Some(Probabilities::from_logits(logits)),
                        ..Observations::default()
                    };
                    black_box(decider.decide(*face, black_box(&observed)));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
