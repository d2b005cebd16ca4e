"""What a run says about a video that it could not write, or only in part."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.support import environment

RUN = f"{shlex.quote(sys.executable)} -m maskedge.cli.run --no-show --overwrite"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(("limit", "kept"), [(4, False), (1000, True)])
def test_cut_off_video_is_an_error_and_not_called_written(tmp_path: Path, limit: int, kept: bool) -> None:
    done = shell(f"ulimit -f {limit}; {RUN} --source demo --max-frames 100 --save out.avi", tmp_path)
    assert done.returncode == 5, done.stderr
    assert "could be written to out.avi: raise the limit" in done.stderr
    assert "wrote" not in done.stdout
    assert ("frames in out.avi" in done.stdout) == (tmp_path / "out.avi").exists() == kept


@pytest.mark.parametrize("name", ["keep.webp", "keep.mp4"])
def test_failed_output_is_not_called_written_and_the_earlier_file_stays(tmp_path: Path, name: str) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((2, 16384, 3), np.uint8))
    (tmp_path / name).write_text("precious")
    done = shell(f"{RUN} --source wide.png --save {name}", tmp_path)
    assert done.returncode == 5, done.stderr
    assert f"{name} cannot be written" in done.stderr
    assert "wrote" not in done.stdout
    assert (tmp_path / name).read_text() == "precious"
