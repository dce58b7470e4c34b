//! Draws the result of a recording of eyes: openness, closures, PERCLOS,
//! states.

use embedded_graphics::Drawable;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point as Place, Size};
use embedded_graphics::mono_font::{MonoTextStyle, ascii};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};

use super::canvas::Canvas;
use super::palette::{Mood, Part, Theme};
use crate::decide::fatigue::State;
use crate::image::RgbImage;
use crate::observe::expression::Expression;

/// The values at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// In seconds.
    pub time: f64,
    /// Openness of the left and the right eye, 0 to 1.
    pub openness: [Option<f32>; 2],
    /// Whether the eyes are shut.
    pub is_closure: bool,
    /// Over 60 s.
    pub perclos: Option<f32>,
    /// Over 180 s.
    pub perclos_180: Option<f32>,
    pub state: State,
}

/// The data of a timeline.
#[derive(Clone, Copy, Debug)]
pub struct Timeline<'p> {
    /// In order of time.
    pub points: &'p [Point],
    /// PERCLOS from which on a person counts as drowsy.
    pub drowsy: f32,
}

const WIDTH: u32 = 1280;
const LEFT: i32 = 90;
const RIGHT: i32 = WIDTH as i32 - 20;
const OPENNESS: (i32, i32) = (30, 230);
const PERCLOS: (i32, i32) = (270, 430);
const STATES: (i32, i32) = (470, 500);
const HEIGHT: u32 = 580;

const fn mood(expression: Expression) -> Part {
    Part::Fill(Mood::Of(expression))
}

const LEFT_EYE: Part = mood(Expression::Surprise);
const RIGHT_EYE: Part = mood(Expression::Sad);
const SHORT: Part = Part::Text;
const LONG: Part = mood(Expression::Fear);
const LIMIT: Part = mood(Expression::Angry);

const fn colour(state: State) -> Part {
    match state {
        State::Nobody => Part::Track,
        State::NoReading => Part::Quiet,
        _ => Part::Fill(Mood::of_state(state)),
    }
}

/// Draws a timeline of 1280x580 pixels. If several points share a column, it
/// shows the lowest and the highest openness, the most severe state, and
/// otherwise the last value.
#[must_use]
pub fn draw(timeline: &Timeline<'_>) -> RgbImage {
    let mut plot = Plot {
        canvas: Canvas::new(WIDTH, HEIGHT, Rgb888::of(Part::Ground)),
        timeline,
    };
    plot.frame();
    plot.columns();
    plot.legend();
    let pixels = plot.canvas.pixels().iter().flat_map(|pixel| pixel.to_rgb());
    RgbImage {
        width: WIDTH,
        height: HEIGHT,
        pixels: pixels.collect(),
    }
}

struct Plot<'t> {
    canvas: Canvas<Rgb888>,
    timeline: &'t Timeline<'t>,
}

impl Plot<'_> {
    fn fill(&mut self, x: i32, top: i32, width: i32, bottom: i32, part: Part) {
        let size = Size::new(width.max(0) as u32, (bottom - top).max(0) as u32);
        let area = Rectangle::new(Place::new(x, top), size);
        // Drawing on a canvas cannot fail.
        let _ = self.canvas.fill_solid(&area, Rgb888::of(part));
    }

    fn text(&mut self, text: &str, x: i32, y: i32, part: Part, alignment: Alignment) {
        let style = MonoTextStyle::new(&ascii::FONT_8X13, Rgb888::of(part));
        let layout = TextStyleBuilder::new()
            .alignment(alignment)
            .baseline(Baseline::Middle)
            .build();
        let _ = Text::with_text_style(text, Place::new(x, y), style, layout).draw(&mut self.canvas);
    }

    fn span(&self) -> (f64, f64) {
        let time = |point: Option<&Point>| point.map_or(0.0, |point| point.time);
        let (first, last) = (
            time(self.timeline.points.first()),
            time(self.timeline.points.last()),
        );
        (first, (last - first).max(1e-3))
    }

    fn x(&self, time: f64) -> i32 {
        let (first, length) = self.span();
        LEFT + ((time - first) / length * f64::from(RIGHT - LEFT - 1)) as i32
    }

    /// The highest PERCLOS that is shown.
    fn highest(&self) -> f32 {
        let values = self.timeline.points.iter();
        let highest = values
            .flat_map(|point| [point.perclos, point.perclos_180])
            .flatten()
            .fold(0.0, f32::max);
        (highest.max(self.timeline.drowsy) * 1.25).min(1.0)
    }

    fn frame(&mut self) {
        for ((top, bottom), values) in [
            (OPENNESS, [(1.0, "1.0"), (0.5, "0.5"), (0.0, "0.0")]),
            (
                PERCLOS,
                [
                    (self.highest(), ""),
                    (self.timeline.drowsy, ""),
                    (0.0, "0.00"),
                ],
            ),
        ] {
            let most = values[0].0;
            for (value, name) in values {
                let y = height_of(value / most, (top, bottom));
                self.fill(LEFT, y, RIGHT - LEFT, y + 1, Part::Track);
                let text = if name.is_empty() {
                    format!("{value:.2}")
                } else {
                    name.to_owned()
                };
                self.text(&text, LEFT - 8, y, Part::Quiet, Alignment::Right);
            }
        }
        let (first, length) = self.span();
        let step = step(length);
        let mut time = (first / step).ceil() * step;
        while time <= first + length {
            let x = self.x(time);
            self.fill(x, OPENNESS.0, 1, STATES.1 + 6, Part::Track);
            let whole = time.round() as i64;
            let text = if step < 1.0 {
                format!("{time:.1} s")
            } else if whole < 600 {
                format!("{whole} s")
            } else {
                format!("{}:{:02} min", whole / 60, whole % 60)
            };
            self.text(&text, x, STATES.1 + 16, Part::Quiet, Alignment::Center);
            time += step;
        }
    }

    fn columns(&mut self) {
        let most = self.highest();
        let points = self.timeline.points;
        let limit = height_of(self.timeline.drowsy / most, PERCLOS);
        self.fill(LEFT, limit, RIGHT - LEFT, limit + 1, LIMIT);
        let mut from = 0;
        while from < points.len() {
            let x = self.x(points[from].time);
            let after = points[from..]
                .iter()
                .position(|point| self.x(point.time) != x);
            let to = after.map_or(points.len(), |after| from + after);
            // Up to the next point, unless that is much later.
            let end = points.get(to).map_or(x + 1, |next| {
                if next.time - points[to - 1].time <= 1.0 {
                    self.x(next.time)
                } else {
                    x + 1
                }
            });
            self.column(x, end - x, &points[from..to], most);
            from = to;
        }
    }

    fn column(&mut self, x: i32, width: i32, points: &[Point], most: f32) {
        if points.iter().any(|point| point.is_closure) {
            self.fill(x, OPENNESS.0, width, OPENNESS.1, Part::Track);
        }
        for (eye, part) in [(1, RIGHT_EYE), (0, LEFT_EYE)] {
            let values = || points.iter().filter_map(|point| point.openness[eye]);
            let lowest = values().reduce(f32::min);
            let highest = values().reduce(f32::max);
            if let (Some(lowest), Some(highest)) = (lowest, highest) {
                let (top, bottom) = (height_of(highest, OPENNESS), height_of(lowest, OPENNESS));
                self.fill(x, top - 1, width, bottom + 1, part);
            }
        }
        let Some(last) = points.last() else {
            return;
        };
        for (value, part) in [(last.perclos_180, LONG), (last.perclos, SHORT)] {
            if let Some(value) = value {
                let y = height_of(value / most, PERCLOS);
                self.fill(x, y - 1, width, y + 1, part);
            }
        }
        let gravest = points.iter().map(|point| point.state).max();
        if let Some(state) = gravest {
            self.fill(x, STATES.0, width, STATES.1, colour(state));
        }
    }

    fn legend(&mut self) {
        let text = Alignment::Left;
        self.text("openness", LEFT, 16, Part::Text, text);
        self.text("left", LEFT + 90, 16, LEFT_EYE, text);
        self.text("right", LEFT + 140, 16, RIGHT_EYE, text);
        self.text("shaded: shut", LEFT + 200, 16, Part::Quiet, text);
        self.text("PERCLOS", LEFT, 256, Part::Text, text);
        self.text("60 s", LEFT + 90, 256, SHORT, text);
        self.text("180 s", LEFT + 140, 256, LONG, text);
        self.text("drowsy", LEFT + 200, 256, LIMIT, text);
        self.text("state", LEFT, 456, Part::Text, text);
        for (index, state) in State::ALL.into_iter().enumerate() {
            let x = LEFT + 140 * index as i32;
            self.fill(x, HEIGHT as i32 - 34, 12, HEIGHT as i32 - 22, colour(state));
            self.text(state.name(), x + 18, HEIGHT as i32 - 28, Part::Text, text);
        }
    }
}

/// The row of a share of a panel's height.
fn height_of(share: f32, (top, bottom): (i32, i32)) -> i32 {
    bottom - (share.clamp(0.0, 1.0) * (bottom - top) as f32).round() as i32
}

/// The distance between time marks: about ten marks in all.
fn step(length: f64) -> f64 {
    let steps = [
        0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    ];
    let near = steps.into_iter().find(|step| length / step <= 12.0);
    near.unwrap_or_else(|| (length / 36_000.0).ceil() * 3600.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(picture: &RgbImage, x: i32, y: i32) -> [u8; 3] {
        let at = 3 * (y as usize * picture.width as usize + x as usize);
        [
            picture.pixels[at],
            picture.pixels[at + 1],
            picture.pixels[at + 2],
        ]
    }

    #[test]
    fn a_closure_and_a_state_are_seen() {
        let points: Vec<_> = (0..1000)
            .map(|frame| {
                let shut = (500..600).contains(&frame);
                Point {
                    time: f64::from(frame) / 10.0,
                    openness: [Some(if shut { 0.0 } else { 1.0 }), None],
                    is_closure: shut,
                    perclos: Some(0.05),
                    perclos_180: None,
                    state: if shut { State::Asleep } else { State::Ok },
                }
            })
            .collect();
        let picture = draw(&Timeline {
            points: &points,
            drowsy: 0.15,
        });
        let shown = |part| Rgb888::of(part).to_rgb();
        let (open, shut) = (LEFT + (RIGHT - LEFT) / 4, LEFT + (RIGHT - LEFT) * 55 / 100);
        assert_eq!(pixel(&picture, open, OPENNESS.0), shown(LEFT_EYE));
        assert_eq!(pixel(&picture, shut, OPENNESS.1 - 1), shown(LEFT_EYE));
        assert_eq!(
            pixel(&picture, open, STATES.0 + 5),
            shown(colour(State::Ok))
        );
        assert_eq!(
            pixel(&picture, shut, STATES.0 + 5),
            shown(colour(State::Asleep))
        );
    }

    #[test]
    fn odd_lengths_are_drawn() {
        let point = |time| Point {
            time,
            openness: [None; 2],
            is_closure: false,
            perclos: None,
            perclos_180: None,
            state: State::Calibrating,
        };
        for points in [vec![], vec![point(5.0)], vec![point(0.0), point(1e9)]] {
            let picture = draw(&Timeline {
                points: &points,
                drowsy: 0.15,
            });
            assert_eq!(picture.pixels.len(), 3 * (WIDTH * HEIGHT) as usize);
        }
    }
}
