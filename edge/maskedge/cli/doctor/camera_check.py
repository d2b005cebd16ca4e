"""Trial of the cameras of a configuration: `edge-doctor --config`. No picture is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from maskedge.alerts.registry import check_labels
from maskedge.config import EdgeConfig, Loaded, secrets_of
from maskedge.errors import MaskedgeError, SourceError
from maskedge.runtime.build import open_detector
from maskedge.runtime.cameras import smallest_face
from maskedge.runtime.outputs import check_run_outputs
from maskedge.sources import Source, open_source
from maskedge.types import Image
from maskedge.vision.pipeline import MaskDetector

from .finding import Finding, problem_of

SECONDS = 1.0
"""Seconds for which each camera is tried."""
_STALL_TIMEOUT = 5.0
"""Seconds without a frame after which a camera counts as lost, if the configuration sets no limit."""
_MOST_FRAMES = 30
"""Maximum number of frames of a file, which has no rate of its own."""
_WIDTH = 640
"""Width in pixels to which a picture is resized, so that sharpness does not depend on its size."""
SHARP = 20.0
"""Lowest variance of the Laplacian of a sharp picture. Of 108 photographs none is below it; blurred by 2 pixels, 98 % are."""
DARK, BURNT = 16, 250
"""A pixel below the first grey level is dark, one from the second on is burnt; of 0 to 255."""
MEAN = (40.0, 215.0)
"""Lowest and highest mean grey level of a well-lit picture."""
MOST_DARK, MOST_BURNT = 0.6, 0.2
"""Largest shares of dark and of burnt pixels of a well-lit picture."""
_FACE_METRES = 0.16
"""Side of the box of an adult's face in metres."""
_LENS_DEGREES = 60.0
"""Horizontal angle of view for which distances are stated."""


@dataclass(frozen=True)
class Quality:
    """Sharpness and light of a picture.

    Attributes:
        sharpness: Variance of the Laplacian of the grey picture, at a width of 640 pixels.
        mean: Mean grey level, 0 to 255.
        dark: Share of dark pixels, 0 to 1.
        burnt: Share of burnt pixels, 0 to 1.
    """

    sharpness: float
    mean: float
    dark: float
    burnt: float

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The problems and their remedies, in words."""
        found = []
        if self.mean < MEAN[0] or self.dark > MOST_DARK:
            found.append(("too dark", "add light or lengthen the exposure"))
        elif self.mean > MEAN[1] or self.burnt > MOST_BURNT:
            found.append(("too bright", "turn it away from windows and lamps or shorten the exposure"))
        if self.sharpness < SHARP:
            found.append(("blurred or without detail", "focus and clean the lens"))
        return found


def measure_quality(image: Image) -> Quality:
    """Measure sharpness and light of `image`, uint8 `[H, W, 3]` BGR."""
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    size = _WIDTH, max(1, round(height * _WIDTH / width))
    resized = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if width > _WIDTH else cv2.INTER_LINEAR)
    sharpness = float(cv2.Laplacian(resized, cv2.CV_32F).var())
    return Quality(sharpness, float(grey.mean()), float(np.mean(grey < DARK)), float(np.mean(grey >= BURNT)))


def farthest_metres(side: float, width: int) -> float:
    """Return the distance in metres at which a face has a given side.

    Args:
        side: Side of the face in pixels.
        width: Width of the picture in pixels, taken with a lens of 60 degrees.
    """
    return _FACE_METRES * width / (2 * math.tan(math.radians(_LENS_DEGREES / 2)) * side)


def check_cameras(loaded: Loaded) -> Iterator[Finding]:
    """Try each camera of a configuration for a second.

    Raises:
        UsageError: A setting of the detector is invalid.
        ModelError: A model of the configuration is refused.
    """
    secrets = secrets_of(*loaded.cameras)
    detect = replace(loaded.config.detect, min_face_size=smallest_face(loaded.cameras))
    detector = open_detector(replace(loaded.config, detect=detect), every_frame=True, chosen="detect.detector" in loaded.origins)
    for config in loaded.cameras:
        name = f"camera {config.camera}" if config.camera else "camera"
        try:
            for finding in _try(config, detector, name):
                yield Finding(finding.state, _hide(finding.text, secrets), _hide(finding.remedy, secrets))
        except MaskedgeError as error:
            text, _, remedy = _hide(str(error), secrets).partition(": ")
            yield Finding("FAIL", f"{name}: {text}", remedy)


def _hide(text: str, secrets: set[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return text


def _try(config: EdgeConfig, detector: MaskDetector, name: str) -> Iterator[Finding]:
    # A camera that is absent or lost is reported at once, and not waited for.
    settings = replace(config.source, wait=False, max_retries=0, stall_timeout=config.source.stall_timeout or _STALL_TIMEOUT)
    source = open_source(settings)
    try:
        labels = problem_of(check_labels, config.alerts, detector.labels)
        outputs = problem_of(check_run_outputs, config, source, inputs=[detector.classifier.path])
        yield from (Finding("FAIL", f"{name}: {problem}") for problem in (*labels, *outputs))
        image, rate = _read(source)
    finally:
        source.close()
    height, width = image.shape[:2]
    quality = measure_quality(image)
    detector.min_face_size = config.detect.min_face_size
    detector.set_face_threshold(config.detect.face_threshold, config.detect.operating_point, config.detect.domain)
    seen = len(detector(image))
    faces = f"{seen} face{'' if seen == 1 else 's'} now"
    light = f"light {quality.mean / 255:.0%} ({quality.dark:.0%} dark, {quality.burnt:.0%} burnt)"
    problems = quality.problems
    reach = ""
    measure = getattr(detector.detector, "smallest_face", None)  # a detector of the user may not know it
    if measure is not None:
        least, wanted = float(measure(width, height)), config.detect.min_face_size
        side = max(least, wanted or 0)
        reach = f"; finds faces from {side:.0f} pixels, up to {farthest_metres(side, width):.1f} m away with a lens of 60 degrees"
        if wanted is not None and least > wanted + 0.5:
            problems.append(
                (
                    f"faces of min_face_size ({wanted} pixels) cannot be found",
                    "use the detector cnn, a larger picture or a larger size",
                )
            )
    parts = [f"{width} x {height}", *([f"{rate:.1f} frames/s"] if rate else []), f"sharpness {quality.sharpness:.0f}", light, faces]
    text = f"{name} ({source.name}): {', '.join(parts)}{reach}"
    if not problems:
        yield Finding("ok", text)
        return
    yield Finding("note", f"{text}; {', '.join(problem for problem, _ in problems)}", "; ".join(remedy for _, remedy in problems))


def _read(source: Source) -> tuple[Image, float | None]:
    """Read a source for a second. Return its last picture, and the frames per second of a live source."""
    image: Image | None = None
    first, begin, count, elapsed = 0, 0.0, 0, 0.0
    for frame in source.frames():
        now = time.monotonic()
        if image is None:
            first, begin = source.captured, now
        image, count, elapsed = frame.image, source.captured - first, now - begin
        if elapsed >= SECONDS or (not source.live and source.captured >= _MOST_FRAMES):
            source.stop()
            break
    if image is None:
        raise SourceError(f"{source.name} delivers no picture: check the camera or the file.")
    return image, count / elapsed if source.live and elapsed > 0 else None
