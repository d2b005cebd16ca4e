"""The self-test of a model file: inputs and their expected outputs, stored in its metadata."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import ModelError
from maskedge.modelfile.contract import CATALOGUE, is_sealed, read_catalogue, read_kind, read_model
from maskedge.modelfile.precision import bundled_classifier
from maskedge.support.text import read_json
from maskedge.types import Image

from .classifier import MaskClassifier
from .detectors.network import CnnDetector

_MOST_PIXELS = 1 << 24
"""Maximum number of pixels of the inputs of a self-test."""
_WRONG = (KeyError, TypeError, ValueError, OverflowError, IndexError, RecursionError, cv2.error)
"""Exceptions of reading a text that is not a self-test."""
_ANOTHER = 2.0
"""Distance in pixels beyond which two boxes show different faces."""


@dataclass(frozen=True)
class SelfTest:
    """Inputs of a classifier and its expected outputs.

    Attributes:
        crops: uint8 `[N, S, S, 3]`, BGR.
        answers: float32 `[N, C]`, probabilities; `[N, C + 4]` if the model also locates the faces.
        tolerance: Greatest permitted difference of a probability, or of a place in units of the
            crop's side.
    """

    crops: Image
    answers: npt.NDArray[np.float32]
    tolerance: float

    def to_json(self) -> str:
        """Return the text of `maskedge.selftest`: the crops stacked in one PNG, in base64."""
        _, png = cv2.imencode(".png", self.crops.reshape(-1, self.crops.shape[2], 3), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        answers = [[float(f"{value:.7g}") for value in row] for row in self.answers.tolist()]
        crops = base64.b64encode(png.tobytes()).decode("ascii")
        return json.dumps({"crops": crops, "answers": answers, "tolerance": self.tolerance}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SelfTest:
        """Read `maskedge.selftest`.

        Raises:
            ValueError: The text is not a self-test.
        """
        try:
            fields = read_json(text)
            answers = np.array(fields["answers"], np.float32)
            picture = _picture(fields["crops"])
            side = picture.shape[1]
            return cls(picture.reshape(len(answers), side, side, 3), answers, float(fields["tolerance"]))
        except _WRONG as error:
            raise ValueError(f"maskedge.selftest cannot be read ({str(error)[:200]})") from error


@dataclass(frozen=True)
class DetectorSelfTest:
    """A frame for a detector and its expected outputs.

    Attributes:
        frame: uint8 `[H, W, 3]`, BGR, of a size that the detector takes.
        boxes: float32 `[K, 4]`, x1, y1, x2, y2 in pixels.
        scores: float32 `[K]`.
        tolerance: Greatest permitted difference of a coordinate, in pixels.
    """

    frame: Image
    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    tolerance: float

    def to_json(self) -> str:
        """Return the text of `maskedge.selftest`: the frame as a PNG in base64."""
        _, png = cv2.imencode(".png", self.frame, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        fields = {
            "frame": base64.b64encode(png.tobytes()).decode("ascii"),
            "boxes": [[round(value, 3) for value in box] for box in self.boxes.tolist()],
            "scores": [round(score, 5) for score in self.scores.tolist()],
            "tolerance": self.tolerance,
        }
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DetectorSelfTest:
        """Read `maskedge.selftest`.

        Raises:
            ValueError: The text is not a self-test of a detector.
        """
        try:
            fields = read_json(text)
            boxes = np.array(fields["boxes"], np.float32).reshape(-1, 4)
            scores = np.array(fields["scores"], np.float32)
            if len(boxes) != len(scores):
                raise ValueError("its numbers of scores and boxes differ")
            return cls(_picture(fields["frame"]), boxes, scores, float(fields["tolerance"]))
        except _WRONG as error:
            raise ValueError(f"maskedge.selftest cannot be read ({str(error)[:200]})") from error


def _picture(text: str) -> Image:
    """Decode a PNG in base64.

    Raises:
        ValueError: The text is not a PNG.
    """
    content = base64.b64decode(text, validate=True)
    # A PNG begins with its size: a small file may expand to gigabytes of pixels.
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or width * height > _MOST_PIXELS:
        raise ValueError(f"its pixels are not a PNG of at most {_MOST_PIXELS:,} pixels")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("its pixels are not a picture")
    return np.asarray(picture, np.uint8)


@dataclass(frozen=True)
class Verification:
    """The result of `verify` for a file that keeps the contract and matches its checksums.

    Attributes:
        kind: `classifier` or `detector`.
        labels: Its labels.
        checksums: The compared checksums: `its own`, `MODELS.json`.
        inputs: Number of self-test inputs: crops, or the faces of a frame.
        worst: Greatest difference of a probability, or of a coordinate in pixels.
        changed: Number of inputs whose most probable label differs, or of faces that are found only
            on this machine or only on the machine that made the file.
        tolerance: Greatest permitted difference.
    """

    kind: str
    labels: tuple[str, ...]
    checksums: tuple[str, ...]
    inputs: int
    worst: float
    changed: int
    tolerance: float

    @property
    def passed(self) -> bool:
        """True if the outputs on this machine match the expected ones."""
        return self.worst <= self.tolerance and self.changed == 0


def verify(path: Path | None = None) -> Verification:
    """Check a model file against the contract, its checksums and its self-test.

    Args:
        path: The .onnx file, a classifier or a detector; None for the bundled classifier.

    Raises:
        ModelError: The file is refused, or holds no self-test.
    """
    path = path or bundled_classifier()
    content = read_model(path)
    checksums = ["its own"] if is_sealed(content) else []
    if "sha256" in read_catalogue(path.parent).get(path.name, {}):
        checksums.append(CATALOGUE)
    try:
        if read_kind(content) == "detector":
            return _verify_detector(CnnDetector(path), tuple(checksums))
        return _verify_classifier(MaskClassifier(path), tuple(checksums))
    except ValueError as error:
        raise ModelError(f"{path}: {error}; export it again with edge-export.") from error


def run_self_test(model: MaskClassifier | CnnDetector) -> Verification:
    """Run the self-test of a loaded model in its present session.

    Raises:
        ModelError: The model does not run.
        ValueError: The file holds no self-test, or that of another model.
    """
    return _verify_detector(model, ()) if isinstance(model, CnnDetector) else _verify_classifier(model, ())


def _verify_classifier(classifier: MaskClassifier, checksums: tuple[str, ...]) -> Verification:
    test = SelfTest.from_json(_text(classifier.contract.selftest))
    size = classifier.contract.size
    if test.crops.shape[1:3] != (size, size):
        raise ValueError("maskedge.selftest is of a model with crops of another size")
    probabilities, places = classifier.classify_and_locate_crops(test.crops)
    answers = probabilities if places is None else np.concatenate([probabilities, places], axis=1)
    if answers.shape != test.answers.shape:
        raise ValueError("maskedge.selftest is of a model with other outputs")
    difference = np.abs(answers - test.answers).max(axis=1)
    # A NaN would not count as a difference.
    difference[~np.isfinite(difference)] = np.inf
    count = len(classifier.labels)
    changed = int((answers[:, :count].argmax(axis=1) != test.answers[:, :count].argmax(axis=1)).sum())
    return Verification("classifier", classifier.labels, checksums, len(answers), float(difference.max()), changed, test.tolerance)


def _verify_detector(detector: CnnDetector, checksums: tuple[str, ...]) -> Verification:
    test = DetectorSelfTest.from_json(_text(detector.contract.selftest))
    if detector.contract.size not in (None, test.frame.shape[1::-1]):
        raise ValueError("maskedge.selftest is of a model with an input of another size")
    boxes, _ = detector.infer(test.frame)
    away = [float(np.abs(boxes - box).max(axis=1).min()) if len(boxes) else np.inf for box in test.boxes]
    # A box beyond this distance shows another face, or holds NaN.
    near = [value for value in away if value <= _ANOTHER]
    changed = len(away) - len(near) + max(0, len(boxes) - len(test.boxes))
    return Verification("detector", detector.contract.labels, checksums, len(away), max(near, default=0.0), changed, test.tolerance)


def _text(selftest: str | None) -> str:
    if selftest is None:
        raise ValueError("the file holds no self-test (maskedge.selftest)")
    return selftest
