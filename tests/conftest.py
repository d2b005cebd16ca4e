"""What several tests need."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge.sources import demo
from maskedge.types import Image
from support import command_line, environment

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MASKEDGE_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real pictures, boxes and clips."""
    if not (DATA / "faces").is_dir():
        pytest.skip(f"no training data at {DATA} (set MASKEDGE_DATA)")
    return DATA


@pytest.fixture(scope="session")
def frames() -> list[Image]:
    """Some frames of the built-in clip, each with faces."""
    return [demo.draw(index) for index in range(100, 300, 50)]


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set made of the composite faces: 48 different pictures a label."""
    root = tmp_path_factory.mktemp("faces")
    tiles, labels, _, _ = demo._atlas()
    random = np.random.default_rng(3)
    for label in sorted(set(labels)):
        (root / label).mkdir()
        own = [tile for tile, name in zip(tiles, labels, strict=True) if name == label]
        for number in range(48):
            tile = own[number % len(own)]
            angle, scale = random.uniform(-25, 25), random.uniform(0.9, 1.5)
            matrix = cv2.getRotationMatrix2D((80, 80), angle, scale)
            picture = cv2.warpAffine(tile, matrix, (160, 160), borderMode=cv2.BORDER_REFLECT)
            picture = cv2.convertScaleAbs(picture, alpha=random.uniform(0.6, 1.3), beta=random.uniform(-20, 20))
            cv2.imwrite(str(root / label / f"face {number}.jpg"), picture)
    return root


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def command() -> Command:
    """Run one of our commands as a user does, in a process of its own, without a display."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command_line(arguments), capture_output=True, text=True, timeout=timeout, env=environment(env), check=False
        )

    return run
