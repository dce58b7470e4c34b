//! Writes the observations of a face as JSON, with the same keys in events and
//! in `affectd image`.

use serde::ser::SerializeMap;

use super::face::FaceObservation;

/// Writes the results of the face net and the eye net; unknown values are left
/// out.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_face<M: SerializeMap>(
    map: &mut M,
    seen: &FaceObservation,
) -> Result<(), M::Error> {
    map.serialize_entry("presence", &to_decimals(seen.presence, 4))?;
    for (key, eye) in [
        ("eye_openness_left", seen.left_eye),
        ("eye_openness_right", seen.right_eye),
    ] {
        if let Some(openness) = eye.openness() {
            map.serialize_entry(key, &to_decimals(openness, 4))?;
        }
    }
    map.serialize_entry("jaw", &to_decimals(seen.jaw, 4))?;
    map.serialize_entry("smile", &to_decimals(seen.smile, 4))?;
    for (key, degrees) in [
        ("yaw", seen.yaw),
        ("pitch", seen.pitch),
        ("roll", seen.roll),
    ] {
        map.serialize_entry(key, &to_decimals(degrees, 1))?;
    }
    Ok(())
}

/// Writes the landmarks, in pixels to one decimal.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_landmarks<M: SerializeMap>(
    map: &mut M,
    seen: &FaceObservation,
) -> Result<(), M::Error> {
    let points = seen
        .landmarks
        .map(|(x, y)| (to_decimals(x, 1), to_decimals(y, 1)));
    map.serialize_entry("landmarks", &points)
}

/// A number rounded to this number of decimals. JSON cannot contain numbers
/// that are not finite.
#[must_use]
pub fn to_decimals(value: f32, decimals: i32) -> f64 {
    if !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(decimals);
    (f64::from(value) * scale).round() / scale
}
