//! The time of drawing a picture, and of finding what changed in it.
//!
//! `cargo bench --bench display`

use std::hint::black_box;

use affectd::draw::{Canvas, Grain, Part, Theme};
use affectd::observe::expression::Expression;
use affectd::output::display::{Level, Turn, View, draw};
use criterion::{Criterion, criterion_group, criterion_main};
use embedded_graphics::pixelcolor::{BinaryColor, Rgb565, Rgb888};

fn view(expression: Expression, confidence: f32) -> View {
    let mut levels = [Level::nearest(0.05); Expression::COUNT];
    levels[expression.index()] = Level::nearest(confidence);
    View::Expression {
        expression,
        confidence: Level::nearest(confidence),
        levels,
        others: 0,
        turn: Turn::default(),
    }
}

fn one_size<C: Theme>(criterion: &mut Criterion, width: u32, height: u32, grain: Grain) {
    let mut group = criterion.benchmark_group(format!("display {width}x{height}"));
    let mut canvas = Canvas::new(width, height, C::of(Part::Ground));
    group.bench_function("draw a face", |bencher| {
        bencher.iter(|| {
            let Ok(()) = draw(black_box(&mut canvas), &view(Expression::Sad, 0.8));
        });
    });
    let mut shown = canvas.clone();
    let Ok(()) = draw(&mut shown, &view(Expression::Happy, 0.8));
    let mut rects = Vec::new();
    group.bench_function("find changes, another face", |bencher| {
        bencher.iter(|| canvas.changes(black_box(&shown), grain, &mut rects));
    });
    let Ok(()) = draw(&mut shown, &view(Expression::Sad, 0.82));
    group.bench_function("find changes, another confidence", |bencher| {
        bencher.iter(|| canvas.changes(black_box(&shown), grain, &mut rects));
    });
    group.finish();
}

fn sizes(criterion: &mut Criterion) {
    let grain = |band, overhead| Grain { band, overhead };
    one_size::<BinaryColor>(criterion, 128, 64, grain(8, 72));
    one_size::<Rgb565>(criterion, 240, 240, grain(8, 200));
    one_size::<Rgb888>(criterion, 800, 480, grain(1, 200));
}

criterion_group!(benches, sizes);
criterion_main!(benches);
