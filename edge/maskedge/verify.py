"""Does a model file answer on this machine as it did where it was made? Its metadata holds inputs and their answers."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.classify import MaskClassifier
from maskedge.errors import ModelError
from maskedge.model import CATALOGUE, is_sealed, read_catalogue, read_model
from maskedge.types import Image


@dataclass(frozen=True)
class SelfTest:
    """Inputs of a classifier and what it must answer.

    Attributes:
        crops: uint8 `[N, S, S, 3]`, BGR.
        answers: float32 `[N, C]`, probabilities.
        tolerance: Greatest admitted difference of a probability.
    """

    crops: Image
    answers: npt.NDArray[np.float32]
    tolerance: float

    def to_json(self) -> str:
        """Give the text of `maskedge.selftest`: the crops as one PNG, one above the other, in base64."""
        _, png = cv2.imencode(".png", self.crops.reshape(-1, self.crops.shape[2], 3), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        answers = [[float(f"{value:.7g}") for value in row] for row in self.answers.tolist()]
        crops = base64.b64encode(png.tobytes()).decode("ascii")
        return json.dumps({"crops": crops, "answers": answers, "tolerance": self.tolerance}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SelfTest:
        """Read `maskedge.selftest`.

        Raises:
            ValueError: The text is no self-test.
        """
        try:
            fields = json.loads(text)
            answers = np.array(fields["answers"], np.float32)
            packed = np.frombuffer(base64.b64decode(fields["crops"], validate=True), np.uint8)
            picture = cv2.imdecode(packed, cv2.IMREAD_COLOR)
            if picture is None:
                raise ValueError("its crops are no picture")
            side = picture.shape[1]
            return cls(np.asarray(picture, np.uint8).reshape(len(answers), side, side, 3), answers, float(fields["tolerance"]))
        except (KeyError, TypeError, ValueError, cv2.error) as error:
            raise ValueError(f"maskedge.selftest cannot be read ({error})") from error


@dataclass(frozen=True)
class Verification:
    """What was found of a file that keeps the contract and whose checksums, where it has any, are right.

    Attributes:
        labels: Its labels.
        checksums: Which checksums were compared: `its own`, `MODELS.json`.
        inputs: Number of self-test inputs.
        worst: Greatest difference of a probability.
        changed: Number of inputs whose likeliest label differs.
        tolerance: Greatest admitted difference.
    """

    labels: tuple[str, ...]
    checksums: tuple[str, ...]
    inputs: int
    worst: float
    changed: int
    tolerance: float

    @property
    def passed(self) -> bool:
        """Tell whether this machine answers as the maker's did."""
        return self.worst <= self.tolerance and self.changed == 0


def verify(path: Path | None = None) -> Verification:
    """Check a classifier file against the contract, its checksums and its self-test.

    Args:
        path: The .onnx file; the bundled one when left out.

    Raises:
        ModelError: The file is refused, or holds no self-test.
    """
    classifier = MaskClassifier(path)
    checksums = []
    if is_sealed(read_model(classifier.path)):
        checksums.append("its own")
    if "sha256" in read_catalogue(classifier.path.parent).get(classifier.path.name, {}):
        checksums.append(CATALOGUE)
    if classifier.contract.selftest is None:
        raise ModelError(f"{classifier.path} holds no self-test (maskedge.selftest): export it again with edge-export.")
    try:
        test = SelfTest.from_json(classifier.contract.selftest)
        answers = classifier.classify_crops(test.crops)
        difference = np.abs(answers - test.answers).max(axis=1)
    except ValueError as error:
        raise ModelError(f"{classifier.path}: {error}; export it again with edge-export.") from error
    # NaN would compare as no difference.
    difference[~np.isfinite(difference)] = np.inf
    changed = int((answers.argmax(axis=1) != test.answers.argmax(axis=1)).sum())
    return Verification(classifier.labels, tuple(checksums), len(answers), float(difference.max()), changed, test.tolerance)
