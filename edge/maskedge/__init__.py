"""maskedge: live face-mask detection for cameras, on small computers.

>>> from maskedge import MaskDetector
>>> detector = MaskDetector()          # loads the bundled models
>>> faces = detector(frame_bgr)        # uint8 [H, W, 3] in, list[Face] out  # doctest: +SKIP
"""

from __future__ import annotations

import os
from importlib import import_module

from .version import VERSION

TYPE_CHECKING = False  # typing is slow to import, and a command cannot handle signals before this module is loaded
if TYPE_CHECKING:
    from typing import Any

    from maskedge.vision.pipeline import MaskDetector

    from .errors import MaskedgeError, ModelError, OutputError, SourceError, UsageError
    from .sources import open_source
    from .types import Face, Frame

# From 1.29 on, ONNX Runtime would report its use to its maker, under an identifier that it writes to the disk. It reads
# this variable when it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = VERSION
__all__ = [
    "Face",
    "Frame",
    "MaskDetector",
    "MaskedgeError",
    "ModelError",
    "OutputError",
    "SourceError",
    "UsageError",
    "open_source",
]

# Imported on first use: `edge-run --help` does not load OpenCV and ONNX Runtime.
_HOMES = {
    "Face": "types",
    "Frame": "types",
    "MaskDetector": "vision.pipeline",
    "open_source": "sources",
    **dict.fromkeys(("MaskedgeError", "ModelError", "OutputError", "SourceError", "UsageError"), "errors"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"maskedge.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'maskedge' has no attribute {name!r}")
