"""The process in which unknown model files run first."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from helpers.support import write_model
from maskedge.modelfile import sandbox


def test_a_process_that_exits_while_it_is_asked_is_started_again(tmp_path: Path) -> None:
    first = write_model(tmp_path / "first.onnx", metadata={"run": str(np.random.default_rng().integers(1 << 60))})
    sandbox.try_model(first.read_bytes())
    process = sandbox._process
    assert process is not None
    assert process._process.stdin is not None
    # To the process, this is the end of its input: it exits as it does when it is idle.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, process._process.stdin.fileno())
    os.close(nothing)
    second = write_model(tmp_path / "second.onnx", metadata={"run": str(np.random.default_rng().integers(1 << 60))})
    sandbox.try_model(second.read_bytes())
    assert sandbox._process is not process


def test_a_program_with_more_than_a_thousand_open_files_tries_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_process", None)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 1200:
        pytest.skip("this user may not open 1,200 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1200, limits[1]))
    model = write_model(tmp_path / "model.onnx", metadata={"run": str(np.random.default_rng().integers(1 << 60))})
    try:
        with contextlib.ExitStack() as opened:
            while opened.enter_context(Path(os.devnull).open("rb")).fileno() < 1024:
                pass
            sandbox.try_model(model.read_bytes())
        assert sandbox._process is not None
        sandbox._process.end()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
