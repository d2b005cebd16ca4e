"""Functions of `compat.py` and `arm64.py`: write frames, collect outputs, compare two machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskedge.sources import demo

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("outputs.py")
TOLERANCE = 1e-4
"""Largest accepted difference of a probability of a float32 model."""
INT8_TOLERANCE = 1e-3
"""The same of an int8 model: an activation between two steps of 8 bits may be rounded up on one
processor and down on another."""
PIXELS = 1.5
"""Largest accepted difference of a coordinate, in pixels. With an int8 model, a place in a crop of 250
pixels moves by one pixel when it is rounded to the next of 255 steps. With a float32 model, two
candidates of a face that differ in the sixth digit of their scores may change places."""
EVERY = 10
"""Step between the compared frames of the clip."""


def fail(message: str) -> None:
    """Exit with a message and code 1."""
    sys.exit(f"error: {message}")


def run(command: Sequence[str | Path], **options: Any) -> str:
    """Run a command and return its output; exit with the end of its output when it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        fail(f"{command[0]} ended with {done.returncode}: {' '.join((done.stderr or done.stdout).split())[-400:]}")
    return done.stdout


def write_frames(folder: Path) -> None:
    """Write frames of the built-in clip as PNG: every machine gets the same pixels."""
    folder.mkdir(parents=True)
    for index in range(0, demo.FRAMES, EVERY):
        cv2.imwrite(str(folder / f"{index}.png"), demo.draw(index))


def outputs_of(command: Sequence[str | Path], frames: Path, **options: Any) -> dict[str, Any]:
    """Run `outputs.py` with the Python of a base install, given as a command; return its output."""
    content: dict[str, Any] = json.loads(run([*command, SCRIPT, frames], **options))
    return content


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Print a comparison of the outputs, and return the names of the models that differ."""
    wrong = []
    for name, own in ours["models"].items():
        other = theirs["models"][name]
        worst, changed, compared = 0.0, 0, 0
        tolerance = INT8_TOLERANCE if ".int8." in name else TOLERANCE
        for index, rows in own["probabilities"].items():
            a, b = np.array(rows), np.array(other["probabilities"][index])
            if len(a):
                worst = max(worst, float(np.abs(a - b).max()))
                changed += int((a.argmax(axis=1) != b.argmax(axis=1)).sum())
                compared += len(a)
        differing = [index for index in own["faces"] if not _same(own["faces"][index], other["faces"][index], tolerance)]
        same = len(own["faces"]) - len(differing)
        print(
            f"  {name}: self-test {other['selftest']['worst']:.1e}; {compared} known faces, largest difference {worst:.1e}, "
            f"{changed} labels changed; pipeline: {same} of {len(own['faces'])} frames with the same faces"
        )
        for index in differing:
            print(f"    frame {index}: {own['faces'][index]} here, {other['faces'][index]} there")
        if not other["selftest"]["passed"] or not worst <= tolerance or changed or same < len(own["faces"]):
            wrong.append(name)
    return wrong


def _same(ours: list[list[Any]], theirs: list[list[Any]], tolerance: float) -> bool:
    """Return True if boxes are equal to `PIXELS`, labels equal, and scores within tolerance."""
    return len(ours) == len(theirs) and all(
        a[4] == b[4] and np.allclose(a[:4], b[:4], atol=PIXELS) and abs(a[5] - b[5]) <= tolerance
        for a, b in zip(ours, theirs, strict=True)
    )


def describe(machine: Mapping[str, Any]) -> str:
    """Return the processor and the versions of a machine."""
    versions = ", ".join(f"{name} {machine[name]}" for name in ("onnxruntime", "opencv", "numpy"))
    return f"{machine['machine']}, Python {machine['python']}, {versions}"
