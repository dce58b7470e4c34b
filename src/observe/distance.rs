//! Estimates the distance of a face from its size in the picture.

/// The side of a face's box in metres: 2.6 times the distance of the pupils,
/// which is 63 mm on average over adults (Dodgson 2004, "Variation and extrema
/// of human interpupillary distance"; 52 to 78 mm). So the estimate is off by up
/// to a fifth for an adult, and more for a child.
const BOX_METRES: f64 = 2.6 * 0.063;

/// The camera's horizontal angle of view, before its picture is turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldOfView {
    /// Degrees, [`RANGE`](Self::RANGE).
    pub degrees: f64,
    /// Whether the picture is turned by 90 or 270 degrees, so that its height is
    /// the camera's width.
    pub quarter_turned: bool,
}

impl FieldOfView {
    /// The angles that a camera can have.
    pub const RANGE: std::ops::RangeInclusive<f64> = 5.0..=170.0;

    /// An estimate of the distance in metres of a face whose box has this side
    /// in pixels, in a picture of this size: for a pinhole camera and an adult.
    #[must_use]
    pub fn distance(&self, side: f64, (width, height): (u32, u32)) -> Option<f32> {
        let across = f64::from(if self.quarter_turned { height } else { width });
        let focal = across / 2.0 / (self.degrees.to_radians() / 2.0).tan();
        let metres = focal * BOX_METRES / side;
        (side > 0.0 && metres.is_finite()).then_some(metres as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_large_is_half_as_far() {
        let view = FieldOfView {
            degrees: 90.0,
            quarter_turned: false,
        };
        // At 90 degrees the focal length is half of the width.
        let near = view.distance(52.416, (640, 480)).unwrap();
        assert!((near - 1.0).abs() < 1e-3, "{near}");
        let far = view.distance(26.208, (640, 480)).unwrap();
        assert!((far - 2.0).abs() < 1e-3, "{far}");
        let turned = FieldOfView {
            quarter_turned: true,
            ..view
        };
        assert_eq!(turned.distance(26.208, (480, 640)), Some(far));
        assert_eq!(view.distance(0.0, (640, 480)), None);
    }
}
