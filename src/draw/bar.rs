//! Bars that show a share of a whole: confidence, probabilities, open eyes.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

use super::paint::{Layers, Shape};
use super::palette::{Mood, Part, Theme};

/// The direction in which a bar grows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Right,
    Up,
}

/// A bar on a ground of one colour, filled up to a share of its length: in
/// colour a round background with a round filling, at one bit an outline with a
/// filling.
///
/// # Errors
/// The target's errors.
pub fn draw_bar<D>(
    target: &mut D,
    area: Rectangle,
    share: f32,
    mood: Mood,
    way: Way,
    ground: Part,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let Size { width, height } = area.size;
    if width == 0 || height == 0 {
        return Ok(());
    }
    let fill = D::Color::of(Part::Fill(mood));
    if D::Color::ONE_BIT {
        // An outline, if a line, a gap and a filling of three pixels fit in;
        // otherwise a line along the bar or at its foot, so that an empty bar
        // is still visible.
        let mut inner = area;
        match way {
            Way::Right if height >= 7 && width >= 7 => {
                target.fill_solid(&area, fill)?;
                inner = area.offset(-1);
                target.fill_solid(&inner, Theme::of(ground))?;
                inner = inner.offset(-1);
            }
            Way::Right => {
                let line = Point::new(0, (height / 2) as i32);
                let line = Rectangle::new(area.top_left + line, Size::new(width, 1));
                target.fill_solid(&line, fill)?;
            }
            Way::Up => {}
        }
        let part = match way {
            Way::Right => {
                let length = (inner.size.width as f32 * share).round() as u32;
                Rectangle::new(inner.top_left, Size::new(length, inner.size.height))
            }
            Way::Up => {
                let length = ((inner.size.height as f32 * share).round() as u32).max(1);
                let top = inner.size.height - length;
                Rectangle::new(
                    inner.top_left + Point::new(0, top as i32),
                    Size::new(inner.size.width, length),
                )
            }
        };
        return target.fill_solid(&part, fill);
    }
    let (left, top) = (area.top_left.x as f32, area.top_left.y as f32);
    let (w, h) = (width as f32, height as f32);
    // The ends are half round if the bar is long, and almost straight if it is
    // short and wide, so that a low column does not look like a ball.
    let rounding = match way {
        Way::Right => w.min(h) / 2.0,
        Way::Up => w.min(h) / 5.0,
    };
    let bar = Shape::Block {
        centre: (left + w / 2.0, top + h / 2.0),
        half: (w / 2.0, h / 2.0),
        rounding,
    };
    // The filling has the same shape up to the share, with the ends of the
    // background.
    let part = match way {
        Way::Right => Rectangle::new(area.top_left, Size::new((w * share).round() as u32, height)),
        Way::Up => {
            let length = (h * share).round() as u32;
            Rectangle::new(
                area.top_left + Point::new(0, height as i32 - length as i32),
                Size::new(width, length),
            )
        }
    };
    for (area, color) in [(area, Theme::of(Part::Track)), (part, fill)] {
        let mut layers = Layers::new();
        layers.add(color, bar);
        layers.draw(target, area, Theme::of(ground))?;
    }
    Ok(())
}
