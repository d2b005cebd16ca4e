"""The models of the app: installed models, and uploads, which stay in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from maskedge.errors import ModelError
from maskedge.modelfile.contract import MODELS, default_model, read_kind, read_model
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors import detector_names, load_detector
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.model_card import render_card
from maskedge.vision.pipeline import MaskDetector
from maskedge.vision.self_test import verify

from .uploads import private_file

_DETECTORS = {
    "haar": ("Standard", "a cascade trained on masked and unmasked faces."),
    "haar-stock": ("Original", "OpenCV's face cascade on the full-size picture; slow."),
    "cnn": ("Neural network", "edgeface.onnx; finds the most faces and is the fastest."),
}


@dataclass(frozen=True)
class ModelFile:
    """An accepted model file.

    Attributes:
        name: Name of the file.
        kind: Classifier or detector.
        content: Bytes of the file.
        digest: SHA-256 of the content.
        path: Path of an installed model; None for an upload.
    """

    name: str
    kind: Literal["classifier", "detector"]
    content: bytes
    digest: str
    path: Path | None = None

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Yield the path of the installed file, or of a private copy that is removed afterwards."""
        if self.path is not None:
            yield self.path
            return
        with private_file(self.name, self.content) as path:
            yield path

    def render_card(self) -> str:
        """Return the model card as Markdown."""
        with self.file() as path:
            try:
                return render_card(path)
            except ModelError as error:
                # The message names the user's file, not the private copy.
                raise ModelError(str(error).replace(str(path), self.name)) from error

    def read_card(self) -> dict[str, Any]:
        """Return the model card as stored in the file."""
        with self.file() as path:
            return MaskClassifier(path).contract.card if self.kind == "classifier" else CnnDetector(path).contract.card


def check_model(name: str, content: bytes, path: Path | None = None) -> ModelFile:
    """Check a model file as a device does, and run its self-test.

    Args:
        name: Name of the user's file.
        content: Bytes of the file.
        path: Path of an installed model; None for an upload.

    Raises:
        ModelError: The file breaks the model contract; the message names the clause.
    """
    digest = hashlib.sha256(content).hexdigest()
    model = ModelFile(name, "classifier", content, digest, path)
    if not content:
        raise ModelError(f"{name} is empty (0 bytes): copy it again.")
    with model.file() as file:
        try:
            if read_kind(read_model(file)) == "detector":
                load_detector(file)
                return ModelFile(name, "detector", content, digest, path)
            contract = MaskClassifier(file).contract
            if contract.selftest is not None and not (found := verify(file)).passed:
                raise ModelError(
                    f"{name} fails its self-test on this computer (difference {found.worst:.1e}): "
                    "the results of this version of onnxruntime differ, install another version."
                )
        except ModelError as error:
            # The message names the user's file, not the private copy.
            raise ModelError(str(error).replace(str(file), name)) from error
    return model


def installed_models() -> list[ModelFile]:
    """Return the installed models, the default one first.

    Raises:
        ModelError: A bundled file is damaged.
    """
    paths = sorted(MODELS.glob("*.onnx"), key=lambda path: (path != default_model(), path.name))
    return [check_model(path.name, path.read_bytes(), path) for path in paths]


def detector_name(name: str) -> str:
    """Return the display name of a registered detector."""
    return f"{_DETECTORS[name][0]} ({name})" if name in _DETECTORS else name


def detector_help(names: Sequence[str] | None = None) -> str:
    """Return one sentence of description per detector."""
    known = [name for name in names or detector_names() if name in _DETECTORS]
    return " ".join(f"{_DETECTORS[name][0]} ({name}): {_DETECTORS[name][1]}" for name in known)


def build_detector(
    classifier: ModelFile, detector: str | ModelFile, *, tracking: bool = False, detect_every: int = 1
) -> MaskDetector:
    """Build a detector for one stream of pictures. It must not be shared between threads.

    Args:
        classifier: The classifier file.
        detector: A name (`detector_names`), or a detector file.
        tracking: Track faces across calls.
        detect_every: With tracking, detect in every n-th frame.
    """
    with classifier.file() as path:
        if isinstance(detector, str):
            return MaskDetector(path, detector, tracking=tracking, detect_every=detect_every)
        with detector.file() as own:
            return MaskDetector(path, detector_model=own, tracking=tracking, detect_every=detect_every)
