//! Annotated copies of pictures: each face in a box with its label, and beside
//! the picture a card with seven bars for each face. Text beside the picture
//! covers nothing and is readable on any picture.

use std::fmt::Write;

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::bar::{Way, draw_bar};
use super::canvas::Canvas;
use super::marks::{Mark, mark};
use super::paint::Shape;
use super::palette::{Mood, Part, Theme};
use super::scale::Scale;
use super::text::{Align, Style, Weight};
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

/// The height of a card's small text.
const SMALL: u32 = 11;
/// The width of the classes' names.
const NAMES: u32 = 72;
/// A bar's place in its row.
const BAR: Point = Point::new(80, 5);
const BAR_SIZE: Size = Size::new(90, 9);

const QUIET: (Part, Part) = (Part::Quiet, Part::Ground);

/// The picture with its annotations.
#[must_use]
pub fn draw(picture: &RgbImage, faces: &[Annotation]) -> RgbImage {
    let size = (picture.width, picture.height);
    let scale = scale_of(size);
    let (width, height) = scale.size(size);

    let cards = faces.len().min(MOST_CARDS);
    let (columns, rows) = arrange(cards as u32, height);
    let panel = columns * (CARD_WIDTH + MARGIN) + MARGIN;
    let least = rows * (CARD_HEIGHT + MARGIN) + MARGIN;

    let ground = Rgb888::of(Part::Ground);
    let mut canvas = Canvas::new(width + panel, height.max(least), ground);
    scale.copy(&mut canvas, size, |x, y| {
        let at = 3 * (y as usize * picture.width as usize + x as usize);
        [
            picture.pixels[at],
            picture.pixels[at + 1],
            picture.pixels[at + 2],
        ]
    });
    let mut line = String::new();
    for (number, face) in faces.iter().enumerate().rev() {
        let (expression, confidence) = face.probabilities.top();
        line.clear();
        let _ = write!(
            line,
            "{} {expression} {:.0}%",
            number + 1,
            100.0 * confidence
        );
        let of_face = Mark {
            rect: face.rect,
            mood: Mood::Of(expression),
            tag: &line,
            landmarks: face.seen.as_ref().map_or(&[], |seen| &seen.landmarks),
        };
        mark(&mut canvas, &of_face, scale, size);
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
        line.clear();
        let _ = write!(line, "and {} more", faces.len() - cards);
        let place = Point::new((width + MARGIN) as i32, canvas.height() as i32 - 11);
        let area = Rectangle::new(place, Size::new(panel - 2 * MARGIN, SMALL));
        text(&mut canvas, &line, QUIET, area, Align::Left);
    }
    if faces.is_empty() {
        let place = Point::new((width + MARGIN) as i32, height as i32 / 2 - 12);
        let middle = Rectangle::new(place, Size::new(panel - 2 * MARGIN, 24));
        text(&mut canvas, "no face", QUIET, middle, Align::Centre);
    }
    RgbImage {
        width: canvas.width(),
        height: canvas.height(),
        pixels: canvas
            .pixels()
            .iter()
            .flat_map(|pixel| pixel.to_rgb())
            .collect(),
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

/// The factor with which a copy fits a screen.
fn scale_of(size: (u32, u32)) -> Scale {
    let longer = size.0.max(size.1).max(1);
    if longer > LARGEST {
        return Scale::reducing(size, LARGEST);
    }
    let times = SMALLEST.div_ceil(longer);
    Scale::enlarging(times.min((LARGEST_ENLARGED / longer).max(1)))
}

/// A face's label and bars.
fn card(canvas: &mut Canvas<Rgb888>, face: &Annotation, corner: Point, number: usize) {
    let (top, confidence) = face.probabilities.top();
    let plate = Rectangle::new(corner, Size::new(CARD_WIDTH, CARD_HEIGHT));
    let half = (CARD_WIDTH as f32 / 2.0, CARD_HEIGHT as f32 / 2.0);
    let shape = Shape::Block {
        centre: (corner.x as f32 + half.0, corner.y as f32 + half.1),
        half,
        rounding: 8.0,
    };
    shape.cover(canvas, Rgb888::of(Part::Card), plate);

    let row = |y: i32, height: u32| {
        let corner = corner + Point::new(12, y);
        Rectangle::new(corner, Size::new(CARD_WIDTH - 24, height))
    };
    let mut put = |line: &str, part: Part, area: Rectangle, align: Align| {
        text(canvas, line, (part, Part::Card), area, align);
    };
    let mut line = String::new();
    let _ = write!(line, "{:.0}%", 100.0 * confidence);
    put(
        top.name(),
        Part::Fill(Mood::Of(top)),
        row(7, 24),
        Align::Left,
    );
    put(&line, Part::Text, row(7, 24), Align::Right);

    line.clear();
    let rect = face.rect;
    let _ = write!(
        line,
        "face {number}, {}x{} at {},{}",
        rect.width, rect.height, rect.x, rect.y
    );
    put(&line, Part::Quiet, row(31, SMALL), Align::Left);
    if let Some(seen) = &face.seen {
        line.clear();
        let _ = write!(
            line,
            "yaw {:.0}, pitch {:.0}, roll {:.0}",
            seen.yaw, seen.pitch, seen.roll
        );
        put(&line, Part::Quiet, row(42, SMALL), Align::Left);
        line.clear();
        line.push_str("eyes open:");
        for (name, eye) in [("right", seen.right_eye), ("left", seen.left_eye)] {
            let _ = match eye.openness() {
                Some(openness) => write!(line, " {name} {:.0}%", 100.0 * openness),
                None => write!(line, " {name} ?"),
            };
        }
        put(&line, Part::Quiet, row(53, SMALL), Align::Left);
    }

    for (i, expression) in (0..).zip(Expression::ALL) {
        let p = face.probabilities.of(expression).clamp(0.0, 1.0);
        let area = row(66 + ROW * i, 18);
        let part = if expression == top {
            Part::Text
        } else {
            Part::Quiet
        };
        let name = Rectangle::new(area.top_left, Size::new(NAMES, area.size.height));
        text(
            canvas,
            expression.name(),
            (part, Part::Card),
            name,
            Align::Left,
        );
        line.clear();
        let _ = write!(line, "{:.0}%", 100.0 * p);
        text(canvas, &line, (part, Part::Card), area, Align::Right);
        let bar = Rectangle::new(area.top_left + BAR, BAR_SIZE);
        let mood = Mood::Of(expression);
        let Ok(()) = draw_bar(canvas, bar, p, mood, Way::Right, Part::Card);
    }
}

/// A line of text in the first colour on a ground of the second one, in the
/// largest letters that fit.
fn text(
    canvas: &mut Canvas<Rgb888>,
    line: &str,
    colors: (Part, Part),
    area: Rectangle,
    align: Align,
) {
    let Size { width, height } = area.size;
    if let Some(style) = Style::fitting::<Rgb888>(Weight::Plain, &[line], width, height) {
        let Ok(()) = style.line_on(canvas, line, colors, area, align);
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
        let fill = |expression| Rgb888::of(Part::Fill(Mood::Of(expression)));
        let track = Rgb888::of(Part::Track);
        assert_eq!(pixel(&image, 100, 130), fill(Expression::Happy));
        assert_eq!(pixel(&image, 120, 130), Rgb888::new(10, 20, 30));
        assert_eq!(pixel(&image, 50, 130), Rgb888::new(10, 20, 30));
        // The bar of happy is three quarters full, that of surprise one
        // quarter, that of sad empty.
        let bar = |row: u32, part: f32| {
            pixel(
                &image,
                400 + 12 + 12 + 80 + (part * 90.0) as u32,
                12 + 66 + 21 * row + 9,
            )
        };
        assert_eq!(bar(3, 0.70), fill(Expression::Happy));
        assert_eq!(bar(3, 0.80), track);
        assert_eq!(bar(5, 0.20), fill(Expression::Surprise));
        assert_eq!(bar(5, 0.30), track);
        assert_eq!(bar(4, 0.05), track);
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
        for (from, to) in [
            ((48, 48), (384, 384)),
            ((640, 480), (640, 480)),
            ((4000, 3000), (1000, 750)),
            ((8000, 1), (1000, 1)),
            ((300, 1), (600, 2)),
        ] {
            assert_eq!(scale_of(from).size(from), to);
        }
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
