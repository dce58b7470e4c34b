"""Labels by MediaPipe's face landmarker, in this project's signs and landmarks.

Its package depends on another OpenCV, which would replace ours, so it is installed
without its dependencies (scripts/requirements-teacher.txt).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .geometry import LANDMARKS, MEDIAPIPE, MIRRORED

BLINK_LEFT, BLINK_RIGHT, DOWN_LEFT, DOWN_RIGHT, JAW, SMILE = 9, 10, 11, 12, 25, (44, 45)

# The teacher's errors on 258 renders within 45 degrees of yaw (medians): it
# sees every face 1.7 degrees too low, and jaws less open than they are.
PITCH_BIAS = 1.7
JAW_SAID, JAW_TRUE = (0.0, 0.02, 0.1, 0.15, 0.24, 0.46, 1.0), (0.0, 0.06, 0.15, 0.3, 0.5, 0.8, 1.0)

# The teacher's errors of landmarks on 742 renders: medians within 30 degrees of
# yaw, in shares of the eyes' distance along the head's own axes. The two meshes
# mark some points, such as a corner of the mouth, at slightly different places.
# Only for the person's right half and the middle.
LANDMARK_BIAS = {"right_eye_outer": (-0.004, 0.009), "right_eye_inner": (0.009, 0.003),
                 "right_eye_upper": (0.005, -0.017), "right_eye_lower": (0.017, 0.018),
                 "nose_tip": (0.0, 0.017), "mouth_right": (0.030, -0.017),
                 "lip_upper": (0.0, -0.015), "lip_lower": (0.0, -0.012), "chin": (0.0, 0.007)}


def landmark_bias(pose: np.ndarray) -> np.ndarray:
    """LANDMARK_BIAS [n, 14, 2] in the picture, for heads with these poses in degrees."""
    one_side = np.array([LANDMARK_BIAS.get(name, (0.0, 0.0)) for name in LANDMARKS])
    mirrored = one_side[MIRRORED] * [-1, 1]
    both = np.where((one_side == 0).all(axis=1, keepdims=True), mirrored, one_side)
    yaw, roll = np.radians(pose[:, 0]), np.radians(pose[:, 2])
    across, down = both[None, :, 0] * np.cos(yaw)[:, None], both[None, :, 1]
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([c * across - s * down, s * across + c * down], axis=2).astype(np.float32)


@dataclass
class Seen:
    landmarks: np.ndarray   # [14, 2] pixels
    reach: np.ndarray       # left, top, right, bottom of the whole mesh
    pose: np.ndarray        # yaw, pitch, roll in degrees
    blink: np.ndarray       # right, left
    down: np.ndarray        # right, left: looks down
    jaw: float
    smile: float


class Teacher:
    def __init__(self, data: Path):
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise SystemExit(f"the teacher needs the package mediapipe ({error}): "
                             "pip install --no-deps -r scripts/requirements-teacher.txt")
        task = data / "mediapipe" / "face_landmarker.task"
        if not task.exists():
            raise SystemExit(f"there is no {task}")
        self.image = mediapipe.Image, mediapipe.ImageFormat.SRGB
        self.net = vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(task)), num_faces=1,
            output_face_blendshapes=True, output_facial_transformation_matrixes=True))

    def look(self, gray: np.ndarray) -> Seen | None:
        """The first face in a picture, or None."""
        image, kind = self.image
        rgb = np.ascontiguousarray(np.repeat(gray[..., None], 3, axis=2))
        found = self.net.detect(image(image_format=kind, data=rgb))
        if not found.face_landmarks:
            return None
        height, width = gray.shape
        mesh = np.array([(p.x * width, p.y * height) for p in found.face_landmarks[0]], np.float32)
        r = np.array(found.facial_transformation_matrixes[0])[:3, :3]
        r = r / np.linalg.norm(r, axis=0)
        yaw = np.degrees(np.arcsin(np.clip(-r[2, 0], -1, 1)))
        pitch = np.degrees(np.arctan2(r[2, 1], r[2, 2]))
        roll = np.degrees(np.arctan2(r[1, 0], r[0, 0]))
        b = np.array([shape.score for shape in found.face_blendshapes[0]], np.float32)
        # Its pitch is positive nose down and its roll counter-clockwise.
        return Seen(mesh[MEDIAPIPE], np.concatenate([mesh.min(axis=0), mesh.max(axis=0)]),
                    np.array([yaw, -pitch, -roll], np.float32),
                    b[[BLINK_RIGHT, BLINK_LEFT]], b[[DOWN_RIGHT, DOWN_LEFT]],
                    float(b[JAW]), float(b[list(SMILE)].mean()))

    def look_at_tile(self, gray: np.ndarray) -> Seen | None:
        """For a face that fills the picture: enlarges it and adds a margin, twice if necessary."""
        scale = max(1.0, 256 / max(gray.shape))
        large = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else gray
        for part in (0.25, 0.6):
            margin = int(part * max(large.shape))
            seen = self.look(cv2.copyMakeBorder(large, *[margin] * 4, cv2.BORDER_REPLICATE))
            if seen:
                seen.landmarks = (seen.landmarks - margin) / scale
                seen.reach = (seen.reach - margin) / scale
                return seen
        return None
