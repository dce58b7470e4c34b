//! Smooth shapes: computes how much of a pixel a shape covers, and mixes
//! colours.
//!
//! embedded-graphics' primitives have hard edges: good at one bit, rough in
//! colour. Here a shape is a signed distance (in pixels, negative inside), so
//! the same shape has soft edges in colour and clean, symmetric ones at one
//! bit. Distances after Inigo Quilez, "2D distance functions"
//! (<https://iquilezles.org/articles/distfunctions2d/>); the rounded
//! intersection after Mercury's hg_sdf (<https://mercury.sexy/hg_sdf/>).

use std::f32::consts::TAU;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions as _, Size};
use embedded_graphics::primitives::Rectangle;

use super::canvas::Canvas;
use super::palette::Theme;

/// A place on the target in pixels; the centre of the top left pixel is (0.5, 0.5).
pub type Place = (f32, f32);

/// The largest number of points in a stroke.
pub const STROKE_POINTS: usize = 17;

/// A shape, in pixels.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A filled ellipse.
    Ellipse { centre: Place, radii: Place },
    /// The part of a filled ellipse below a line, corners rounded.
    Bowl {
        centre: Place,
        radii: Place,
        top: f32,
        rounding: f32,
    },
    /// The intersection of two filled ellipses, each with a centre and radii.
    Lens {
        a: (Place, Place),
        b: (Place, Place),
    },
    /// Two discs, one above the other, with the area between them: a drop if
    /// the upper one is small. `bottom` is the lower centre's row, `radii`
    /// upper and lower.
    Drop {
        top: Place,
        bottom: f32,
        radii: (f32, f32),
    },
    /// A circle's line, cut into dashes with round ends if `dashes` is not 0.
    Ring {
        centre: Place,
        radius: f32,
        width: f32,
        dashes: u32,
    },
    /// A box with round corners.
    Block {
        centre: Place,
        half: Place,
        rounding: f32,
    },
    /// The line around a box with round corners.
    Frame {
        centre: Place,
        half: Place,
        rounding: f32,
        width: f32,
    },
    /// A line through points with round ends and joints.
    Stroke {
        points: [Place; STROKE_POINTS],
        count: usize,
        width: f32,
    },
}

impl Shape {
    /// A line through up to [`STROKE_POINTS`] points; further ones are left out.
    pub fn stroke(path: &[Place], width: f32) -> Self {
        let mut points = [(0.0, 0.0); STROKE_POINTS];
        let count = path.len().min(STROKE_POINTS);
        points[..count].copy_from_slice(&path[..count]);
        Self::Stroke {
            points,
            count,
            width,
        }
    }

    /// A line along a function from 0 to 1.
    pub fn curve(width: f32, along: impl Fn(f32) -> Place) -> Self {
        Self::Stroke {
            points: std::array::from_fn(|i| along(i as f32 / (STROKE_POINTS - 1) as f32)),
            count: STROKE_POINTS,
            width,
        }
    }

    /// A quadratic Bézier curve from `a` to `c` drawn towards `b`.
    pub fn bend(a: Place, b: Place, c: Place, width: f32) -> Self {
        Self::curve(width, |t| {
            let u = 1.0 - t;
            (
                u * u * a.0 + 2.0 * u * t * b.0 + t * t * c.0,
                u * u * a.1 + 2.0 * u * t * b.1 + t * t * c.1,
            )
        })
    }

    /// The distance from a place to the shape's edge, negative inside.
    fn distance(&self, p: Place) -> f32 {
        match *self {
            Self::Ellipse { centre, radii } => ellipse((p.0 - centre.0, p.1 - centre.1), radii),
            Self::Bowl {
                centre,
                radii,
                top,
                rounding,
            } => {
                let a = ellipse((p.0 - centre.0, p.1 - centre.1), radii);
                let b = top - p.1;
                let corner = (a + rounding).max(0.0).hypot((b + rounding).max(0.0));
                a.max(b).min(-rounding) + corner
            }
            Self::Lens { a, b } => {
                let of = |(centre, radii): (Place, Place)| {
                    ellipse((p.0 - centre.0, p.1 - centre.1), radii)
                };
                of(a).max(of(b))
            }
            Self::Drop { top, bottom, radii } => {
                // The uneven capsule, from the lower centre upwards.
                let length = (bottom - top.1).max(1e-3);
                let (x, y) = ((p.0 - top.0).abs(), bottom - p.1);
                let slope = ((radii.1 - radii.0) / length).clamp(-1.0, 1.0);
                let side = (1.0 - slope * slope).sqrt();
                let along = side * y - slope * x;
                if along < 0.0 {
                    x.hypot(y) - radii.1
                } else if along > side * length {
                    x.hypot(y - length) - radii.0
                } else {
                    side * x + slope * y - radii.1
                }
            }
            Self::Ring {
                centre,
                radius,
                width,
                dashes,
            } => {
                let (x, y) = (p.0 - centre.0, p.1 - centre.1);
                let from_centre = x.hypot(y);
                let along = (from_centre - radius).abs();
                let line = if dashes == 0 {
                    along
                } else {
                    // Fold the circle into one dash, which covers 55% of its share.
                    let share = TAU / dashes as f32;
                    let angle = y.atan2(x).rem_euclid(share) - share / 2.0;
                    let beyond = angle.abs() - share * 0.275;
                    if beyond <= 0.0 {
                        along
                    } else {
                        let (ex, ey) = (radius * beyond.cos(), radius * beyond.sin());
                        (from_centre - ex).hypot(ey)
                    }
                };
                line - width / 2.0
            }
            Self::Block {
                centre,
                half,
                rounding,
            } => block(p, centre, half, rounding),
            Self::Frame {
                centre,
                half,
                rounding,
                width,
            } => block(p, centre, half, rounding).abs() - width / 2.0,
            Self::Stroke {
                ref points,
                count,
                width,
            } => {
                let path = &points[..count];
                let nearest = path
                    .windows(2)
                    .map(|ends| segment(p, ends[0], ends[1]))
                    .fold(f32::INFINITY, f32::min);
                let nearest = match path {
                    [only] => segment(p, *only, *only),
                    _ => nearest,
                };
                nearest - width / 2.0
            }
        }
    }

    /// How much of the pixel at a place the shape covers, 0 to 255.
    fn coverage(&self, p: Place) -> u8 {
        // `as` truncates; the value is from 0 to 255.
        ((0.5 - self.distance(p)).clamp(0.0, 1.0) * 255.0 + 0.5) as u8
    }

    /// The pixels that the shape can touch: left, top, right, bottom (exclusive).
    fn bounds(&self) -> [i32; 4] {
        let around = |centre: Place, half: Place| {
            [
                (centre.0 - half.0 - 1.0).floor() as i32,
                (centre.1 - half.1 - 1.0).floor() as i32,
                (centre.0 + half.0 + 1.0).ceil() as i32,
                (centre.1 + half.1 + 1.0).ceil() as i32,
            ]
        };
        match *self {
            Self::Ellipse { centre, radii } | Self::Bowl { centre, radii, .. } => {
                around(centre, radii)
            }
            Self::Lens { b, .. } => around(b.0, b.1),
            Self::Drop { top, bottom, radii } => {
                let most = radii.0.max(radii.1);
                let middle = (top.0, (top.1 + bottom) / 2.0);
                around(middle, (most, (bottom - top.1) / 2.0 + most))
            }
            Self::Ring {
                centre,
                radius,
                width,
                ..
            } => around(centre, (radius + width / 2.0, radius + width / 2.0)),
            Self::Block { centre, half, .. } => around(centre, half),
            Self::Frame {
                centre,
                half,
                width,
                ..
            } => around(centre, (half.0 + width / 2.0, half.1 + width / 2.0)),
            Self::Stroke {
                ref points,
                count,
                width,
            } => points[..count]
                .iter()
                .map(|&point| around(point, (width / 2.0, width / 2.0)))
                .reduce(|a, b| {
                    [
                        a[0].min(b[0]),
                        a[1].min(b[1]),
                        a[2].max(b[2]),
                        a[3].max(b[3]),
                    ]
                })
                .unwrap_or([0; 4]),
        }
    }

    /// The pixels inside of the shape that it cannot touch, as
    /// [`bounds`](Self::bounds).
    fn hole(&self) -> [i32; 4] {
        match *self {
            Self::Frame {
                centre,
                half,
                rounding,
                width,
            } => {
                let margin = rounding.max(width / 2.0) + 1.0;
                [
                    (centre.0 - half.0 + margin).ceil() as i32,
                    (centre.1 - half.1 + margin).ceil() as i32,
                    (centre.0 + half.0 - margin).floor() as i32,
                    (centre.1 + half.1 - margin).floor() as i32,
                ]
            }
            _ => [0; 4],
        }
    }

    /// Mixes a colour over those pixels of a canvas within `area` that the shape
    /// covers.
    pub fn cover<C: Theme>(&self, canvas: &mut Canvas<C>, color: C, area: Rectangle) {
        let area = area.intersection(&canvas.bounding_box());
        let [left, top, right, bottom] = self.bounds();
        let (from, size) = (area.top_left, area.size);
        let (left, right) = (left.max(from.x), right.min(from.x + size.width as i32));
        let (top, bottom) = (top.max(from.y), bottom.min(from.y + size.height as i32));
        let hole = self.hole();
        for y in top..bottom {
            let row = canvas.row_mut(y as u32);
            let is_cut = y >= hole[1] && y < hole[3];
            let mut x = left;
            while x < right {
                if is_cut && x >= hole[0] && x < hole[2] {
                    x = hole[2];
                    continue;
                }
                let coverage = self.coverage((x as f32 + 0.5, y as f32 + 0.5));
                let pixel = &mut row[x as usize];
                *pixel = pixel.mix(color, coverage);
                x += 1;
            }
        }
    }
}

fn block(p: Place, centre: Place, half: Place, rounding: f32) -> f32 {
    let x = (p.0 - centre.0).abs() - half.0 + rounding;
    let y = (p.1 - centre.1).abs() - half.1 + rounding;
    x.max(0.0).hypot(y.max(0.0)) + x.max(y).min(0.0) - rounding
}

fn ellipse(p: Place, radii: Place) -> f32 {
    let (rx, ry) = (radii.0.max(1e-3), radii.1.max(1e-3));
    if rx == ry {
        return p.0.hypot(p.1) - rx;
    }
    // First-order distance: exact at the edge, where it matters.
    let k = (p.0 / rx).hypot(p.1 / ry);
    let slope = (p.0 / (rx * rx)).hypot(p.1 / (ry * ry));
    if slope < 1e-6 {
        -rx.min(ry)
    } else {
        k * (k - 1.0) / slope
    }
}

fn segment(p: Place, a: Place, b: Place) -> f32 {
    let (px, py) = (p.0 - a.0, p.1 - a.1);
    let (bx, by) = (b.0 - a.0, b.1 - a.1);
    let length = bx * bx + by * by;
    let along = if length > 0.0 {
        ((px * bx + py * by) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (px - bx * along).hypot(py - by * along)
}

/// The largest number of shapes in a picture.
const LAYERS: usize = 32;

/// Layers of shapes, drawn together: no pixel is sent twice, and edges mix with
/// the layer below them.
#[derive(Debug)]
pub struct Layers<C> {
    layers: [Option<Layer<C>>; LAYERS],
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Layer<C> {
    shape: Shape,
    color: C,
    bounds: [i32; 4],
}

impl<C: Theme> Layers<C> {
    pub fn new() -> Self {
        Self {
            layers: [None; LAYERS],
            count: 0,
        }
    }

    /// Puts a shape on top.
    pub fn add(&mut self, color: C, shape: Shape) {
        debug_assert!(self.count < LAYERS, "a picture of too many shapes");
        if let Some(layer) = self.layers.get_mut(self.count) {
            *layer = Some(Layer {
                shape,
                color,
                bounds: shape.bounds(),
            });
            self.count += 1;
        }
    }

    /// Draws all layers within `area`, on a ground of one colour.
    pub fn draw<D>(&self, target: &mut D, area: Rectangle, ground: C) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = C>,
    {
        let area = area.intersection(&target.bounding_box());
        if area.is_zero_sized() {
            return Ok(());
        }
        let corner = area.top_left;
        let Size { width, height } = area.size;
        let colors = (0..height as i32).flat_map(move |row| {
            let y = corner.y + row;
            (0..width as i32).map(move |column| self.color(corner.x + column, y, ground))
        });
        target.fill_contiguous(&area, colors)
    }

    fn color(&self, x: i32, y: i32, ground: C) -> C {
        let place = (x as f32 + 0.5, y as f32 + 0.5);
        let mut color = ground;
        for layer in self.layers[..self.count].iter().flatten() {
            let [left, top, right, bottom] = layer.bounds;
            if x >= left && x < right && y >= top && y < bottom {
                color = color.mix(layer.color, layer.shape.coverage(place));
            }
        }
        color
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::geometry::Point;
    use embedded_graphics::pixelcolor::{BinaryColor, Rgb888, RgbColor};
    use proptest::prelude::*;

    fn picture(shape: Shape) -> Vec<String> {
        let mut layers = Layers::new();
        layers.add(BinaryColor::On, shape);
        let mut canvas = Canvas::new(9, 7, BinaryColor::Off);
        let area = Rectangle::new(Point::zero(), Size::new(9, 7));
        let Ok(()) = layers.draw(&mut canvas, area, BinaryColor::Off);
        (0..7)
            .map(|y| {
                let row = canvas.row(y).iter();
                row.map(|pixel| if pixel.is_on() { '#' } else { '.' })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn shapes_at_one_bit_are_clean_and_symmetric() {
        let centre = (4.5, 3.5);
        assert_eq!(
            picture(Shape::Ring {
                centre,
                radius: 3.0,
                width: 1.0,
                dashes: 0
            }),
            [
                "...###...",
                "..#...#..",
                ".#.....#.",
                ".#.....#.",
                ".#.....#.",
                "..#...#..",
                "...###...",
            ]
        );
        assert_eq!(
            picture(Shape::Block {
                centre,
                half: (3.5, 2.5),
                rounding: 1.0
            }),
            [
                ".........",
                ".#######.",
                ".#######.",
                ".#######.",
                ".#######.",
                ".#######.",
                ".........",
            ]
        );
        assert_eq!(
            picture(Shape::stroke(&[(1.5, 1.5), (4.5, 4.5), (7.5, 1.5)], 1.0)),
            [
                ".........",
                ".#.....#.",
                "..#...#..",
                "...#.#...",
                "....#....",
                ".........",
                ".........",
            ]
        );
    }

    #[test]
    fn edges_are_soft_where_colours_mix() {
        let mut layers = Layers::new();
        layers.add(
            Rgb888::WHITE,
            Shape::Block {
                centre: (2.0, 2.0),
                half: (1.5, 9.0),
                rounding: 0.0,
            },
        );
        let mut canvas = Canvas::new(4, 1, Rgb888::BLACK);
        let area = Rectangle::new(Point::new(0, 0), Size::new(4, 1));
        let Ok(()) = layers.draw(&mut canvas, area, Rgb888::BLACK);
        // From 0.5 to 3.5: half of the outer pixels.
        let reds: Vec<_> = canvas.pixels().iter().map(|color| color.r()).collect();
        assert_eq!(reds, [128, 255, 255, 128]);
    }

    fn any_shape() -> impl Strategy<Value = Shape> {
        let place = || (-5.0..25.0f32, -5.0..25.0f32);
        let size = || (0.0..12.0f32, 0.0..12.0f32);
        // The distance to an ellipse is first-order, which is good if it is not
        // much longer than wide.
        let radii = || (0.5..12.0f32, 0.4..2.5f32).prop_map(|(r, ratio)| (r, r * ratio));
        prop_oneof![
            (place(), radii()).prop_map(|(centre, radii)| Shape::Ellipse { centre, radii }),
            (place(), radii(), -5.0..25.0f32, 0.0..2.0f32).prop_map(
                |(centre, radii, top, rounding)| Shape::Bowl {
                    centre,
                    radii,
                    top,
                    rounding
                }
            ),
            (place(), radii(), place(), radii()).prop_map(|(a, b, c, d)| Shape::Lens {
                a: (a, b),
                b: (c, d)
            }),
            (place(), size(), 0.0..4.0f32, 0.0..5.0f32).prop_map(
                |(centre, half, rounding, width)| Shape::Frame {
                    centre,
                    half,
                    rounding: rounding.min(half.0).min(half.1),
                    width
                }
            ),
            (place(), 0.0..20.0f32, size()).prop_map(|(top, length, radii)| Shape::Drop {
                top,
                bottom: top.1 + length,
                radii
            }),
            (place(), 0.0..12.0f32, 0.0..4.0f32, 0u32..14).prop_map(
                |(centre, radius, width, dashes)| Shape::Ring {
                    centre,
                    radius,
                    width,
                    dashes
                }
            ),
            (place(), size(), 0.0..3.0f32).prop_map(|(centre, half, rounding)| Shape::Block {
                centre,
                half,
                rounding: rounding.min(half.0).min(half.1)
            }),
            (prop::collection::vec(place(), 0..20), 0.0..4.0f32)
                .prop_map(|(path, width)| Shape::stroke(&path, width)),
        ]
    }

    proptest! {
        /// Pixels outside of a shape's bounds are never computed, so the shape
        /// must not reach there.
        #[test]
        fn bounds_hold_all_of_a_shape(shape in any_shape()) {
            let [left, top, right, bottom] = shape.bounds();
            for y in -30..60 {
                for x in -30..60 {
                    let inside = x >= left && x < right && y >= top && y < bottom;
                    let coverage = shape.coverage((x as f32 + 0.5, y as f32 + 0.5));
                    prop_assert!(inside || coverage == 0, "{x},{y}: {coverage}");
                }
            }
        }

        /// Leaving out pixels that a shape cannot touch changes nothing.
        #[test]
        fn a_shape_covers_the_same_as_a_layer(shape in any_shape()) {
            let whole = Rectangle::new(Point::zero(), Size::new(24, 20));
            let mut layers = Layers::new();
            layers.add(Rgb888::WHITE, shape);
            let mut expected = Canvas::new(24, 20, Rgb888::BLACK);
            let Ok(()) = layers.draw(&mut expected, whole, Rgb888::BLACK);
            let mut canvas = Canvas::new(24, 20, Rgb888::BLACK);
            shape.cover(&mut canvas, Rgb888::WHITE, whole);
            prop_assert_eq!(canvas.pixels(), expected.pixels());
        }
    }
}
