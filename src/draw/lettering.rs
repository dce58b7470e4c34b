//! Letters drawn like the faces: lines of one width with round ends, smooth at
//! any size. embedded-graphics' largest font is 20 pixels high, which is small
//! on a panel with 240 lines.
//!
//! There are only the letters and signs that labels and numbers need.
//! Coordinates are in x-heights: x from the glyph's left edge, y downwards from
//! the base line.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

use super::paint::{Layers, Place, Shape};
use super::palette::Theme;

/// The height above the base line and the depth below it, lines included.
const ASCENT: f32 = 1.62;
const DESCENT: f32 = 0.62;

/// The width of lines, and the space from one glyph's edge to the next one's.
const LINE: f32 = 0.19;
const SPACE: f32 = 0.46;

/// Below these x-heights in pixels, in colour and at one bit, a font made pixel
/// by pixel is easier to read.
const SMALLEST: f32 = 8.0;
const SMALLEST_AT_ONE_BIT: f32 = 12.0;

/// The horizontal alignment of text in its box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Centre,
    Right,
}

enum Trace {
    /// A line through points.
    Line(&'static [Place]),
    /// A part of an ellipse about a centre with radii, from one angle to another
    /// in degrees, counted from the right against the clock.
    Arc(Place, Place, f32, f32),
}

use Trace::{Arc, Line};

/// The width of a glyph, and its lines.
struct Glyph(f32, &'static [Trace]);

const ROUND: Trace = Arc((0.45, -0.5), (0.45, 0.5), 0.0, 180.0);
const ROUND_BELOW: Trace = Arc((0.45, -0.5), (0.45, 0.5), 180.0, 360.0);

fn glyph(letter: u8) -> Option<Glyph> {
    Some(match letter {
        b' ' => Glyph(0.30, &[]),
        b'a' => Glyph(0.9, &[ROUND, ROUND_BELOW, Line(&[(0.9, -1.0), (0.9, 0.0)])]),
        b'b' => Glyph(0.9, &[ROUND, ROUND_BELOW, Line(&[(0.0, -1.5), (0.0, 0.0)])]),
        b'c' => Glyph(0.80, &[Arc((0.45, -0.5), (0.45, 0.5), 42.0, 318.0)]),
        b'd' => Glyph(0.9, &[ROUND, ROUND_BELOW, Line(&[(0.9, -1.5), (0.9, 0.0)])]),
        b'e' => Glyph(
            0.88,
            &[
                Line(&[(0.0, -0.5), (0.88, -0.5)]),
                Arc((0.44, -0.5), (0.44, 0.5), 0.0, 180.0),
                Arc((0.44, -0.5), (0.44, 0.5), 180.0, 318.0),
            ],
        ),
        b'f' => Glyph(
            0.58,
            &[
                Arc((0.50, -1.20), (0.30, 0.30), 70.0, 180.0),
                Line(&[(0.20, -1.20), (0.20, 0.0)]),
                Line(&[(0.0, -0.96), (0.54, -0.96)]),
            ],
        ),
        b'g' => Glyph(
            0.9,
            &[
                ROUND,
                ROUND_BELOW,
                Line(&[(0.9, -1.0), (0.9, 0.12)]),
                Arc((0.47, 0.12), (0.43, 0.36), 0.0, -145.0),
            ],
        ),
        b'h' => Glyph(
            0.8,
            &[
                Line(&[(0.0, -1.5), (0.0, 0.0)]),
                Arc((0.4, -0.58), (0.4, 0.42), 0.0, 180.0),
                Line(&[(0.8, -0.58), (0.8, 0.0)]),
            ],
        ),
        b'i' => Glyph(
            0.0,
            &[Line(&[(0.0, -1.0), (0.0, 0.0)]), Line(&[(0.0, -1.42)])],
        ),
        b'k' => Glyph(
            0.72,
            &[
                Line(&[(0.0, -1.5), (0.0, 0.0)]),
                Line(&[(0.68, -1.0), (0.0, -0.36)]),
                Line(&[(0.26, -0.60), (0.72, 0.0)]),
            ],
        ),
        b'l' => Glyph(0.0, &[Line(&[(0.0, -1.5), (0.0, 0.0)])]),
        b'm' => Glyph(
            1.36,
            &[
                Line(&[(0.0, -1.0), (0.0, 0.0)]),
                Arc((0.34, -0.62), (0.34, 0.38), 0.0, 180.0),
                Line(&[(0.68, -0.62), (0.68, 0.0)]),
                Arc((1.02, -0.62), (0.34, 0.38), 0.0, 180.0),
                Line(&[(1.36, -0.62), (1.36, 0.0)]),
            ],
        ),
        b'n' => Glyph(
            0.8,
            &[
                Line(&[(0.0, -1.0), (0.0, 0.0)]),
                Arc((0.4, -0.58), (0.4, 0.42), 0.0, 180.0),
                Line(&[(0.8, -0.58), (0.8, 0.0)]),
            ],
        ),
        b'o' => Glyph(0.9, &[ROUND, ROUND_BELOW]),
        b'p' => Glyph(0.9, &[ROUND, ROUND_BELOW, Line(&[(0.0, -1.0), (0.0, 0.5)])]),
        b'r' => Glyph(
            0.50,
            &[
                Line(&[(0.0, -1.0), (0.0, 0.0)]),
                Arc((0.42, -0.55), (0.42, 0.45), 75.0, 180.0),
            ],
        ),
        b's' => Glyph(
            0.66,
            &[
                Arc((0.33, -0.76), (0.31, 0.24), 30.0, 270.0),
                Arc((0.33, -0.26), (0.33, 0.26), 90.0, -150.0),
            ],
        ),
        b't' => Glyph(
            0.56,
            &[
                Line(&[(0.20, -1.40), (0.20, -0.28)]),
                Arc((0.48, -0.28), (0.28, 0.28), 180.0, 285.0),
                Line(&[(0.0, -0.98), (0.54, -0.98)]),
            ],
        ),
        b'u' => Glyph(
            0.8,
            &[
                Line(&[(0.0, -1.0), (0.0, -0.42)]),
                Arc((0.4, -0.42), (0.4, 0.42), 180.0, 360.0),
                Line(&[(0.8, -1.0), (0.8, 0.0)]),
            ],
        ),
        b'v' => Glyph(0.84, &[Line(&[(0.0, -1.0), (0.42, 0.0), (0.84, -1.0)])]),
        b'w' => Glyph(
            1.24,
            &[
                Line(&[(0.0, -1.0), (0.32, 0.0), (0.62, -0.9)]),
                Line(&[(0.62, -0.9), (0.92, 0.0), (1.24, -1.0)]),
            ],
        ),
        b'y' => Glyph(
            0.84,
            &[
                Line(&[(0.0, -1.0), (0.42, 0.0)]),
                Line(&[(0.84, -1.0), (0.22, 0.48)]),
            ],
        ),
        b'0' => Glyph(
            0.86,
            &[
                Arc((0.43, -0.72), (0.43, 0.72), 0.0, 180.0),
                Arc((0.43, -0.72), (0.43, 0.72), 180.0, 360.0),
            ],
        ),
        b'1' => Glyph(0.86, &[Line(&[(0.18, -1.18), (0.50, -1.44), (0.50, 0.0)])]),
        b'2' => Glyph(
            0.86,
            &[
                Arc((0.42, -1.03), (0.40, 0.41), 165.0, -35.0),
                Line(&[(0.75, -0.79), (0.02, 0.0), (0.86, 0.0)]),
            ],
        ),
        b'3' => Glyph(
            0.86,
            &[
                Arc((0.42, -1.09), (0.36, 0.35), 150.0, -90.0),
                Arc((0.42, -0.37), (0.42, 0.37), 90.0, -150.0),
            ],
        ),
        b'4' => Glyph(
            0.86,
            &[Line(&[
                (0.62, 0.0),
                (0.62, -1.44),
                (0.0, -0.40),
                (0.86, -0.40),
            ])],
        ),
        b'5' => Glyph(
            0.86,
            &[
                Line(&[(0.76, -1.44), (0.16, -1.44), (0.09, -0.80)]),
                Arc((0.40, -0.46), (0.44, 0.46), 132.0, -150.0),
            ],
        ),
        b'6' => Glyph(
            0.86,
            &[
                Arc((0.43, -0.44), (0.43, 0.44), 0.0, 180.0),
                Arc((0.43, -0.44), (0.43, 0.44), 180.0, 360.0),
                Arc((0.75, -0.46), (0.75, 0.98), 105.0, 180.0),
            ],
        ),
        b'7' => Glyph(0.86, &[Line(&[(0.02, -1.44), (0.84, -1.44), (0.30, 0.0)])]),
        b'8' => Glyph(
            0.86,
            &[
                Arc((0.43, -1.09), (0.36, 0.35), 0.0, 180.0),
                Arc((0.43, -1.09), (0.36, 0.35), 180.0, 360.0),
                Arc((0.43, -0.37), (0.42, 0.37), 0.0, 180.0),
                Arc((0.43, -0.37), (0.42, 0.37), 180.0, 360.0),
            ],
        ),
        b'9' => Glyph(
            0.86,
            &[
                Arc((0.43, -1.00), (0.43, 0.44), 0.0, 180.0),
                Arc((0.43, -1.00), (0.43, 0.44), 180.0, 360.0),
                Arc((0.11, -0.98), (0.75, 0.98), 0.0, -75.0),
            ],
        ),
        b'%' => Glyph(
            1.24,
            &[
                Line(&[(0.28, 0.0), (0.96, -1.44)]),
                Arc((0.24, -1.14), (0.24, 0.30), 0.0, 360.0),
                Arc((1.00, -0.30), (0.24, 0.30), 0.0, 360.0),
            ],
        ),
        _ => return None,
    })
}

/// A size of lettering: pixels per x-height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lettering(f32);

impl Lettering {
    /// The largest in which each of `texts` fits into a box; `None` if that is
    /// too small to read, or if a character is missing.
    pub fn fitting<C: Theme>(texts: &[&str], width: u32, height: u32) -> Option<Self> {
        let mut size = height as f32 / (ASCENT + DESCENT);
        for text in texts {
            size = size.min(width as f32 / width_of(text)?);
        }
        // Whole pixels, so that all stems and bars have the same position on
        // the grid.
        let smallest = if C::ONE_BIT {
            SMALLEST_AT_ONE_BIT
        } else {
            SMALLEST
        };
        (size >= smallest).then_some(Self(size.floor()))
    }

    /// The width of a text in pixels.
    pub fn width(self, text: &str) -> u32 {
        (width_of(text).unwrap_or(0.0) * self.0).ceil() as u32
    }

    /// The height of a line in pixels, from the highest to the lowest stroke.
    pub fn height(self) -> u32 {
        ((ASCENT + DESCENT) * self.0).ceil() as u32
    }

    /// Draws one line with the middle of its small letters in the middle of the
    /// box's height, in the first colour on a ground of the second one.
    pub fn draw<D>(
        self,
        target: &mut D,
        text: &str,
        (color, ground): (D::Color, D::Color),
        area: Rectangle,
        align: Align,
    ) -> Result<(), D::Error>
    where
        D: DrawTarget,
        D::Color: Theme,
    {
        let scale = self.0;
        let free = area.size.width as i32 - self.width(text) as i32;
        let left = area.top_left.x
            + match align {
                Align::Left => 0,
                Align::Centre => free / 2,
                Align::Right => free,
            };
        let top = area.top_left.y as f32;
        let spare = area.size.height as f32 - (ASCENT + DESCENT) * scale;
        let base = (top + spare / 2.0 + ASCENT * scale).round();
        let mut x = left as f32 + LINE * scale / 2.0;
        for letter in text.bytes() {
            let Some(Glyph(width, traces)) = glyph(letter) else {
                continue;
            };
            let at = |(px, py): Place| (x + px * scale, base + py * scale);
            let mut layers = Layers::new();
            for trace in traces {
                layers.add(
                    color,
                    match *trace {
                        Line(points) => {
                            let mut path = [(0.0, 0.0); 4];
                            let count = points.len().min(path.len());
                            for (point, &from) in path.iter_mut().zip(points) {
                                *point = at(from);
                            }
                            Shape::stroke(&path[..count], LINE * scale)
                        }
                        Arc((cx, cy), (rx, ry), from, to) => Shape::curve(LINE * scale, |t| {
                            let (sin, cos) = (from + (to - from) * t).to_radians().sin_cos();
                            at((cx + rx * cos, cy - ry * sin))
                        }),
                    },
                );
            }
            let cell = Rectangle::with_corners(
                Point::new(
                    (x - LINE * scale / 2.0).floor() as i32,
                    (base - ASCENT * scale).floor() as i32,
                ),
                Point::new(
                    (x + (width + LINE / 2.0) * scale).ceil() as i32,
                    (base + DESCENT * scale).ceil() as i32,
                ),
            );
            if cell.size != Size::zero() && !traces.is_empty() {
                layers.draw(target, cell, ground)?;
            }
            x += (width + SPACE) * scale;
        }
        Ok(())
    }
}

/// The width in x-heights, lines included.
fn width_of(text: &str) -> Option<f32> {
    let mut width = LINE;
    for (index, letter) in text.bytes().enumerate() {
        if index > 0 {
            width += SPACE;
        }
        width += glyph(letter)?.0;
    }
    Some(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Canvas;
    use crate::observe::expression::Expression;
    use embedded_graphics::pixelcolor::{BinaryColor, Rgb888};

    #[test]
    fn every_label_can_be_lettered() {
        let others = [
            "uncertain",
            "no face",
            "no camera",
            "starting",
            "stopped",
            "0123456789%",
            "calibrating",
            "no reading",
            "ok drowsy",
            "microsleep asleep unresponsive",
            "left right shut",
        ];
        for text in Expression::ALL.map(Expression::name).iter().chain(&others) {
            let lettering = Lettering::fitting::<Rgb888>(&[text], 4000, 200).expect(text);
            assert!(lettering.height() <= 200);
        }
        assert!(Lettering::fitting::<Rgb888>(&["\u{e9}"], 4000, 200).is_none());
    }

    #[test]
    fn small_boxes_are_left_to_the_fonts() {
        assert!(Lettering::fitting::<Rgb888>(&["sad"], 400, 18).is_some());
        assert!(Lettering::fitting::<Rgb888>(&["sad"], 400, 17).is_none());
        assert!(Lettering::fitting::<BinaryColor>(&["sad"], 400, 26).is_none());
        assert!(Lettering::fitting::<Rgb888>(&["sad"], 20, 200).is_none());
    }

    #[test]
    fn letters_stay_in_their_box() {
        for text in ["disgust", "happy", "100%", "fly"] {
            let lettering = Lettering::fitting::<BinaryColor>(&[text], 150, 60).unwrap();
            let mut canvas = Canvas::new(170, 80, BinaryColor::Off);
            let place = Rectangle::new(Point::new(10, 10), Size::new(150, 60));
            let colors = (BinaryColor::On, BinaryColor::Off);
            let Ok(()) = lettering.draw(&mut canvas, text, colors, place, Align::Centre);
            let mut lit = 0;
            for y in 0..80 {
                for (x, pixel) in (0..).zip(canvas.row(y)) {
                    if pixel.is_on() {
                        lit += 1;
                        assert!(place.contains(Point::new(x, y as i32)), "{text}: {x},{y}");
                    }
                }
            }
            assert!(lit > 200, "{text}");
        }
    }
}
