"""Chooses between the float32 and the int8 file of each bundled model.

An int8 file is as accurate as its float32 file (`edge-export int8`). It is faster on processors with
dot products of bytes, and slower on others.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from maskedge.settings import PRECISIONS

from .contract import default_detector, default_model

_CPUINFO = Path("/proc/cpuinfo")
# avx512_vnni and avx_vnni of x86; asimddp of 64-bit ARM (ARMv8.2 dot product).
_DOT_PRODUCTS = re.compile(r"^(?:flags|Features)\s*:.*\b(?:avx512_vnni|avx_vnni|asimddp)\b", re.MULTILINE)

_chosen = PRECISIONS[0]


def choose_precision(precision: str) -> None:
    """Set the precision of the bundled models that this process loads from now on.

    It is a property of the machine, so it is one setting for the whole process.
    """
    global _chosen
    _chosen = precision


def bundled_classifier(precision: str | None = None) -> Path:
    """Return the path of the bundled classifier in one of `PRECISIONS`; None for the chosen one."""
    return _file(default_model(), precision)


def bundled_detector(precision: str | None = None) -> Path:
    """Return the path of the bundled network `cnn` in one of `PRECISIONS`; None for the chosen one."""
    return _file(default_detector(), precision)


def _file(path: Path, precision: str | None) -> Path:
    precision = precision or _chosen
    if precision == "auto":
        precision = "int8" if has_dot_products() else "float32"
    return path.with_suffix(".int8.onnx") if precision == "int8" else path


@cache
def has_dot_products(cpuinfo: Path = _CPUINFO) -> bool:
    """Return True if the processor has dot products of bytes; False if that is not known."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return _DOT_PRODUCTS.search(text) is not None
