//! The pose of a head, by the conventions of ROS (REP 103) and ROS4HRI (REP
//! 155).
//!
//! The frame of the camera is an optical one: x to the picture's right, y down,
//! z away from the camera. The frame of a face has its origin between the eyes,
//! x out of the face, z up, and y to the person's left.

use crate::messages::{Pose, Quaternion, Vector};

/// The width of a face's box in metres, from which affectd estimates the
/// distance (`distance_m` in docs/events.md).
const BOX_METRES: f64 = 2.6 * 0.063;

/// The angles of a head in degrees, as in affectd's events: yaw is positive
/// when the nose points to the picture's right, pitch when it points up, roll
/// when the head is tilted clockwise in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Angles {
    pub yaw: f64,
    pub pitch: f64,
    pub roll: f64,
}

/// Where a face is in the picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// From the middle of the picture to the middle of the face's box, to the
    /// right and down.
    pub offset: (f64, f64),
    /// The side of the box.
    pub side: f64,
}

impl Quaternion {
    /// A turn by an angle in degrees around an axis of length 1.
    fn turn(degrees: f64, [x, y, z]: [f64; 3]) -> Self {
        let (sin, cos) = (degrees.to_radians() / 2.0).sin_cos();
        Self {
            x: x * sin,
            y: y * sin,
            z: z * sin,
            w: cos,
        }
    }

    /// This turn after the other one.
    fn after(self, first: Self) -> Self {
        let (a, b) = (self, first);
        Self {
            x: a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
            y: a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
            z: a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w,
            w: a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
        }
    }
}

impl Angles {
    /// The orientation of a face's frame in the camera's optical frame.
    pub fn orientation(self) -> Quaternion {
        const X: [f64; 3] = [1.0, 0.0, 0.0];
        const Y: [f64; 3] = [0.0, 1.0, 0.0];
        const Z: [f64; 3] = [0.0, 0.0, 1.0];
        // A face that looks into the camera: its x is the camera's -z, its y the
        // camera's x, its z the camera's -y.
        let frontal = Quaternion {
            x: 0.5,
            y: 0.5,
            z: -0.5,
            w: 0.5,
        };
        // Around the axes of the face, the last one first.
        frontal
            .after(Quaternion::turn(-self.roll, X))
            .after(Quaternion::turn(self.yaw, Z))
            .after(Quaternion::turn(-self.pitch, Y))
    }

    /// The orientation of the gaze's frame, an optical one: z where the face
    /// points to, x to the person's right, y down.
    pub fn gaze(self) -> Quaternion {
        self.orientation().after(Quaternion {
            x: -0.5,
            y: 0.5,
            z: -0.5,
            w: 0.5,
        })
    }
}

/// The pose of a face. Without a distance the position is unknown: NaN.
pub fn pose(angles: Angles, place: Place, distance: Option<f64>) -> Pose {
    let position = match distance {
        // The distance comes from the box's side, so a pixel at the face is as
        // wide as the box's metres over its pixels, whatever the camera.
        Some(z) if place.side > 0.0 => {
            let metres = BOX_METRES / place.side;
            Vector {
                x: place.offset.0 * metres,
                y: place.offset.1 * metres,
                z,
            }
        }
        _ => Vector {
            x: f64::NAN,
            y: f64::NAN,
            z: f64::NAN,
        },
    };
    Pose {
        position,
        orientation: angles.orientation(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The axes of a frame in the camera's frame.
    fn axes(q: Quaternion) -> [[f64; 3]; 3] {
        let turned = |[x, y, z]: [f64; 3]| {
            let v = Quaternion { x, y, z, w: 0.0 };
            let back = Quaternion {
                x: -q.x,
                y: -q.y,
                z: -q.z,
                w: q.w,
            };
            let v = q.after(v).after(back);
            [v.x, v.y, v.z].map(|c| (c * 1000.0).round() / 1000.0 + 0.0)
        };
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(turned)
    }

    fn of(yaw: f64, pitch: f64, roll: f64) -> [[f64; 3]; 3] {
        axes(Angles { yaw, pitch, roll }.orientation())
    }

    #[test]
    fn a_face_that_looks_into_the_camera() {
        let [out, left, up] = of(0.0, 0.0, 0.0);
        assert_eq!(out, [0.0, 0.0, -1.0], "towards the camera");
        assert_eq!(
            left,
            [1.0, 0.0, 0.0],
            "the person's left is the picture's right"
        );
        assert_eq!(up, [0.0, -1.0, 0.0]);
    }

    #[test]
    fn the_nose_follows_yaw_and_pitch() {
        let [out, _, up] = of(30.0, 0.0, 0.0);
        assert_eq!(out, [0.5, 0.0, -0.866], "the nose to the picture's right");
        assert_eq!(up, [0.0, -1.0, 0.0]);
        let [out, left, _] = of(0.0, 30.0, 0.0);
        assert_eq!(out, [0.0, -0.5, -0.866], "the nose up");
        assert_eq!(left, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn roll_is_clockwise_in_the_picture_whatever_the_other_angles() {
        let [out, _, up] = of(0.0, 0.0, 30.0);
        assert_eq!(up, [0.5, -0.866, 0.0], "the top of the head to the right");
        assert_eq!(out, [0.0, 0.0, -1.0]);
        // As in the renders that the network learnt from: the picture is turned last.
        let [out, _, _] = of(90.0, 0.0, 90.0);
        assert_eq!(
            out,
            [0.0, 1.0, 0.0],
            "a nose to the right, turned clockwise: down"
        );
        let [out, _, _] = of(90.0, 45.0, 0.0);
        assert_eq!(out, [0.707, -0.707, 0.0]);
    }

    #[test]
    fn the_gaze_is_an_optical_frame_along_the_face() {
        let angles = Angles {
            yaw: 30.0,
            pitch: 0.0,
            roll: 0.0,
        };
        let [right, down, out] = axes(angles.gaze());
        assert_eq!(out, [0.5, 0.0, -0.866]);
        assert_eq!(down, [0.0, 1.0, 0.0]);
        assert_eq!(right, [-0.866, 0.0, -0.5]);
    }

    #[test]
    fn the_position_follows_from_the_distance() {
        let angles = Angles {
            yaw: 0.0,
            pitch: 0.0,
            roll: 0.0,
        };
        let place = Place {
            offset: (-100.0, 50.0),
            side: 81.9,
        };
        let position = pose(angles, place, Some(1.5)).position;
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(
            near(position.x, -0.2) && near(position.y, 0.1),
            "{position:?}"
        );
        assert!(near(position.z, 1.5));
        assert!(pose(angles, place, None).position.x.is_nan());
    }
}
