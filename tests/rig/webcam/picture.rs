//! The picture in front of the webcam: a photograph in the webcam's formats.

use std::path::Path;

use affectd::image::{self, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// The luma around a photograph.
const GROUND: u8 = 112;

/// One scene in every format and size of the webcam.
#[derive(Clone)]
pub struct Picture {
    /// In the order of [`SIZES`](super::descriptors::SIZES).
    pub yuyv: Vec<Vec<u8>>,
    pub mjpg: Vec<Vec<u8>>,
}

impl Picture {
    /// A photograph held in front of the camera, as large as fits.
    pub fn photo(path: &Path) -> Self {
        let photo = image::read_rgb(path).expect("a photograph that comes with affectd");
        Self::new(|width, height| within(&photo, width, height))
    }

    fn new(scene: impl Fn(u32, u32) -> RgbImage) -> Self {
        let scenes = super::descriptors::SIZES.map(|(w, h)| scene(u32::from(w), u32::from(h)));
        Self {
            yuyv: scenes.iter().map(yuyv).collect(),
            mjpg: scenes.iter().map(mjpg).collect(),
        }
    }
}

/// The photograph scaled (nearest pixel) to the frame's height, in its middle.
fn within(photo: &RgbImage, width: u32, height: u32) -> RgbImage {
    let shown = (photo.width * height / photo.height).min(width);
    let left = (width - shown) / 2;
    let mut pixels = vec![GROUND; (width * height * 3) as usize];
    for y in 0..height {
        for x in 0..shown {
            let from = (y * photo.height / height * photo.width + x * photo.width / shown) * 3;
            let to = (y * width + left + x) * 3;
            pixels[to as usize..][..3].copy_from_slice(&photo.pixels[from as usize..][..3]);
        }
    }
    RgbImage {
        width,
        height,
        pixels,
    }
}

/// Full-range BT.601, as in webcams.
fn yuyv(scene: &RgbImage) -> Vec<u8> {
    let luma = |p: &[u8]| {
        let [r, g, b] = [p[0], p[1], p[2]].map(f32::from);
        0.299 * r + 0.587 * g + 0.114 * b
    };
    scene
        .pixels
        .chunks_exact(6)
        .flat_map(|pair| {
            let (one, two) = pair.split_at(3);
            let u = 128.0 + 0.564 * (f32::from(one[2]) - luma(one));
            let v = 128.0 + 0.713 * (f32::from(one[0]) - luma(one));
            [luma(one) as u8, u as u8, luma(two) as u8, v as u8]
        })
        .collect()
}

fn mjpg(scene: &RgbImage) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, 90);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_2);
    encoder
        .encode(
            &scene.pixels,
            scene.width as u16,
            scene.height as u16,
            ColorType::Rgb,
        )
        .expect("a picture of the webcam's size");
    jpeg
}
