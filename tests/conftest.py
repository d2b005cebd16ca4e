"""Fixtures that several tests share, and the marks `network` and `browser`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from helpers.commands import load_command
from helpers.support import command_line, composite, environment, texture
from maskedge.labelled_boxes import LabelledBox, write_boxes
from maskedge.sources import demo
from maskedge.types import Image
from maskedge_train.data.dataset import FACE_LABELS

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MASKEDGE_DATA", ROOT.parent / "shared" / "data"))
NEED_PYTORCH = ("train", "export", "benchmarks")
"""Folders of tests that are skipped where PyTorch is missing (`make test-edge`)."""
SERVERS = frozenset({"Mosquitto", "HttpCamera", "Stream", "RtspStream", "black_hole", "serve_bytes", "Run", "ModelServer"})
"""Servers of tests/helpers: the tests of a file that imports one have the mark `network`."""
SERVER_FIXTURES = frozenset({"server", "broker"})
BROWSER_FIXTURES = frozenset({"browser", "visitor"})
"""Fixtures that start a browser: the tests that use one have the mark `browser`."""


class _Skipped(pytest.Dir):
    """A folder whose files cannot be imported without PyTorch."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip("PyTorch is not installed (make test installs it)")


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if path.parent == Path(__file__).parent and path.name in NEED_PYTORCH and find_spec("torch") is None:
        return _Skipped.from_parent(parent, path=path)  # type: ignore[no-any-return]
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ())}
        if fixtures & BROWSER_FIXTURES:
            item.add_marker("browser")
        if fixtures & SERVER_FIXTURES or SERVERS & {*vars(getattr(item, "module", item))}:
            item.add_marker("network")
    # Files with slow tests come first, those of the training before others, so that no process works alone at the end.
    slow = sorted({item.path for item in items if item.get_closest_marker("slow")}, reverse=True)
    place = {path: number for number, path in enumerate(slow)}
    items.sort(key=lambda item: place.get(item.path, len(slow)))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real pictures, boxes and clips."""
    if not (DATA / "faces").is_dir():
        pytest.skip(f"no training data at {DATA} (set MASKEDGE_DATA)")
    return DATA


@pytest.fixture(scope="session")
def frames() -> list[Image]:
    """Four frames of the built-in clip, each with faces."""
    return [demo.draw(index) for index in range(100, 300, 50)]


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of composite faces: 48 different, unrelated pictures per label."""
    root = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(3)
    for label in ("with_mask", "without_mask"):
        (root / label).mkdir()
        for number in range(48):
            cv2.imwrite(str(root / label / f"face {number}.jpg"), composite(label, random))
    return root


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole pictures with boxes of all three labels in boxes.csv; backgrounds without people."""
    root = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(5)
    (root / "boxes").mkdir()
    (root / "backgrounds").mkdir()
    rows = []
    for number in range(30):
        picture = texture((240, 480), random)
        for place, label in enumerate(FACE_LABELS):
            face = composite(label, random)
            x, y = 160 * place, int(random.integers(0, 80))
            picture[y : y + 160, x : x + 160] = face
            rows.append((f"boxes/{number}.jpg", LabelledBox((x + 30, y + 30, x + 130, y + 140), label)))
        cv2.imwrite(str(root / "boxes" / f"{number}.jpg"), picture)
    for number in range(12):
        cv2.imwrite(str(root / "backgrounds" / f"{number}.png"), texture((200, 200), random))
    write_boxes(root / "boxes.csv", rows)
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a profile of its own."""
    from helpers.browsers import start_chromium  # skips the test without selenium

    chrome = start_chromium(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def command() -> Command:
    """Run an installed command in a process of its own, without a display.

    The timeout is long enough for small and busy machines. Only a command that hangs reaches it.
    """

    def run(*arguments: str | Path, env: dict[str, str] | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command_line(arguments), capture_output=True, text=True, timeout=timeout, env=environment(env), check=False
        )

    return run


@pytest.fixture(scope="session")
def invoke() -> Command:
    """Run an installed command in this process.

    Use it for errors that are found before the work starts, and for trainings: a process of its own
    would load PyTorch again.
    """

    def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        # An unexpected exception is raised here, and fails the test.
        result = CliRunner().invoke(load_command(name), [str(argument) for argument in arguments], catch_exceptions=False)
        return subprocess.CompletedProcess([name, *arguments], result.exit_code, result.stdout, result.stderr)

    return run
