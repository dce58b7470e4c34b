//! Draws a shot with the marks of its faces, and encodes it as JPEG.

use std::fmt::Write as _;

use embedded_graphics::pixelcolor::{Rgb888, RgbColor as _};
use jpeg_encoder::{Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor};

use super::shot::Shot;
use crate::draw::marks::{Mark, mark};
use crate::draw::scale::Scale;
use crate::draw::{Canvas, Mood, Part, Theme as _};
use crate::frame::LumaView;
use crate::report::FaceReport;

/// The largest side of a picture that is sent, in pixels.
const LARGEST: u32 = 1280;

/// Of JPEG, 1 to 100.
const QUALITY: u8 = 80;

/// Draws pictures into the same memory.
#[derive(Debug, Default)]
pub struct Painter {
    canvas: Option<Canvas<Rgb888>>,
    tag: String,
}

impl Painter {
    /// Frees the memory.
    pub fn rest(&mut self) {
        *self = Self::default();
    }

    /// The shot's picture with marks, as a JPEG.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn jpeg(&mut self, picture: LumaView<'_>, shot: &Shot) -> Result<Vec<u8>, EncodingError> {
        let size = (picture.width(), picture.height());
        let scale = Scale::reducing(size, LARGEST);
        let (width, height) = scale.size(size);
        let canvas = match &mut self.canvas {
            Some(canvas) if (canvas.width(), canvas.height()) == (width, height) => canvas,
            other => other.insert(Canvas::new(width, height, Rgb888::of(Part::Ground))),
        };
        scale.copy(canvas, size, |x, y| [picture.row(y)[x as usize]; 3]);
        let are_many = shot.faces.len() > 1;
        for (index, face) in shot.faces.iter().enumerate().rev() {
            write_tag(&mut self.tag, face, are_many.then_some(index + 1));
            let of_face = Mark {
                rect: face.rect,
                mood: mood(face),
                tag: &self.tag,
                landmarks: face
                    .observed
                    .face
                    .as_ref()
                    .map_or(&[], |seen| &seen.landmarks),
            };
            mark(canvas, &of_face, scale, size);
        }
        let mut jpeg = Vec::with_capacity(64 << 10);
        let mut encoder = Encoder::new(&mut jpeg, QUALITY);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.encode_image(Pixels(canvas))?;
        Ok(jpeg)
    }
}

/// The colour of a face, as on displays.
pub fn mood(face: &FaceReport) -> Mood {
    let expression = face.decision.expression.label.expression();
    expression.map_or(Mood::None, Mood::Of)
}

fn write_tag(tag: &mut String, face: &FaceReport, number: Option<usize>) {
    tag.clear();
    if let Some(number) = number {
        let _ = write!(tag, "{number} ");
    }
    let decision = &face.decision.expression;
    let _ = write!(
        tag,
        "{} {:.0}%",
        decision.label.name(),
        100.0 * decision.confidence
    );
}

/// A canvas for the encoder.
struct Pixels<'c>(&'c Canvas<Rgb888>);

impl ImageBuffer for Pixels<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        // At most LARGEST.
        self.0.width() as u16
    }

    fn height(&self) -> u16 {
        self.0.height() as u16
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        for pixel in self.0.row(u32::from(y)) {
            let (luma, blue, red) = jpeg_encoder::rgb_to_ycbcr(pixel.r(), pixel.g(), pixel.b());
            buffers[0].push(luma);
            buffers[1].push(blue);
            buffers[2].push(red);
        }
    }
}
