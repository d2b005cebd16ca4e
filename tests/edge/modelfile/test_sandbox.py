"""The process in which unknown model files run first."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

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
