"""A detector: one of OpenCV's own cascades."""

from __future__ import annotations

import cv2

from maskedge.types import Image
from maskedge.vision.detectors import Detections, FaceDetector, register_detector


class ToyDetector(FaceDetector):
    """Detect frontal faces; it gives no scores."""

    def __init__(self) -> None:
        self._cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")

    def detect(self, image: Image) -> Detections:
        """Detect the faces of `image`, uint8 `[H, W, 3]` BGR."""
        found = self._cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
        return Detections(tuple((x, y, x + width, y + height) for x, y, width, height in found))


@register_detector("toy")
def _toy(min_face_size: int | None, threads: int) -> FaceDetector:
    return ToyDetector()
