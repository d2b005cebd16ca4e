"""The example of docs/training.md that searches for settings with Optuna."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.support import ROOT, environment

pytest.importorskip("optuna", reason="Optuna is not installed (make test installs it)")


@pytest.mark.slow
def test_the_search_trains_each_trial_and_prints_the_best_settings(faces_folder: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(import json.*?optuna.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    small = '"1", "--samples", "160", "--whole-pictures", "--negatives", "none"]'
    script = script.replace('"10"]', small).replace("n_trials=20", "n_trials=2")
    (tmp_path / "faces").symlink_to(faces_folder)
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\{'learning_rate': [\d.e-]+, 'mixup': 0\.[02]\}", done.stdout)
    assert all((tmp_path / "runs" / f"search-{number}" / "logs" / "metrics.csv").is_file() for number in range(2))
