//! Marks of faces in a picture: a box, a tag with the label, landmarks. Drawn
//! with the shapes and colours of the displays.

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

use super::canvas::Canvas;
use super::paint::{Place, Shape};
use super::palette::{Mood, Part, Theme};
use super::scale::Scale;
use super::text::{self, Align, Style, Weight};
use crate::frame::Rect;

/// A face in a picture.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    /// The face's box in pixels of the unscaled picture; only the part inside
    /// of the picture is drawn.
    pub rect: Rect,
    /// Gives the colour.
    pub mood: Mood,
    /// Printable ASCII for the tag.
    pub tag: &'a str,
    /// Points of the face in pixels of the unscaled picture.
    pub landmarks: &'a [(f32, f32)],
}

/// Draws a face's mark over a picture that was [copied](Scale::copy) to the top
/// left corner of a canvas. `size` is the size of the unscaled picture.
pub fn mark<C: Theme>(canvas: &mut Canvas<C>, mark: &Mark<'_>, scale: Scale, size: (u32, u32)) {
    let (width, height) = scale.size(size);
    let (w, h) = (width as f32, height as f32);
    let x = |pixels: f32| scale.length(pixels).clamp(0.0, w);
    let y = |pixels: f32| scale.length(pixels).clamp(0.0, h);
    let rect = mark.rect;
    let (left, top) = (x(rect.x as f32), y(rect.y as f32));
    let (right, bottom) = (x(rect.right() as f32), y(rect.bottom() as f32));
    if right - left < 1.0 || bottom - top < 1.0 {
        return;
    }
    let fill = C::of(Part::Fill(mark.mood));
    let dark = C::of(Part::Ground);
    let line = (w.min(h) / 160.0).round().clamp(2.0, 4.0);
    let whole = Rectangle::new(Point::zero(), Size::new(width, height));
    // A dark line on both sides keeps the box visible on any background.
    for (color, line) in [(dark, line + 2.0), (fill, line)] {
        let half = ((right - left) / 2.0, (bottom - top) / 2.0);
        let frame = Shape::Frame {
            centre: ((left + right) / 2.0, (top + bottom) / 2.0),
            half,
            rounding: (4.0 * line).min(half.0).min(half.1),
            width: line,
        };
        frame.cover(canvas, color, whole);
    }
    for &(across, down) in mark.landmarks {
        if !(across.is_finite() && down.is_finite()) {
            continue;
        }
        let centre: Place = (x(across), y(down));
        for (color, radius) in [(dark, line * 0.5 + 1.6), (fill, line * 0.5 + 0.6)] {
            let radii = (radius, radius);
            Shape::Ellipse { centre, radii }.cover(canvas, color, whole);
        }
    }
    tag(canvas, mark, (left, top), (width, height), line);
}

/// The plate with the label: above the box, or inside of it if there is no room;
/// never beyond the picture's edge.
fn tag<C: Theme>(
    canvas: &mut Canvas<C>,
    mark: &Mark<'_>,
    (left, top): Place,
    (width, height): (u32, u32),
    line: f32,
) {
    let room = (height / 22).clamp(13, 20);
    let columns = mark.tag.len();
    let Some(font) = text::font_fitting(Weight::Bold, columns, 1, width, room) else {
        return;
    };
    let style = Style::Font(font);
    let size = Size::new((style.width(mark.tag) + 10).min(width), style.height() + 4);
    let edge = (line / 2.0) as i32;
    let (left, top) = (left as i32 - edge, top as i32 - edge);
    let y = if top >= size.height as i32 {
        top - size.height as i32 + 1
    } else {
        top
    };
    let x = left.min(width as i32 - size.width as i32).max(0);
    let y = y.min(height as i32 - size.height as i32).max(0);
    let plate = Rectangle::new(Point::new(x, y), size);
    let half = (size.width as f32 / 2.0, size.height as f32 / 2.0);
    let shape = Shape::Block {
        centre: (x as f32 + half.0, y as f32 + half.1),
        half,
        rounding: 4.0,
    };
    let whole = Rectangle::new(Point::zero(), Size::new(width, height));
    shape.cover(canvas, C::of(Part::Fill(mark.mood)), whole);
    // A font draws its lit pixels only.
    let Ok(()) = style.line(canvas, mark.tag, Part::Ground, plate, Align::Centre);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::expression::Expression;
    use embedded_graphics::pixelcolor::Rgb888;
    use embedded_graphics::prelude::RgbColor;
    use std::collections::HashSet;

    fn drawn(mark_of: Mark<'_>, size: (u32, u32)) -> Canvas<Rgb888> {
        let mut canvas = Canvas::new(size.0, size.1, Rgb888::BLACK);
        mark(&mut canvas, &mark_of, Scale::NONE, size);
        canvas
    }

    fn pixel(canvas: &Canvas<Rgb888>, x: u32, y: u32) -> Rgb888 {
        canvas.row(y)[x as usize]
    }

    #[test]
    fn a_box_a_tag_and_landmarks_where_they_belong() {
        let mood = Mood::Of(Expression::Happy);
        let canvas = drawn(
            Mark {
                rect: Rect::new(100, 80, 120, 100),
                mood,
                tag: "1 happy 75%",
                landmarks: &[(150.5, 130.5), (f32::NAN, 3.0)],
            },
            (400, 300),
        );
        let fill = Rgb888::of(Part::Fill(mood));
        for (x, y) in [(100, 130), (219, 130), (160, 179), (150, 130), (104, 70)] {
            assert_eq!(pixel(&canvas, x, y), fill, "{x},{y}");
        }
        for (x, y) in [(120, 130), (90, 130), (0, 0)] {
            assert_eq!(pixel(&canvas, x, y), Rgb888::BLACK, "{x},{y}");
        }
        assert_eq!(pixel(&canvas, 101, 130), Rgb888::of(Part::Ground));
    }

    #[test]
    fn odd_boxes_and_pictures_cause_no_panic() {
        let rects = [
            Rect::new(i32::MIN, i32::MAX, u32::MAX, u32::MAX),
            Rect::new(i32::MIN, i32::MIN, u32::MAX, u32::MAX),
            Rect::new(0, 0, 0, 0),
            Rect::new(-30, -20, 60, 60),
            Rect::new(2, 1, 3, 2),
        ];
        let mut colors = HashSet::new();
        for size in [(1, 1), (7, 90), (90, 7), (64, 48)] {
            for rect in rects {
                let canvas = drawn(
                    Mark {
                        rect,
                        mood: Mood::None,
                        tag: "uncertain",
                        landmarks: &[(f32::INFINITY, 0.0), (1e30, -1e30)],
                    },
                    size,
                );
                colors.extend(canvas.pixels().iter().map(|pixel| pixel.to_rgb()));
            }
        }
        assert!(colors.len() > 3);
    }
}
