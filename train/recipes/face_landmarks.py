"""Find the landmarks of labelled faces with MediaPipe: `face_landmarks.py CSV... OUTPUT.npz`.

It runs in an environment of its own (`synthesis.sh`), because the last release of MediaPipe that contains
its models needs an older numpy than maskedge. Pictures lie beside their CSV file.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import mediapipe
import numpy as np

LEAST_SIDE = 36
SIDE = 300
"""Side of the square around a face in which its landmarks are searched, in pixels."""
LEAST_OVERLAP = 0.5
"""Least overlap (IoU) of the landmarks with the labelled box."""


def find_landmarks(search, image, box):
    """Return the landmarks of the face in a box, float64 `[468, 3]` in pixels, or None.

    The searched square is twice as long as the longer side of the box.
    """
    x1, y1, x2, y2 = box
    reach = max(x2 - x1, y2 - y1)
    low = np.array([(x1 + x2) / 2 - reach, (y1 + y2) / 2 - reach])
    zoom = SIDE / (2 * reach)
    matrix = np.array([[zoom, 0, -low[0] * zoom], [0, zoom, -low[1] * zoom]])
    quality = cv2.INTER_LINEAR if zoom > 1 else cv2.INTER_AREA
    square = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=quality, borderMode=cv2.BORDER_REPLICATE)
    found = search.process(cv2.cvtColor(square, cv2.COLOR_BGR2RGB)).multi_face_landmarks
    if not found:
        return None
    points = np.array([(point.x, point.y, point.z) for point in found[0].landmark]) * 2 * reach
    points[:, :2] += low
    (left, top), (right, bottom) = points[:, :2].min(0), points[:, :2].max(0)
    common = max(0, min(right, x2) - max(left, x1)) * max(0, min(bottom, y2) - max(top, y1))
    union = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - common
    return points if common > LEAST_OVERLAP * union else None


def main(files, output):
    """Write the landmarks of all faces of these files."""
    search = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1, min_detection_confidence=0.3)
    images, boxes, landmarks = [], [], []
    for file in files:
        rows = {}
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                rows.setdefault(row["image"], []).append([float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")])
        for name, own in rows.items():
            image = cv2.imread(str(file.parent / name))
            for box in own if image is not None else []:
                if min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE:
                    continue
                points = find_landmarks(search, image, box)
                if points is not None:
                    images.append(name)
                    boxes.append(box)
                    landmarks.append(points)
    np.savez_compressed(
        output,
        images=np.array(images),
        boxes=np.array(boxes, np.float32),
        points=np.array(landmarks, np.float32).reshape(-1, 468, 3),
    )
    print(f"{len(images)} faces")


if __name__ == "__main__":
    *given, target = map(Path, sys.argv[1:])
    main(given, target)
