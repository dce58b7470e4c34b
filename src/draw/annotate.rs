//! Annotated copies of pictures: each face in a box with its label, and beside
//! the picture a card with seven bars for each face. Text beside the picture
//! covers nothing and is readable on any picture.

use std::convert::Infallible;
use std::fmt::Write;

use embedded_graphics::mono_font::ascii::{FONT_6X10, FONT_8X13, FONT_8X13_BOLD, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{
    CornerRadii, PrimitiveStyle, PrimitiveStyleBuilder, Rectangle, RoundedRectangle,
    StrokeAlignment,
};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};

use super::palette::{Mood, Part, Theme};
use crate::frame::Rect;
use crate::image::RgbImage;
use crate::observe::FaceObservation;
use crate::observe::expression::{Expression, Probabilities};

/// A face with its annotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annotation {
    pub rect: Rect,
    pub probabilities: Probabilities,
    /// The results of the face networks, if they are there.
    pub seen: Option<FaceObservation>,
}

/// Copies should fit a screen: a whole factor brings the picture's longer side
/// into this range.
const SMALLEST: u32 = 360;
const LARGEST: u32 = 1024;

/// A very long or high picture, with a side above this after enlarging, keeps
/// its size.
const LARGEST_ENLARGED: u32 = 2 * SMALLEST;

const MARGIN: u32 = 12;
const CARD_WIDTH: u32 = 236;
const CARD_HEIGHT: u32 = 222;
const ROW: i32 = 21;
/// Cards beyond these are left out and counted in a line of text.
const MOST_CARDS: usize = 24;

const BACKGROUND: Rgb888 = Rgb888::new(0x12, 0x15, 0x1a);
const CARD: Rgb888 = Rgb888::new(0x1e, 0x23, 0x2b);
const GROOVE: Rgb888 = Rgb888::new(0x2f, 0x36, 0x40);
const TEXT: Rgb888 = Rgb888::new(0xe8, 0xec, 0xf1);
const FAINT: Rgb888 = Rgb888::new(0x93, 0x9d, 0xaa);
const DARK: Rgb888 = Rgb888::new(0x0c, 0x0e, 0x11);

/// The colour of a class, as on displays.
fn colour(expression: Expression) -> Rgb888 {
    Rgb888::of(Part::Fill(Mood::Of(expression)))
}

/// The picture with its annotations.
#[must_use]
pub fn draw(picture: &RgbImage, faces: &[Annotation]) -> RgbImage {
    let scale = Scale::of(picture.width, picture.height);
    let (width, height) = scale.size(picture.width, picture.height);

    let cards = faces.len().min(MOST_CARDS);
    let (columns, rows) = arrange(cards as u32, height);
    let panel = columns * (CARD_WIDTH + MARGIN) + MARGIN;
    let least = rows * (CARD_HEIGHT + MARGIN) + MARGIN;

    let mut canvas = Canvas::new(width + panel, height.max(least));
    canvas.picture(picture, scale, (width, height));
    for (number, face) in faces.iter().enumerate().rev() {
        mark(&mut canvas, face, scale, (width, height), number + 1);
    }
    for (number, face) in faces.iter().take(MOST_CARDS).enumerate() {
        let (column, row) = (number as u32 / rows, number as u32 % rows);
        let x = width + MARGIN + column * (CARD_WIDTH + MARGIN);
        let y = MARGIN + row * (CARD_HEIGHT + MARGIN);
        card(
            &mut canvas,
            face,
            Point::new(x as i32, y as i32),
            number + 1,
        );
    }
    if cards < faces.len() {
        let mut line = String::new();
        let _ = write!(line, "and {} more", faces.len() - cards);
        let below = Point::new((width + MARGIN) as i32, canvas.height as i32 - 11);
        text(
            &mut canvas,
            &line,
            below,
            &FONT_6X10,
            FAINT,
            Alignment::Left,
        );
    }
    if faces.is_empty() {
        let middle = Point::new((width + panel / 2) as i32, (height / 2) as i32);
        let middle = middle - Point::new(0, 10);
        text(
            &mut canvas,
            "no face",
            middle,
            &FONT_10X20,
            FAINT,
            Alignment::Center,
        );
    }
    RgbImage {
        width: canvas.width,
        height: canvas.height,
        pixels: canvas.pixels,
    }
}

/// Columns and rows of cards: as few columns as stay within the picture's
/// height, or else about as wide as high.
fn arrange(cards: u32, height: u32) -> (u32, u32) {
    let fits = |columns: &u32| {
        let high = cards.div_ceil(*columns) * (CARD_HEIGHT + MARGIN) + MARGIN;
        high <= height.max(columns * (CARD_WIDTH + MARGIN) + MARGIN)
    };
    let columns = (1..=cards.max(1)).find(fits).unwrap_or(1);
    (columns, cards.div_ceil(columns))
}

/// The whole factor by which a picture is enlarged or reduced.
#[derive(Clone, Copy)]
struct Scale {
    times: u32,
    over: u32,
}

impl Scale {
    fn of(width: u32, height: u32) -> Self {
        let longer = width.max(height).max(1);
        if longer > LARGEST {
            return Self {
                times: 1,
                over: longer.div_ceil(LARGEST),
            };
        }
        let times = SMALLEST.div_ceil(longer);
        let times = times.min((LARGEST_ENLARGED / longer).max(1));
        Self { times, over: 1 }
    }

    fn size(self, width: u32, height: u32) -> (u32, u32) {
        let scaled = |side: u32| (side * self.times / self.over).max(1);
        (scaled(width), scaled(height))
    }
}

/// The box around a face with its tag.
fn mark(
    canvas: &mut Canvas,
    face: &Annotation,
    scale: Scale,
    (width, height): (u32, u32),
    number: usize,
) {
    let (expression, confidence) = face.probabilities.top();
    let length = |pixels: i64| pixels * i64::from(scale.times) / i64::from(scale.over);
    // The time of drawing grows with the box, so only the part inside of the
    // picture is drawn.
    let clip = |pixels: i64, side: u32| length(pixels).clamp(0, i64::from(side)) as i32;
    let rect = face.rect;
    let top_left = Point::new(clip(rect.x.into(), width), clip(rect.y.into(), height));
    let bottom_right = Point::new(
        clip(rect.right(), width) - 1,
        clip(rect.bottom(), height) - 1,
    );
    if bottom_right.x <= top_left.x || bottom_right.y <= top_left.y {
        return;
    }
    let frame = Rectangle::with_corners(top_left, bottom_right);
    // A dark line on both sides keeps the box visible on any background.
    for (colour, line) in [(DARK, 5), (colour(expression), 3)] {
        let style = PrimitiveStyleBuilder::new()
            .stroke_color(colour)
            .stroke_width(line)
            .stroke_alignment(StrokeAlignment::Center)
            .build();
        fill(canvas, frame, 6, style);
    }
    for (x, y) in face.seen.iter().flat_map(|seen| seen.landmarks) {
        // The casts saturate.
        let at = Point::new(
            clip(x.floor() as i64, width),
            clip(y.floor() as i64, height),
        );
        for (colour, across) in [(DARK, 5), (colour(expression), 3)] {
            let corner = at - Point::new_equal(across / 2);
            let dot = Rectangle::new(corner, Size::new_equal(across as u32));
            fill(canvas, dot, 1, PrimitiveStyle::with_fill(colour));
        }
    }

    let mut tag = String::new();
    let _ = write!(tag, "{number} {expression} {:.0}%", 100.0 * confidence);
    let size = Size::new(8 * tag.len() as u32 + 12, 19);
    // Above the box, or inside of it if there is no room; never beyond the
    // picture's edge.
    let y = if top_left.y >= size.height as i32 {
        top_left.y - size.height as i32 + 1
    } else {
        top_left.y.max(0)
    };
    let x = (top_left.x - 1)
        .min(width as i32 - size.width as i32)
        .max(0);
    let y = y.min(height as i32 - size.height as i32).max(0);
    let plate = Rectangle::new(Point::new(x, y), size);
    fill(
        canvas,
        plate,
        4,
        PrimitiveStyle::with_fill(colour(expression)),
    );
    let at = plate.top_left + Point::new(6, 3);
    text(canvas, &tag, at, &FONT_8X13_BOLD, DARK, Alignment::Left);
}

/// A face's label and bars.
fn card(canvas: &mut Canvas, face: &Annotation, corner: Point, number: usize) {
    let (top, confidence) = face.probabilities.top();
    let plate = Rectangle::new(corner, Size::new(CARD_WIDTH, CARD_HEIGHT));
    fill(canvas, plate, 8, PrimitiveStyle::with_fill(CARD));

    let left = corner.x + 12;
    let right = corner.x + CARD_WIDTH as i32 - 12;
    let title = Point::new(left, corner.y + 9);
    text(
        canvas,
        top.name(),
        title,
        &FONT_10X20,
        colour(top),
        Alignment::Left,
    );
    let mut line = String::new();
    let _ = write!(line, "{:.0}%", 100.0 * confidence);
    let title = Point::new(right, corner.y + 9);
    text(canvas, &line, title, &FONT_10X20, TEXT, Alignment::Right);

    line.clear();
    let rect = face.rect;
    let _ = write!(
        line,
        "face {number}, {}x{} at {},{}",
        rect.width, rect.height, rect.x, rect.y
    );
    let at = Point::new(left, corner.y + 31);
    text(canvas, &line, at, &FONT_6X10, FAINT, Alignment::Left);

    if let Some(seen) = &face.seen {
        line.clear();
        let _ = write!(
            line,
            "yaw {:.0}, pitch {:.0}, roll {:.0}",
            seen.yaw, seen.pitch, seen.roll
        );
        let at = Point::new(left, corner.y + 42);
        text(canvas, &line, at, &FONT_6X10, FAINT, Alignment::Left);
        line.clear();
        line.push_str("eyes open:");
        for (name, eye) in [("right", seen.right_eye), ("left", seen.left_eye)] {
            let _ = match eye.openness() {
                Some(openness) => write!(line, " {name} {:.0}%", 100.0 * openness),
                None => write!(line, " {name} ?"),
            };
        }
        let at = Point::new(left, corner.y + 53);
        text(canvas, &line, at, &FONT_6X10, FAINT, Alignment::Left);
    }

    for (i, expression) in Expression::ALL.into_iter().enumerate() {
        let y = corner.y + 68 + ROW * i as i32;
        let p = face.probabilities.of(expression).clamp(0.0, 1.0);
        let is_top = expression == top;
        let text_colour = if is_top { TEXT } else { FAINT };
        let at = Point::new(left, y);
        text(
            canvas,
            expression.name(),
            at,
            &FONT_8X13,
            text_colour,
            Alignment::Left,
        );

        let groove = Rectangle::new(Point::new(left + 72, y + 2), Size::new(98, 9));
        fill(canvas, groove, 4, PrimitiveStyle::with_fill(GROOVE));
        let length = (p * groove.size.width as f32).round() as u32;
        if length > 0 {
            let bar = Rectangle::new(groove.top_left, Size::new(length, 9));
            fill(
                canvas,
                bar,
                4,
                PrimitiveStyle::with_fill(colour(expression)),
            );
        }

        line.clear();
        let _ = write!(line, "{:.0}%", 100.0 * p);
        let at = Point::new(right, y);
        text(canvas, &line, at, &FONT_8X13, text_colour, Alignment::Right);
    }
}

fn fill(canvas: &mut Canvas, rect: Rectangle, radius: u32, style: PrimitiveStyle<Rgb888>) {
    let radius = radius.min(rect.size.width / 2).min(rect.size.height / 2);
    let corners = CornerRadii::new(Size::new_equal(radius));
    let Ok(()) = RoundedRectangle::new(rect, corners)
        .into_styled(style)
        .draw(canvas);
}

fn text(
    canvas: &mut Canvas,
    line: &str,
    at: Point,
    font: &MonoFont<'_>,
    colour: Rgb888,
    alignment: Alignment,
) {
    let style = TextStyleBuilder::new()
        .baseline(Baseline::Top)
        .alignment(alignment)
        .build();
    let character = MonoTextStyle::new(font, colour);
    let Ok(_) = Text::with_text_style(line, at, character, style).draw(canvas);
}

/// The target for embedded-graphics.
struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let pixels = [BACKGROUND.r(), BACKGROUND.g(), BACKGROUND.b()]
            .repeat(width as usize * height as usize);
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Copies the picture to the top left, enlarged by repeating pixels or
    /// reduced by the mean of blocks.
    fn picture(&mut self, picture: &RgbImage, scale: Scale, (width, height): (u32, u32)) {
        let source = |x: u32, y: u32| {
            let at = 3 * (y as usize * picture.width as usize + x as usize);
            &picture.pixels[at..at + 3]
        };
        for y in 0..height {
            for x in 0..width {
                let to = 3 * (y as usize * self.width as usize + x as usize);
                if scale.over == 1 {
                    let from = source(x / scale.times, y / scale.times);
                    self.pixels[to..to + 3].copy_from_slice(from);
                    continue;
                }
                let mut sums = [0_u32; 3];
                let mut count = 0;
                for v in (y * scale.over..(y + 1) * scale.over).take_while(|v| *v < picture.height)
                {
                    for u in
                        (x * scale.over..(x + 1) * scale.over).take_while(|u| *u < picture.width)
                    {
                        for (sum, value) in sums.iter_mut().zip(source(u, v)) {
                            *sum += u32::from(*value);
                        }
                        count += 1;
                    }
                }
                for (pixel, sum) in self.pixels[to..to + 3].iter_mut().zip(sums) {
                    *pixel = ((sum + count / 2) / count) as u8;
                }
            }
        }
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else {
                continue;
            };
            if x < self.width && y < self.height {
                let at = 3 * (y as usize * self.width as usize + x as usize);
                self.pixels[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32) -> RgbImage {
        RgbImage {
            width,
            height,
            pixels: [10, 20, 30].repeat(width as usize * height as usize),
        }
    }

    fn pixel(image: &RgbImage, x: u32, y: u32) -> Rgb888 {
        let at = 3 * (y * image.width + x) as usize;
        let [r, g, b] = image.pixels[at..at + 3].try_into().unwrap();
        Rgb888::new(r, g, b)
    }

    fn happy(rect: Rect) -> Annotation {
        Annotation {
            rect,
            probabilities: Probabilities([0.0, 0.0, 0.0, 0.75, 0.0, 0.25, 0.0]),
            seen: None,
        }
    }

    #[test]
    fn a_box_and_bars_where_they_belong() {
        let image = draw(&plain(400, 300), &[happy(Rect::new(100, 80, 120, 100))]);
        assert_eq!((image.width, image.height), (400 + 236 + 24, 300));
        // The box's left edge, and inside and outside of it the picture.
        assert_eq!(pixel(&image, 100, 130), colour(Expression::Happy));
        assert_eq!(pixel(&image, 120, 130), Rgb888::new(10, 20, 30));
        assert_eq!(pixel(&image, 50, 130), Rgb888::new(10, 20, 30));
        // The bar of happy is three quarters full, that of surprise one
        // quarter, that of sad empty.
        let bar = |row: u32, part: f32| {
            pixel(
                &image,
                400 + 12 + 12 + 72 + (part * 98.0) as u32,
                12 + 68 + 21 * row + 6,
            )
        };
        assert_eq!(bar(3, 0.70), colour(Expression::Happy));
        assert_eq!(bar(3, 0.80), GROOVE);
        assert_eq!(bar(5, 0.20), colour(Expression::Surprise));
        assert_eq!(bar(5, 0.30), GROOVE);
        assert_eq!(bar(4, 0.05), GROOVE);
    }

    #[test]
    fn cards_stay_within_the_picture_or_make_a_square() {
        assert_eq!(arrange(0, 300), (1, 0));
        assert_eq!(arrange(1, 100), (1, 1));
        assert_eq!(arrange(2, 512), (1, 2));
        assert_eq!(arrange(3, 512), (2, 2));
        assert_eq!(arrange(9, 350), (3, 3));
    }

    #[test]
    fn small_pictures_are_enlarged_and_large_ones_reduced() {
        assert_eq!(Scale::of(48, 48).size(48, 48), (384, 384));
        assert_eq!(Scale::of(640, 480).size(640, 480), (640, 480));
        assert_eq!(Scale::of(4000, 3000).size(4000, 3000), (1000, 750));
        assert_eq!(Scale::of(8000, 1).size(8000, 1), (1000, 1));
        assert_eq!(Scale::of(300, 1).size(300, 1), (600, 2));
    }

    #[test]
    fn unusual_faces_and_pictures_cause_no_panic() {
        let faces: Vec<_> = (0..40)
            .map(|i| happy(Rect::new(-50 + 30 * i, -20, 60, 60)))
            .chain([
                happy(Rect::new(i32::MIN, i32::MAX, u32::MAX, u32::MAX)),
                happy(Rect::new(0, 0, 0, 0)),
            ])
            .collect();
        for (width, height) in [(1, 1), (7, 900), (900, 7), (1500, 1030)] {
            let image = draw(&plain(width, height), &faces);
            assert_eq!(
                image.pixels.len(),
                3 * (image.width * image.height) as usize
            );
            assert!(image.height > 200);
            let empty = draw(&plain(width, height), &[]);
            assert!(empty.width > CARD_WIDTH);
        }
    }
}
