//! The track and decide stages, per frame: what they take beside detection and
//! classification, which take milliseconds.

use std::hint::black_box;

use affectd::decide::{Decider, Face, Options};
use affectd::detect::Detection;
use affectd::frame::{Rect, Timestamp};
use affectd::observe::expression::Probabilities;
use affectd::track::{self, Policy, Tracker};
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
        let mut looks: Vec<_> = (0..count)
            .map(|i| Face {
                track: 1 + i as u32,
                rect: PICTURE,
                searched: Timestamp::default(),
                probabilities: Some(Probabilities::UNIFORM),
            })
            .collect();
        let mut frame = 0_u64;
        group.bench_function(format!("decide {count}"), |b| {
            b.iter(|| {
                frame += 1;
                for look in &mut looks {
                    let mut logits = [0.0; 7];
                    logits[(frame / 40 % 7) as usize] = 3.0;
                    look.probabilities = Some(Probabilities::from_logits(logits));
                }
                let now = Timestamp::from_millis(33 * frame);
                black_box(decider.update(now, black_box(&looks)));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
