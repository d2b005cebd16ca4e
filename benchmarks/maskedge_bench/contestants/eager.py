"""A classifier in eager PyTorch, as one would run it who does not export: for its time, not for its answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier


def has_torch() -> bool:
    """Tell whether PyTorch is installed."""
    return find_spec("torch") is not None


class EagerClassifier(MaskClassifier):
    """Labels and crops of a classifier file; the net itself in eager PyTorch, with fresh weights (they cost the same time).

    Args:
        path: The .onnx file whose labels and crops it has.
        net: Name of the net (`maskedge_train.classifier.nets`).
        threads: Threads that PyTorch may use.

    Raises:
        ModelError: The file is refused.
        UsageError: No net has that name.
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

    def classify_crops(self, crops: Image) -> npt.NDArray[np.float32]:
        """Answer for crops, uint8 `[N, S, S, 3]`, BGR. Returns float32 `[N, C]`."""
        torch = self._torch
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).to(torch.float32) / 255 * 2 - 1
            # As the file does: where the face is, too, where the net tells it.
            logits, _ = self._locate(self._net, pixels)
            return np.asarray(torch.softmax(logits, dim=1).numpy(), np.float32)
