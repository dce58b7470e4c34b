//! The colours of each part of the screen, for one bit and for red, green and
//! blue.
//!
//! At one bit the face is an outline on black: each lit pixel of an OLED ages,
//! and a filled disc would burn in within a year.

use embedded_graphics::pixelcolor::{BinaryColor, PixelColor, Rgb565, Rgb888, RgbColor};

use crate::decide::fatigue::State;
use crate::observe::expression::Expression;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Behind everything.
    Ground,
    /// A card on the ground.
    Card,
    /// The label and numbers.
    Text,
    /// Short names, reasons, pictures without a face.
    Quiet,
    /// The part of a bar that is not filled.
    Track,
    /// The filled part of a bar.
    Fill(Mood),
    /// The face's edge.
    Rim(Mood),
    /// The face.
    Skin(Mood),
    /// Eyebrows, eyes, mouth.
    Feature,
    /// The white of eyes, and teeth.
    White,
    Tongue,
    Tear,
}

/// What the colour of a face shows: an expression, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Of(Expression),
    None,
}

impl Mood {
    /// The colour for a state of eyes: green for `ok`, then yellow, orange, red
    /// and violet for more severe states.
    #[must_use]
    pub const fn of_state(state: State) -> Self {
        match state {
            State::Nobody | State::NoReading => Self::None,
            State::Ok => Self::Of(Expression::Disgust),
            State::Calibrating => Self::Of(Expression::Sad),
            State::Drowsy => Self::Of(Expression::Happy),
            State::Microsleep => Self::Of(Expression::Surprise),
            State::Asleep => Self::Of(Expression::Angry),
            State::Unresponsive => Self::Of(Expression::Fear),
        }
    }
}

/// A colour in which the screen can be drawn.
pub trait Theme: PixelColor {
    /// Whether pixels are only on or off, so that outlines replace shades.
    const ONE_BIT: bool;

    /// The colour of a part.
    fn of(part: Part) -> Self;

    /// `self` mixed with `over`, which covers `coverage` of 255 parts.
    #[must_use]
    fn mix(self, over: Self, coverage: u8) -> Self;

    /// Red, green and blue for a picture file.
    fn to_rgb(self) -> [u8; 3];
}

impl Theme for BinaryColor {
    const ONE_BIT: bool = true;

    fn of(part: Part) -> Self {
        match part {
            Part::Ground
            | Part::Card
            | Part::Skin(_)
            | Part::White
            | Part::Track
            | Part::Tongue => Self::Off,
            Part::Text
            | Part::Quiet
            | Part::Fill(_)
            | Part::Rim(_)
            | Part::Feature
            | Part::Tear => Self::On,
        }
    }

    fn mix(self, over: Self, coverage: u8) -> Self {
        if coverage >= 128 { over } else { self }
    }

    fn to_rgb(self) -> [u8; 3] {
        if self.is_on() { [255; 3] } else { [0; 3] }
    }
}

/// The palette with 8 bits per channel: light, warm faces on a blue-black
/// ground, and for each class a hue that people often connect with it.
fn rgb(part: Part) -> [u8; 3] {
    match part {
        Part::Ground => [0x10, 0x14, 0x1c],
        Part::Card => [0x1c, 0x22, 0x2d],
        Part::Text => [0xf2, 0xf4, 0xf7],
        Part::Quiet => [0x8c, 0x97, 0xa8],
        Part::Track => [0x2a, 0x31, 0x3e],
        Part::Fill(mood) | Part::Skin(mood) => skin(mood),
        Part::Rim(mood) => skin(mood).map(|channel| (u16::from(channel) * 4 / 5) as u8),
        Part::Feature => [0x26, 0x20, 0x28],
        Part::White => [0xff, 0xff, 0xff],
        Part::Tongue => [0xe8, 0x5d, 0x6c],
        Part::Tear => [0xe4, 0xf6, 0xff],
    }
}

/// A part's colour as style sheets write it.
pub(crate) fn hex(part: Part) -> String {
    let [r, g, b] = rgb(part);
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn skin(mood: Mood) -> [u8; 3] {
    match mood {
        Mood::Of(Expression::Angry) => [0xf0, 0x6a, 0x5a],
        Mood::Of(Expression::Disgust) => [0x9c, 0xc4, 0x5c],
        Mood::Of(Expression::Fear) => [0xb4, 0x97, 0xe6],
        Mood::Of(Expression::Happy) => [0xff, 0xcf, 0x4d],
        Mood::Of(Expression::Sad) => [0x6c, 0xa6, 0xe8],
        Mood::Of(Expression::Surprise) => [0xff, 0x9f, 0x5a],
        Mood::Of(Expression::Neutral) => [0xe6, 0xdc, 0xc8],
        Mood::None => [0x9a, 0xa5, 0xb5],
    }
}

fn mix_channel(under: u8, over: u8, coverage: u8) -> u8 {
    let (under, over, coverage) = (u16::from(under), u16::from(over), u16::from(coverage));
    // At most 255 * 255 + 127, and the quotient is at most 255.
    ((under * (255 - coverage) + over * coverage + 127) / 255) as u8
}

fn mix_rgb<C: RgbColor>(under: C, over: C, coverage: u8, new: impl Fn(u8, u8, u8) -> C) -> C {
    match coverage {
        0 => under,
        255 => over,
        _ => new(
            mix_channel(under.r(), over.r(), coverage),
            mix_channel(under.g(), over.g(), coverage),
            mix_channel(under.b(), over.b(), coverage),
        ),
    }
}

impl Theme for Rgb888 {
    const ONE_BIT: bool = false;

    fn of(part: Part) -> Self {
        let [r, g, b] = rgb(part);
        Self::new(r, g, b)
    }

    fn mix(self, over: Self, coverage: u8) -> Self {
        mix_rgb(self, over, coverage, Self::new)
    }

    fn to_rgb(self) -> [u8; 3] {
        [self.r(), self.g(), self.b()]
    }
}

impl Theme for Rgb565 {
    const ONE_BIT: bool = false;

    fn of(part: Part) -> Self {
        let [r, g, b] = rgb(part);
        Rgb888::new(r, g, b).into()
    }

    fn mix(self, over: Self, coverage: u8) -> Self {
        mix_rgb(self, over, coverage, Self::new)
    }

    fn to_rgb(self) -> [u8; 3] {
        let full = Rgb888::from(self);
        [full.r(), full.g(), full.b()]
    }
}
