//! Text in the largest letters that fit: drawn ones, or one of
//! embedded-graphics' fonts.

use embedded_graphics::Drawable;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::Point;
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle, ascii};
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};

pub use super::lettering::Align;
use super::lettering::Lettering;
use super::palette::{Part, Theme};

/// The fonts for names and numbers, largest first. The bold ones have lines of
/// two pixels, like the face at 60 pixels.
const BOLD: [&MonoFont<'static>; 6] = [
    &ascii::FONT_10X20,
    &ascii::FONT_9X18_BOLD,
    &ascii::FONT_9X15_BOLD,
    &ascii::FONT_7X13_BOLD,
    &ascii::FONT_5X8,
    &ascii::FONT_4X6,
];

/// The fonts for text that is read from close by, largest first.
const PLAIN: [&MonoFont<'static>; 7] = [
    &ascii::FONT_10X20,
    &ascii::FONT_9X15,
    &ascii::FONT_8X13,
    &ascii::FONT_6X10,
    &ascii::FONT_5X8,
    &ascii::FONT_5X7,
    &ascii::FONT_4X6,
];

/// How heavy text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Bold,
    Plain,
}

/// How text is set.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Drawn letters: smooth, if there is enough room.
    Drawn(Lettering),
    /// A font of fixed pixels.
    Font(&'static MonoFont<'static>),
}

impl Style {
    /// The largest style in which each of `texts` fits into a box; `None` if not
    /// even the smallest font does.
    pub fn fitting<C: Theme>(
        weight: Weight,
        texts: &[&str],
        width: u32,
        height: u32,
    ) -> Option<Self> {
        let columns = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        match Lettering::fitting::<C>(texts, width, height) {
            Some(lettering) => Some(Self::Drawn(lettering)),
            None => font_fitting(weight, columns, 1, width, height).map(Self::Font),
        }
    }

    /// The width of a text in pixels.
    pub fn width(self, text: &str) -> u32 {
        match self {
            Self::Drawn(lettering) => lettering.width(text),
            Self::Font(font) => width_of(font, text.len()),
        }
    }

    /// The height of a line in pixels.
    pub fn height(self) -> u32 {
        match self {
            Self::Drawn(lettering) => lettering.height(),
            Self::Font(font) => height_of(font),
        }
    }

    /// Draws one line, in the middle of the box's height.
    pub fn line<D>(
        self,
        target: &mut D,
        text: &str,
        part: Part,
        area: Rectangle,
        align: Align,
    ) -> Result<(), D::Error>
    where
        D: DrawTarget,
        D::Color: Theme,
    {
        self.line_on(target, text, (part, Part::Ground), area, align)
    }

    /// The same in the first colour, on a ground of the second one.
    pub fn line_on<D>(
        self,
        target: &mut D,
        text: &str,
        (part, ground): (Part, Part),
        area: Rectangle,
        align: Align,
    ) -> Result<(), D::Error>
    where
        D: DrawTarget,
        D::Color: Theme,
    {
        let color = D::Color::of(part);
        let font = match self {
            Self::Drawn(lettering) => {
                let colors = (color, D::Color::of(ground));
                return lettering.draw(target, text, colors, area, align);
            }
            Self::Font(font) => font,
        };
        let free = (area.size.width as i32 - width_of(font, text.len()) as i32).max(0);
        let x = area.top_left.x
            + match align {
                Align::Left => 0,
                Align::Centre => free / 2,
                Align::Right => free,
            };
        let y = area.top_left.y + (area.size.height as i32 - height_of(font) as i32) / 2;
        Text::with_baseline(
            text,
            Point::new(x, y),
            MonoTextStyle::new(font, color),
            Baseline::Top,
        )
        .draw(target)
        .map(|_| ())
    }
}

/// The largest font in which `columns` characters in `rows` lines fit into a
/// box, or `None` if not even the smallest does.
pub fn font_fitting(
    weight: Weight,
    columns: usize,
    rows: usize,
    width: u32,
    height: u32,
) -> Option<&'static MonoFont<'static>> {
    let fonts: &[&MonoFont<'static>] = match weight {
        Weight::Bold => &BOLD,
        Weight::Plain => &PLAIN,
    };
    fonts.iter().copied().find(|font| {
        width_of(font, columns) <= width && height_of(font) as usize * rows <= height as usize
    })
}

/// The width of this number of characters.
pub fn width_of(font: &MonoFont<'_>, columns: usize) -> u32 {
    let columns = u32::try_from(columns).unwrap_or(u32::MAX);
    columns.saturating_mul(font.character_size.width + font.character_spacing)
}

fn height_of(font: &MonoFont<'_>) -> u32 {
    font.character_size.height
}

/// Cuts a text into lines of at most `columns` characters, at spaces where
/// possible.
pub fn wrap(text: &str, columns: usize) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    std::iter::from_fn(move || {
        if rest.is_empty() || columns == 0 {
            return None;
        }
        // The text is ASCII: bytes are characters.
        if rest.len() <= columns {
            return Some(std::mem::take(&mut rest));
        }
        let cut = match rest.as_bytes()[..=columns]
            .iter()
            .rposition(|&byte| byte == b' ')
        {
            Some(space) if space > 0 => space,
            _ => columns,
        };
        let (line, after) = rest.split_at(cut);
        rest = after.trim_start();
        Some(line.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_font_that_fits_is_taken() {
        // "uncertain" beside the face on 128x64.
        let font = font_fitting(Weight::Bold, 9, 1, 63, 20).unwrap();
        assert_eq!(font.character_size.width, 7);
        assert!(font_fitting(Weight::Plain, 9, 1, 35, 20).is_none());
        assert!(font_fitting(Weight::Plain, 1, 4, 100, 20).is_none());
    }

    #[test]
    fn text_wraps_at_spaces() {
        let lines = |text, columns| wrap(text, columns).collect::<Vec<_>>();
        assert_eq!(lines("no such device", 7), ["no such", "device"]);
        assert_eq!(lines("/dev/video0 gone", 8), ["/dev/vid", "eo0 gone"]);
        assert_eq!(lines("  ", 8), [""; 0]);
        assert_eq!(lines("abc", 0), [""; 0]);
    }
}
