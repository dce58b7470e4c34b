//! Video of moving faces, made from the photographs: a face in front of a table
//! with a cup of coffee. For tests and benches of the search.

use std::path::Path;

use affectd::frame::{LumaView, Rect};
use affectd::image::{LumaImage, read_luma};

/// The place of a picture of the face: its left and top edge in the frame, and
/// its scale.
pub type Place = (f64, f64, f64);

pub struct Scene {
    pub width: u32,
    pub height: u32,
    ground: Vec<u8>,
    face: LumaImage,
}

impl Scene {
    pub fn new(width: u32, height: u32) -> Self {
        let photo = |name: &str| {
            let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
            read_luma(photos.join(name)).unwrap()
        };
        let ground = photo("coffee.jpg");
        let (across, down) = (
            f64::from(ground.width - 2) / f64::from(width),
            f64::from(ground.height - 2) / f64::from(height),
        );
        let pixels = (0..width * height)
            .map(|at| {
                let (x, y) = (f64::from(at % width), f64::from(at / width));
                sample(&ground, x * across, y * down)
            })
            .collect();
        Self {
            width,
            height,
            ground: pixels,
            face: photo("astronaut-gray.png"),
        }
    }

    /// A frame with faces in it.
    pub fn frame(&self, places: &[Place]) -> Vec<u8> {
        let mut pixels = self.ground.clone();
        for &(left, top, scale) in places {
            let side = |size: u32| f64::from(size - 1) * scale;
            let range = |from: f64, length: f64, end: u32| {
                from.max(0.0).ceil() as u32..((from + length).max(0.0).ceil() as u32).min(end)
            };
            for y in range(top, side(self.face.height), self.height) {
                for x in range(left, side(self.face.width), self.width) {
                    let (u, v) = ((f64::from(x) - left) / scale, (f64::from(y) - top) / scale);
                    pixels[(y * self.width + x) as usize] = sample(&self.face, u, v);
                }
            }
        }
        pixels
    }

    pub fn view<'p>(&self, pixels: &'p [u8]) -> LumaView<'p> {
        LumaView::new(pixels, self.width, self.height, self.width as usize).unwrap()
    }
}

/// Interpolates between four pixels.
fn sample(image: &LumaImage, x: f64, y: f64) -> u8 {
    let at = |x: f64, y: f64| f64::from(image.pixels[(y as u32 * image.width + x as u32) as usize]);
    let (u, v) = (x.fract(), y.fract());
    let value = at(x, y) * (1.0 - u) * (1.0 - v)
        + at(x + 1.0, y) * u * (1.0 - v)
        + at(x, y + 1.0) * (1.0 - u) * v
        + at(x + 1.0, y + 1.0) * u * v;
    value as u8
}

/// The places of two people in a frame of 640x480, at 30 frames per second:
/// they move sideways, up and down, nearer and farther, one in each half of the
/// frame, by up to 9 pixels per frame, with faces of 60 to 110 pixels.
pub fn two_people(number: u32) -> [Place; 2] {
    let t = f64::from(number) / 30.0;
    let sway = |speed: f64, from: f64| 0.5 - 0.5 * (t * speed + from).cos();
    [
        (
            10.0 + 110.0 * sway(3.1, 0.0),
            10.0 + 230.0 * sway(2.3, 1.0),
            0.85 + 0.18 * (t * 0.9).sin(),
        ),
        (
            340.0 + 80.0 * sway(2.7, 2.0),
            10.0 + 220.0 * sway(1.7, 0.5),
            0.85 + 0.22 * (t * 0.7).cos(),
        ),
    ]
}

/// Whether two searches found the same faces, with an overlap of at least
/// `overlap` for each pair of boxes.
pub fn agree(some: &[Rect], others: &[Rect], overlap: f64) -> bool {
    some.len() == others.len()
        && some
            .iter()
            .all(|a| others.iter().any(|b| a.overlap(*b) >= overlap))
}
