//! What to do so that affectd sees faces well, in words.

use super::measure::Measured;

/// The smallest side of a face's box in pixels at which all that affectd tells of
/// a face is known ([`SMALLEST_FOR_EYES`](crate::observe::SMALLEST_FOR_EYES)),
/// and a half more, because people move.
pub const FACE_SMALL: u32 = 60;

/// Brightness, below which details of a face drown in the camera's noise.
pub const DARK: f32 = 0.16;
/// Brightness, above which a face has no details left.
pub const BRIGHT: f32 = 0.86;
/// The share of white pixels that spoils a face.
pub const BURNT: f32 = 0.25;
/// Sharpness, below which edges of a face are spread over about seven pixels or
/// more: faces in sharp photographs have 0.9 to 1, and 0.4 to 0.65 after a mean
/// over 7x7 pixels.
pub const BLURRED: f32 = 0.7;

/// How a picture lies if faces are found in it only after it was turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lying {
    /// It must be rotated by this many degrees, clockwise.
    Rotate(u32),
}

/// What is known of the picture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The largest side of a face's box in pixels, if there is a face.
    pub face: Option<u32>,
    /// Of the leading face, or of the whole picture if there is none.
    pub measured: Measured,
    /// How the picture lies, if not upright.
    pub lying: Option<Lying>,
}

/// Advice, the most urgent first; empty if everything is well.
pub fn advice(seen: &Seen) -> Vec<&'static str> {
    let mut advice = Vec::new();
    let Measured {
        brightness,
        burnt,
        sharpness,
    } = seen.measured;
    let is_dark = brightness < DARK;
    match seen.lying {
        Some(Lying::Rotate(180)) => advice
            .push("the picture seems upside down: turn the camera, or add 180 to capture.rotation"),
        Some(Lying::Rotate(90)) => advice.push(
            "the picture seems to lie on its side: turn the camera, or add 90 to capture.rotation",
        ),
        Some(Lying::Rotate(_)) => advice.push(
            "the picture seems to lie on its side: turn the camera, or add 270 to capture.rotation",
        ),
        None => {}
    }
    if is_dark {
        advice.push("too dark: more light on the face");
    } else if brightness > BRIGHT || burnt > BURNT {
        advice.push("too bright: less light, or no lamp or window in view");
    }
    // In the dark there is nothing sharp either.
    if !is_dark && sharpness.is_some_and(|sharpness| sharpness < BLURRED) {
        advice.push("blurred: focus, clean the lens, keep still");
    }
    match seen.face {
        Some(side) if side < FACE_SMALL => advice.push("move closer: the face is small"),
        None if advice.is_empty() => advice.push("no face: look at the camera"),
        _ => {}
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(seen: Seen) -> Vec<&'static str> {
        advice(&seen)
            .into_iter()
            .map(|line| line.split(':').next().unwrap())
            .collect()
    }

    const GOOD: Seen = Seen {
        face: Some(120),
        measured: Measured {
            brightness: 0.5,
            burnt: 0.0,
            sharpness: Some(0.9),
        },
        lying: None,
    };

    #[test]
    fn each_fault_has_its_advice() {
        let with = |change: fn(&mut Seen)| {
            let mut seen = GOOD;
            change(&mut seen);
            words(seen)
        };
        assert_eq!(words(GOOD), [""; 0]);
        assert_eq!(with(|seen| seen.face = None), ["no face"]);
        assert_eq!(with(|seen| seen.face = Some(30)), ["move closer"]);
        assert_eq!(with(|seen| seen.measured.brightness = 0.9), ["too bright"]);
        assert_eq!(with(|seen| seen.measured.burnt = 0.5), ["too bright"]);
        assert_eq!(
            with(|seen| seen.measured.sharpness = Some(0.1)),
            ["blurred"]
        );
        assert_eq!(
            with(|seen| {
                seen.face = None;
                seen.measured.brightness = 0.01;
                seen.measured.sharpness = Some(0.1);
            }),
            ["too dark"]
        );
        let turned = with(|seen| seen.lying = Some(Lying::Rotate(180)));
        assert_eq!(turned, ["the picture seems upside down"]);
    }
}
