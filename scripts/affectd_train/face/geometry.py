"""Boxes, crops and landmarks of faces, as data, training and the daemon define them.

A box is (centre x, centre y, side) in pixels, an upright square. It is the box
that a frontal cascade finds: its side is 2.6 times the distance of the eyes of
a frontal face. Coordinates are continuous: the first pixel reaches from 0 to 1.
"""

from __future__ import annotations

import cv2
import numpy as np

CANVAS = 160          # side of a stored picture of a face
BOX = 100             # side of the box in it, which lies in its middle
FACE_SIDE = 64        # the face net's input
EYE_SIDE = 32         # the eye net's input
FACE_SCALE = 1.15     # the face net's crop, relative to the box
EYE_SCALE = 0.36      # the eye net's crop, relative to the box

# Order of the landmarks. `right` is the person's own right.
LANDMARKS = ("right_eye_outer", "right_eye_inner", "right_eye_upper", "right_eye_lower",
             "left_eye_inner", "left_eye_outer", "left_eye_upper", "left_eye_lower",
             "nose_tip", "mouth_right", "mouth_left", "lip_upper", "lip_lower", "chin")
# Which landmark each one becomes when the picture is mirrored.
MIRRORED = np.array([5, 4, 6, 7, 1, 0, 2, 3, 8, 10, 9, 11, 12, 13])
# Their points in MediaPipe's mesh, and in the 68 points of Multi-PIE, averaged.
MEDIAPIPE = np.array([33, 133, 159, 145, 362, 263, 386, 374, 4, 61, 291, 13, 14, 152])
MULTIPIE = ((36,), (39,), (37, 38), (40, 41), (42,), (45,), (43, 44), (46, 47),
            (30,), (48,), (54,), (62,), (66,), (8,))
RIGHT_EYE, LEFT_EYE = slice(0, 2), slice(4, 6)   # the two corners


def box_of(landmarks: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """The box of a face from its landmarks and pose in degrees. Turning the head
    shortens the distance of the eyes; nodding shortens the distance from eyes to
    mouth. Each is corrected by its own angle, and the less shortened one counts more."""
    right, left = landmarks[RIGHT_EYE].mean(axis=0), landmarks[LEFT_EYE].mean(axis=0)
    eyes, mouth = (right + left) / 2, landmarks[9:11].mean(axis=0)
    across, down = np.cos(np.radians(min(abs(yaw), 70))), np.cos(np.radians(min(abs(pitch), 60)))
    apart = np.linalg.norm(left - right) / max(across, 0.35)
    below = np.linalg.norm(mouth - eyes) / max(down, 0.5) * EYES_OVER_MOUTH
    trust = across ** 4, down ** 4
    apart = (apart * trust[0] + below * trust[1]) / sum(trust)
    axis = mouth - eyes
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    centre = eyes + 0.24 * apart * axis
    # The nose is in front of the head: turned, the face's middle lies behind it.
    return np.array([centre[0], centre[1], 2.6 * apart], dtype=np.float32)


EYES_OVER_MOUTH = 0.9   # distance of the eyes / distance from eyes to mouth, median of frontal renders


def to_square(centre: np.ndarray, side: float, turn: float, size: int,
              mirror: bool = False) -> np.ndarray:
    """2x3 matrix from picture coordinates to those of a crop of `size` pixels: the
    square around `centre` that is turned clockwise by `turn` degrees, made upright."""
    k = size / side
    c, s = k * np.cos(np.radians(turn)), k * np.sin(np.radians(turn))
    m = np.array([[c, s, 0.0], [-s, c, 0.0]])
    if mirror:
        m[0] *= -1
    m[:, 2] = size / 2 - m[:, :2] @ np.asarray(centre, dtype=float)
    return m


def moved(points: np.ndarray, m: np.ndarray) -> np.ndarray:
    return points @ m[:, :2].T + m[:, 2]


def warp(picture: np.ndarray, m: np.ndarray, size: int) -> np.ndarray:
    """The crop of `to_square`. If it shrinks the picture, the picture is smoothed first,
    as by an antialiased resize; edges are repeated."""
    shrink = 1 / np.sqrt(abs(np.linalg.det(m[:, :2])))
    if shrink > 1.4:   # render larger, then average
        factor = int(np.ceil(shrink))
        large = warp(picture, m * factor, size * factor)
        return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)
    shifted = m.copy()   # OpenCV's coordinates are of pixel centres
    shifted[:, 2] += m[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(picture, shifted, (size, size), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


def eye_squares(landmarks: np.ndarray, box_side: float) -> list[tuple[np.ndarray, float, float]]:
    """Centre, side and turn in degrees of the eye net's crops, right eye first."""
    right, left = landmarks[RIGHT_EYE].mean(axis=0), landmarks[LEFT_EYE].mean(axis=0)
    turn = float(np.degrees(np.arctan2(*(left - right)[::-1])))
    return [(right, EYE_SCALE * box_side, turn), (left, EYE_SCALE * box_side, turn)]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (centre x, centre y, side)."""
    reach = (a[2] + b[2]) / 2
    x = min(reach - abs(a[0] - b[0]), a[2], b[2])
    y = min(reach - abs(a[1] - b[1]), a[2], b[2])
    if x <= 0 or y <= 0:
        return 0.0
    return float(x * y / (a[2] ** 2 + b[2] ** 2 - x * y))
