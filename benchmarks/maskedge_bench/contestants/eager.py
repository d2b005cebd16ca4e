"""Classifiers in eager PyTorch, for timing inference without an export."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier


def has_torch() -> bool:
    """Return True if PyTorch is installed."""
    return find_spec("torch") is not None


class EagerClassifier(MaskClassifier):
    """A classifier whose network runs in eager PyTorch, with random weights.

    Random weights take the same time as trained weights.

    Args:
        path: The .onnx file that gives labels and crop rule.
        net: Name of the network (`maskedge_train.classifier.nets`).
        threads: Threads of PyTorch.

    Raises:
        ModelError: The file is refused.
        UsageError: The network is unknown.
        ImportError: PyTorch is not installed.
    """

    def __init__(self, path: Path, net: str, threads: int = 1) -> None:
        import torch

        from maskedge_train.classifier.nets import build, locate

        labels = len(MaskClassifier(path).labels)
        torch.manual_seed(0)
        self._torch, self._threads, self._locate = torch, threads, locate
        self._net = build(net, labels).eval()
        super().__init__(path)

    def classify_and_locate_crops(self, crops: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Classify crops and locate their faces, like `MaskClassifier.classify_and_locate_crops`.

        Every other method of `MaskClassifier` calls this one.
        """
        torch = self._torch
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).to(torch.float32) / 255 * 2 - 1
            logits, places = self._locate(self._net, pixels)
            probabilities = np.asarray(torch.softmax(logits, dim=1).numpy(), np.float32)
            if places is None or not self.contract.places:
                return probabilities, None
            return probabilities, np.asarray(places.numpy(), np.float32)
