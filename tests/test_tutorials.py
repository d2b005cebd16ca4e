"""Every shell line of the tutorials runs, in order, in one new folder for each tutorial."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.support import ROOT, environment

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
NEED_PYTORCH = {"trainer", "researcher"}
SHORTER = {"trainer": ("--samples 600", "--samples 160")}
"""An option of a tutorial whose value is smaller here: a reader has time for a training that learns something."""


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_every_line_of_a_tutorial_runs(tutorial: Path, tmp_path: Path) -> None:
    if tutorial.stem in NEED_PYTORCH and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed (make test installs it)")
    blocks = re.findall(r"^```shell\n(.*?)^```$", tutorial.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert blocks, "a tutorial has commands"
    lines = "".join(blocks)
    if tutorial.stem in SHORTER:
        written, shorter = SHORTER[tutorial.stem]
        assert written in lines
        lines = lines.replace(written, shorter)
    programs = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # `head` closes a pipe early, as a reader does, so a pipe has the status of its last command.
    done = subprocess.run(
        ["bash", "-eux", "-c", lines],
        cwd=tmp_path, env=environment(programs), capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
