"""Memory, open files or threads of a command have run out."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from maskedge.cli import app, doctor
from maskedge.cli.common import Command
from maskedge.cli.doctor.config_check import read_config
from maskedge.cli.shortage import describe_shortage

NUMPY_ADVICE = (
    "IMPORTANT: PLEASE READ THIS\n\nOriginal error was: /a/_multiarray_umath.so: failed to map segment from shared object\n"
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "sink.py"), "too many files are open: raise the limit"),
        (RuntimeError("can't start new thread"), "no further thread can be started: allow more memory or threads"),
        (MemoryError("Unable to allocate 3.52 MiB"), "there is not enough memory: allow more"),
        (RuntimeError("Exception during initialization: std::bad_alloc"), "there is not enough memory: allow more"),
        (ImportError("cv2.abi3.so: failed to map segment from shared object"), "not enough memory to load cv2.abi3.so: allow"),
        (ImportError(NUMPY_ADVICE), "not enough memory to load _multiarray_umath.so: allow"),
        (ImportError("libGL.so.1: cannot open shared object file: No such file or directory"), None),
        (OSError(errno.ENOENT, "No such file or directory"), None),
        (RuntimeError("another one"), None),
    ],
)
def test_a_shortage_ends_a_command_with_one_line(error: Exception, words: str | None) -> None:
    text = describe_shortage(error)
    assert (words in text) if text and words else (text is words)

    @click.command(cls=Command)
    def main() -> None:
        raise error

    done = CliRunner().invoke(main)
    if words is None:
        assert done.exception is error, "a fault of the program keeps its traceback"
    else:
        assert (done.exit_code, done.stderr) == (1, f"error: {text}\n")


def test_memory_is_exhausted_by_a_picture_that_is_too_large() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, np.uint8)
    assert describe_shortage(caught.value)


def test_the_doctor_names_a_library_that_is_missing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of OpenCV needs a module that loads ONNX Runtime."""
    monkeypatch.setitem(sys.modules, "maskedge.vision.detectors.cascade", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert [finding.state for finding in doctor._opencv()] == ["ok"]
    (finding,) = doctor._onnxruntime()
    assert (finding.state, "pip install" in finding.remedy) == ("FAIL", True)


def test_the_doctor_names_a_home_folder_that_does_not_exist() -> None:
    loaded, (finding,) = read_config(Path("~nobody-here/edge.toml"))
    assert loaded is None
    assert finding.text == "~nobody-here/edge.toml names a home folder that does not exist: check the path."


def test_the_app_starts_for_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("HOME", "kept")
    app._set_home()
    assert os.environ["HOME"] == "kept"
    monkeypatch.setattr(Path, "home", refuse)
    app._set_home()
    assert os.environ["HOME"] == "/nonexistent"
