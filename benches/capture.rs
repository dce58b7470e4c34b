//! Pixel formats to luma, for a frame of 640x480: the time of each, and its bytes
//! of input per second; and turned pictures of six sizes.
//!
//! Compare them with each other and with the copy: all of them depend on the
//! machine's speed.

use std::hint::black_box;

use affectd::capture::PixelFormat;
use affectd::capture::convert::Layout;
use affectd::frame::LumaView;
use affectd::image::turn::{Rotation, Turn};
use affectd::image::{LumaImage, jpeg};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

/// A texture with edges and slopes, so that its JPEG is not trivial.
fn texture(x: usize, y: usize) -> u8 {
    ((x * 7 + y * 3) ^ (x / 16 * 37) ^ (y / 16 * 91)) as u8
}

fn conversions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("luma 640x480");
    let mut out = vec![0; (WIDTH * HEIGHT) as usize];
    for format in PixelFormat::ALL {
        if format == PixelFormat::Mjpg {
            continue;
        }
        let layout = Layout::packed(format, WIDTH, HEIGHT);
        let data: Vec<u8> = (0..layout.frame())
            .map(|i| texture(i % layout.stride, i / layout.stride))
            .collect();
        group.throughput(Throughput::Bytes(layout.needed() as u64));
        group.bench_function(format.name(), |b| {
            b.iter(|| layout.luma(black_box(&data), black_box(&mut out)));
        });
    }
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let rgb: Vec<u8> = (0..width * height)
        .flat_map(|i| {
            let value = texture(i % width, i / width);
            [value, value / 2, 255 - value]
        })
        .collect();
    let mut data = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut data, 80);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_1);
    encoder
        .encode(
            &rgb,
            WIDTH as u16,
            HEIGHT as u16,
            jpeg_encoder::ColorType::Rgb,
        )
        .expect("the encoder takes any pixels");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("mjpg", |b| {
        b.iter(|| jpeg::luma(black_box(&data), &mut out));
    });
    group.finish();
}

/// Turning pictures; it should take at most three times as long as the copy.
fn turns(criterion: &mut Criterion) {
    for (width, height) in [
        (320, 240),
        (640, 480),
        (1024, 768),
        (1280, 720),
        (1920, 1080),
        (2048, 1536),
    ] {
        turns_of(criterion, width, height);
    }
}

fn turns_of(criterion: &mut Criterion, width: usize, height: usize) {
    let mut group = criterion.benchmark_group(format!("turn {width}x{height}"));
    let pixels: Vec<u8> = (0..width * height)
        .map(|i| texture(i % width, i / width))
        .collect();
    let view = LumaView::new(&pixels, width as u32, height as u32, width).expect("a whole picture");
    let mut out = LumaImage::default();
    for degrees in [0, 90, 180, 270] {
        let rotation = Rotation::from_degrees(degrees).expect("a quarter");
        for mirror in [false, true] {
            let turn = Turn { rotation, mirror };
            let name = match (degrees, mirror) {
                (0, false) => "copy".to_owned(),
                (_, false) => format!("{degrees}"),
                (_, true) => format!("{degrees} mirrored"),
            };
            group.bench_function(name, |b| {
                b.iter(|| turn.apply(black_box(view), black_box(&mut out)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, conversions, turns);
criterion_main!(benches);
