"""The models that the page can use: the installed ones and those that a user uploaded, which stay in memory."""

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
    "haar": ("Standard", "our cascade, trained on masked and unmasked faces."),
    "haar-stock": ("Original", "OpenCV's face cascade on the full-size picture, as in the first version of this project: slow."),
    "cnn": ("Neural net", "our network (edgeface.onnx): it finds more and is the fastest."),
}


@dataclass(frozen=True)
class ModelFile:
    """A model file that was accepted.

    Attributes:
        name: What it is called.
        kind: What it does.
        content: Its bytes.
        digest: SHA-256 of them.
        path: Where it is installed; None for an upload.
    """

    name: str
    kind: Literal["classifier", "detector"]
    content: bytes
    digest: str
    path: Path | None = None

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Lend the model as a file: the installed one, or a private one that is removed after the block."""
        if self.path is not None:
            yield self.path
            return
        with private_file(self.name, self.content) as path:
            yield path

    def card(self) -> str:
        """Render its card as Markdown."""
        with self.file() as path:
            return render_card(path)

    def facts(self) -> dict[str, Any]:
        """Give the card as it stands in the file."""
        with self.file() as path:
            return MaskClassifier(path).contract.card if self.kind == "classifier" else CnnDetector(path).contract.card


def check_model(name: str, content: bytes, path: Path | None = None) -> ModelFile:
    """Check a model file against the contract, by what a device checks it with, and let it run once.

    Args:
        name: What the user's file is called.
        content: All of it.
        path: Where it is installed, where it is no upload.

    Raises:
        ModelError: The file is refused; the text names the clause that it breaks.
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
                    f"{name} answers otherwise on this computer than where it was made (difference {found.worst:.1e}): "
                    "this onnxruntime computes something else."
                )
        except ModelError as error:
            # The private file is gone when this is read: it is called what the user calls it.
            raise ModelError(str(error).replace(str(file), name)) from error
    return model


def installed_models() -> list[ModelFile]:
    """Give the bundled models, the default one first.

    Raises:
        ModelError: A bundled file is damaged.
    """
    paths = sorted(MODELS.glob("*.onnx"), key=lambda path: (path != default_model(), path.name))
    return [check_model(path.name, path.read_bytes(), path) for path in paths]


def detector_name(name: str) -> str:
    """Give what the page calls a registered detector."""
    return f"{_DETECTORS[name][0]} ({name})" if name in _DETECTORS else name


def detector_help(names: Sequence[str] | None = None) -> str:
    """Explain the detectors in a sentence each."""
    return " ".join(
        f"{_DETECTORS[name][0]} ({name}): {_DETECTORS[name][1]}" for name in names or detector_names() if name in _DETECTORS
    )


def build(classifier: ModelFile, detector: str | ModelFile, *, tracking: bool = False, detect_every: int = 1) -> MaskDetector:
    """Build a detector of its own for one stream of pictures: it may not be shared between threads.

    Args:
        classifier: Tells the faces apart.
        detector: Finds them: a name (`detector_names`), or a detector file.
        tracking: Follow faces from call to call.
        detect_every: With tracking, frames to a detection.
    """
    with classifier.file() as path:
        if isinstance(detector, str):
            return MaskDetector(path, detector, tracking=tracking, detect_every=detect_every)
        with detector.file() as own:
            return MaskDetector(path, detector_model=own, tracking=tracking, detect_every=detect_every)
