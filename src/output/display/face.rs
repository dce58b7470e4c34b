//! The drawn faces and signs, in units of the face's radius, y downwards.
//!
//! Each expression differs from every other in its brows, its eyes and its
//! mouth, so that people recognise it across a room at 60 pixels and one bit.
//! The features are those of drawings that people read most reliably: wide eyes
//! and a round mouth for surprise, inner brows raised for sadness and fear, the
//! tongue for disgust, clenched teeth for anger.

use crate::decide::fatigue::State;
use crate::observe::expression::Expression;

use crate::draw::paint::{Layers, Place, Shape};
use crate::draw::palette::{Mood, Part, Theme};

/// The place of a picture: its centre and the face's radius in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    pub centre: Place,
    pub radius: f32,
}

impl Spot {
    fn at(self, x: f32, y: f32) -> Place {
        (
            self.centre.0 + x * self.radius,
            self.centre.1 + y * self.radius,
        )
    }

    fn size(self, x: f32, y: f32) -> Place {
        (x * self.radius, y * self.radius)
    }
}

/// Draws onto a spot with one width of line.
struct Pen<'a, C> {
    layers: &'a mut Layers<C>,
    spot: Spot,
    width: f32,
}

impl<C: Theme> Pen<'_, C> {
    fn ellipse(&mut self, part: Part, x: f32, y: f32, rx: f32, ry: f32) {
        self.layers.add(
            C::of(part),
            Shape::Ellipse {
                centre: self.spot.at(x, y),
                radii: self.spot.size(rx, ry),
            },
        );
    }

    fn line(&mut self, part: Part, path: &[Place]) {
        let mut points = [(0.0, 0.0); 8];
        let count = path.len().min(points.len());
        for (point, &(x, y)) in points.iter_mut().zip(path) {
            *point = self.spot.at(x, y);
        }
        self.layers
            .add(C::of(part), Shape::stroke(&points[..count], self.width));
    }

    fn bend(&mut self, part: Part, a: Place, b: Place, c: Place) {
        let spot = self.spot;
        let at = |p: Place| spot.at(p.0, p.1);
        self.layers
            .add(C::of(part), Shape::bend(at(a), at(b), at(c), self.width));
    }

    fn bowl(&mut self, part: Part, x: f32, y: f32, rx: f32, ry: f32, top: f32) {
        self.layers.add(
            C::of(part),
            Shape::Bowl {
                centre: self.spot.at(x, y),
                radii: self.spot.size(rx, ry),
                top: self.spot.at(0.0, top).1,
                rounding: 0.06 * self.spot.radius,
            },
        );
    }

    /// The intersection of two ellipses, each with a centre and radii.
    fn lens(&mut self, part: Part, a: (Place, Place), b: (Place, Place)) {
        let spot = self.spot;
        let scaled = |(centre, radii): (Place, Place)| {
            (spot.at(centre.0, centre.1), spot.size(radii.0, radii.1))
        };
        self.layers.add(
            C::of(part),
            Shape::Lens {
                a: scaled(a),
                b: scaled(b),
            },
        );
    }

    /// A drop: from its pointed top to its round bottom, with their radii.
    fn drop(&mut self, part: Part, x: f32, (top, bottom): (f32, f32), radii: (f32, f32)) {
        let (tip, round) = self.spot.size(radii.0, radii.1);
        self.layers.add(
            C::of(part),
            Shape::Drop {
                top: self.spot.at(x, top),
                bottom: self.spot.at(x, bottom).1,
                radii: (tip.max(0.3), round),
            },
        );
    }

    fn block(&mut self, part: Part, x: f32, y: f32, half: Place, rounding: f32) {
        self.layers.add(
            C::of(part),
            Shape::Block {
                centre: self.spot.at(x, y),
                half: self.spot.size(half.0, half.1),
                rounding: rounding * self.spot.radius,
            },
        );
    }

    fn ring(&mut self, part: Part, radius: f32, dashes: u32) {
        let width = self.width;
        self.layers.add(
            C::of(part),
            Shape::Ring {
                centre: self.spot.centre,
                radius: radius * self.spot.radius - width / 2.0,
                width,
                dashes,
            },
        );
    }

    /// The brackets of a viewfinder.
    fn brackets(&mut self, part: Part) {
        let (near, far) = (0.56, 0.90);
        for (x, y) in [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)] {
            self.line(
                part,
                &[(x * near, y * far), (x * far, y * far), (x * far, y * near)],
            );
        }
    }

    /// The same on both sides.
    fn both(&mut self, mut draw: impl FnMut(&mut Self, f32)) {
        draw(self, -1.0);
        draw(self, 1.0);
    }

    /// Moves what is drawn from now on, in parts of the radius: the features of a
    /// head that is turned.
    fn turn(&mut self, (x, y): Place) {
        self.spot.centre = self.spot.at(x, y);
    }

    fn head(&mut self, mood: Mood) {
        self.ellipse(Part::Rim(mood), 0.0, 0.0, 1.0, 1.0);
        let inner = 1.0 - self.width / self.spot.radius;
        self.ellipse(Part::Skin(mood), 0.0, 0.0, inner, inner);
    }

    fn eyes(&mut self, rx: f32, ry: f32) {
        self.both(|pen, side| pen.ellipse(Part::Feature, side * 0.36, -0.16, rx, ry));
    }

    /// Eyes wide open, with the white around the pupil.
    fn wide_eyes(&mut self, radius: f32, pupil: f32) {
        let line = self.width * 0.8 / self.spot.radius;
        self.both(|pen, side| {
            let x = side * 0.38;
            pen.ellipse(Part::Feature, x, -0.16, radius, radius * 1.12);
            pen.ellipse(Part::White, x, -0.16, radius - line, radius * 1.12 - line);
            // At one bit and this size a pupil would touch the ring.
            if !C::ONE_BIT || pen.spot.radius >= 22.0 {
                pen.ellipse(Part::Feature, x, -0.16, pupil, pupil);
            }
        });
    }
}

/// The width of lines for a radius: a whole number of pixels at one bit,
/// because a line of 2.4 pixels would be 2 pixels wide in some places and 3 in
/// others.
fn line_width<C: Theme>(radius: f32) -> f32 {
    if C::ONE_BIT {
        (radius * 0.075).round().max(1.0)
    } else {
        (radius * 0.085).max(1.0)
    }
}

fn pen<C: Theme>(layers: &mut Layers<C>, spot: Spot) -> Pen<'_, C> {
    Pen {
        layers,
        spot,
        width: line_width::<C>(spot.radius),
    }
}

/// A face with an expression, its features moved as by a turned head.
pub fn expression<C: Theme>(
    layers: &mut Layers<C>,
    spot: Spot,
    expression: Expression,
    turn: Place,
) {
    let mut pen = pen(layers, spot);
    pen.head(Mood::Of(expression));
    pen.turn(turn);
    let f = Part::Feature;
    match expression {
        Expression::Angry => {
            pen.eyes(0.10, 0.10);
            pen.both(|pen, s| pen.line(f, &[(s * 0.60, -0.46), (s * 0.16, -0.24)]));
            // Clenched teeth.
            pen.block(f, 0.0, 0.46, (0.40, 0.17), 0.10);
            let line = pen.width / pen.spot.radius;
            pen.block(Part::White, 0.0, 0.46, (0.40 - line, 0.17 - line), 0.04);
            pen.width = (pen.width * 0.6).max(1.0);
            for x in [-0.19, 0.0, 0.19] {
                pen.line(f, &[(x, 0.34), (x, 0.58)]);
            }
        }
        Expression::Disgust => {
            // Eyes screwed up, brows low, the tongue out.
            pen.both(|pen, s| {
                pen.line(
                    f,
                    &[(s * 0.52, -0.30), (s * 0.24, -0.16), (s * 0.52, -0.04)],
                );
            });
            pen.both(|pen, s| pen.line(f, &[(s * 0.60, -0.50), (s * 0.20, -0.42)]));
            let line = pen.width / pen.spot.radius;
            pen.bowl(f, 0.10, 0.42, 0.21, 0.40, 0.40);
            pen.bowl(Part::Tongue, 0.10, 0.42, 0.21 - line, 0.40 - line, 0.40);
            pen.bend(f, (-0.44, 0.46), (0.0, 0.30), (0.44, 0.46));
        }
        Expression::Fear => {
            pen.wide_eyes(0.19, 0.07);
            pen.both(|pen, s| pen.bend(f, (s * 0.62, -0.48), (s * 0.34, -0.54), (s * 0.16, -0.70)));
            // A wavy mouth, in two strokes so that it is smooth.
            for half in [-1.0, 0.0] {
                let spot = pen.spot;
                let wave = Shape::curve(pen.width, |t| {
                    let along = half + t;
                    spot.at(
                        along * 0.42,
                        0.46 - 0.075 * (along * std::f32::consts::TAU).sin(),
                    )
                });
                pen.layers.add(C::of(f), wave);
            }
        }
        Expression::Happy => {
            pen.both(|pen, s| {
                pen.bend(f, (s * 0.54, -0.10), (s * 0.37, -0.42), (s * 0.20, -0.10));
            });
            pen.both(|pen, s| pen.bend(f, (s * 0.56, -0.46), (s * 0.38, -0.60), (s * 0.22, -0.50)));
            pen.bowl(f, 0.0, 0.18, 0.54, 0.54, 0.18);
            if !C::ONE_BIT {
                // The tongue stays inside of the mouth.
                pen.lens(
                    Part::Tongue,
                    ((0.0, 0.18), (0.48, 0.48)),
                    ((0.0, 0.66), (0.30, 0.22)),
                );
            }
        }
        Expression::Sad => {
            pen.eyes(0.09, 0.12);
            pen.both(|pen, s| pen.line(f, &[(s * 0.58, -0.36), (s * 0.20, -0.54)]));
            pen.bend(f, (-0.34, 0.56), (0.0, 0.24), (0.34, 0.56));
            pen.drop(Part::Tear, 0.52, (0.06, 0.26), (0.02, 0.10));
        }
        Expression::Surprise => {
            pen.wide_eyes(0.20, 0.09);
            pen.both(|pen, s| pen.bend(f, (s * 0.58, -0.56), (s * 0.38, -0.78), (s * 0.18, -0.60)));
            pen.ellipse(f, 0.0, 0.48, 0.17, 0.24);
        }
        Expression::Neutral => {
            pen.eyes(0.10, 0.14);
            pen.both(|pen, s| pen.line(f, &[(s * 0.52, -0.48), (s * 0.22, -0.48)]));
            pen.line(f, &[(-0.34, 0.42), (0.34, 0.42)]);
        }
    }
}

/// An uncertain face: one brow up, the mouth at an angle.
pub fn uncertain<C: Theme>(layers: &mut Layers<C>, spot: Spot, turn: Place) {
    let mut pen = pen(layers, spot);
    pen.head(Mood::None);
    pen.turn(turn);
    let f = Part::Feature;
    pen.ellipse(f, -0.32, -0.14, 0.09, 0.12);
    pen.ellipse(f, 0.40, -0.14, 0.09, 0.12);
    pen.line(f, &[(-0.50, -0.40), (-0.16, -0.40)]);
    pen.bend(f, (0.20, -0.56), (0.42, -0.72), (0.60, -0.48));
    pen.line(f, &[(-0.22, 0.52), (0.34, 0.36)]);
}

/// A face that shows the state of its eyes.
pub fn eyes<C: Theme>(layers: &mut Layers<C>, spot: Spot, state: State) {
    let mut pen = pen(layers, spot);
    pen.head(Mood::of_state(state));
    let f = Part::Feature;
    match state {
        State::Ok => {
            pen.eyes(0.13, 0.18);
            pen.bend(f, (-0.30, 0.36), (0.0, 0.54), (0.30, 0.36));
        }
        State::Calibrating => {
            pen.wide_eyes(0.24, 0.10);
            pen.line(f, &[(-0.16, 0.46), (0.16, 0.46)]);
        }
        State::Drowsy => {
            // Lids halfway down.
            pen.both(|pen, s| pen.bowl(f, s * 0.38, -0.14, 0.19, 0.20, -0.14));
            pen.both(|pen, s| pen.line(f, &[(s * 0.62, -0.16), (s * 0.14, -0.16)]));
            pen.bend(f, (-0.30, 0.52), (0.0, 0.38), (0.30, 0.52));
        }
        State::Microsleep => {
            pen.both(|pen, s| pen.line(f, &[(s * 0.58, -0.12), (s * 0.18, -0.12)]));
            pen.both(|pen, s| pen.bend(f, (s * 0.58, -0.40), (s * 0.38, -0.54), (s * 0.18, -0.40)));
            pen.line(f, &[(-0.34, 0.46), (0.34, 0.46)]);
        }
        State::Asleep => {
            pen.both(|pen, s| pen.bend(f, (s * 0.60, -0.22), (s * 0.38, 0.10), (s * 0.16, -0.22)));
            pen.ellipse(f, 0.0, 0.46, 0.16, 0.20);
        }
        State::Unresponsive => {
            pen.both(|pen, s| pen.line(f, &[(s * 0.56, -0.34), (s * 0.18, 0.04)]));
            pen.both(|pen, s| pen.line(f, &[(s * 0.56, 0.04), (s * 0.18, -0.34)]));
            pen.ellipse(f, 0.0, 0.50, 0.28, 0.20);
        }
        // Whatever is behind the band is not known.
        State::Nobody | State::NoReading => {
            pen.block(f, 0.0, -0.16, (0.70, 0.20), 0.08);
            pen.line(f, &[(-0.24, 0.46), (0.24, 0.46)]);
        }
    }
}

/// No face: a dashed head in the brackets of a viewfinder.
pub fn nobody<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    pen.ring(Part::Quiet, 0.66, if C::ONE_BIT { 8 } else { 12 });
    pen.brackets(Part::Quiet);
}

/// Look here: a face at rest in the brackets of a viewfinder.
pub fn recording<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let radius = 0.66 * spot.radius;
    expression(
        layers,
        Spot { radius, ..spot },
        Expression::Neutral,
        (0.0, 0.0),
    );
    pen(layers, spot).brackets(Part::Text);
}

/// Done: a check mark in a ring.
pub fn done<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    pen.ring(Part::Quiet, 0.92, 0);
    pen.width *= 1.5;
    pen.line(Part::Text, &[(-0.42, 0.04), (-0.12, 0.36), (0.44, -0.36)]);
}

/// Not done: a cross in a ring.
pub fn not_done<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    pen.ring(Part::Quiet, 0.92, 0);
    pen.width *= 1.5;
    pen.line(Part::Text, &[(-0.36, -0.36), (0.36, 0.36)]);
    pen.line(Part::Text, &[(-0.36, 0.36), (0.36, -0.36)]);
}

/// A crossed-out camera.
pub fn no_camera<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    let line = pen.width / pen.spot.radius;
    let q = Part::Quiet;
    pen.block(q, -0.20, -0.44, (0.26, 0.18), 0.08);
    pen.block(q, 0.0, 0.06, (0.80, 0.50), 0.14);
    pen.block(
        Part::Ground,
        0.0,
        0.06,
        (0.80 - line, 0.50 - line),
        0.14 - line,
    );
    pen.ellipse(q, 0.0, 0.06, 0.32, 0.32);
    pen.ellipse(Part::Ground, 0.0, 0.06, 0.32 - line, 0.32 - line);
    // The stroke, with a gap around it that separates it from the camera.
    let width = pen.width;
    pen.width = width * 3.0;
    pen.line(Part::Ground, &[(-0.72, 0.78), (0.72, -0.66)]);
    pen.width = width;
    pen.line(Part::Text, &[(-0.78, 0.84), (0.78, -0.72)]);
}

/// Dots on a circle, from large to small: wait.
pub fn starting<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    const BEADS: u32 = 8;
    for bead in 0..BEADS {
        let turn = bead as f32 / BEADS as f32;
        let (y, x) = (turn * std::f32::consts::TAU).sin_cos();
        let radius = 0.07 + 0.10 * turn;
        let part = if bead + 3 >= BEADS {
            Part::Text
        } else {
            Part::Quiet
        };
        pen.ellipse(part, x * 0.62, y * 0.62, radius, radius);
    }
}

/// Two bars: affectd watches nobody until the pause ends.
pub fn paused<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    pen.both(|pen, s| pen.block(Part::Text, s * 0.30, 0.0, (0.16, 0.56), 0.08));
}

/// An eye: somebody sees the camera's pictures.
pub fn watched<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    pen.width = pen.width.max(spot.radius * 0.16);
    // Two arcs that meet at the corners, and the pupil.
    pen.bend(Part::Text, (-0.86, 0.0), (0.0, -1.1), (0.86, 0.0));
    pen.bend(Part::Text, (-0.86, 0.0), (0.0, 1.1), (0.86, 0.0));
    pen.ellipse(Part::Text, 0.0, 0.0, 0.24, 0.24);
}

/// A face asleep: affectd has ended.
pub fn asleep<C: Theme>(layers: &mut Layers<C>, spot: Spot) {
    let mut pen = pen(layers, spot);
    pen.head(Mood::None);
    let f = Part::Feature;
    pen.both(|pen, s| pen.bend(f, (s * 0.54, -0.14), (s * 0.36, 0.10), (s * 0.18, -0.14)));
    pen.bend(f, (-0.14, 0.44), (0.0, 0.50), (0.14, 0.44));
}
