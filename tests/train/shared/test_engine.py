"""Trainings that are killed, distributed, or out of disk space."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.support import command_line, environment
from maskedge import ModelError, UsageError
from maskedge_train.shared.checkpoint import read_checkpoint
from maskedge_train.shared.engine import BalancedBatchSampler, check_resume
from maskedge_train.shared.lock import LOCK

RECIPE = (
    *("--net", "edgenet", "--samples", "160", "--batch-size", "16", "--accelerator", "cpu", "--quiet"),
    *("--whole-pictures", "--negatives", "none"),  # the engine is tried, not its data
)


def arguments(data: Path, out: Path, *more: str | Path) -> list[str | Path]:
    return ["edge-train", "classifier", "--data", data, "--out", out, *RECIPE, *more]


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(path)["state_dict"]
    return state


@pytest.fixture(scope="module")
def unbroken(command, faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    out = tmp_path_factory.mktemp("unbroken")
    done = command(*arguments(faces_folder, out, "--epochs", "4"))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_killed_training_goes_on_exactly(unbroken: Path, command, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = arguments(faces_folder, tmp_path, "--epochs", "4")
    process = subprocess.Popen(command_line(run), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "last.ckpt"
    deadline = time.monotonic() + 300
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_checkpoint(last)["epoch"] < 3, "killed too late to prove anything"
    done = command(*run, "--resume")
    assert done.returncode == 0, done.stderr
    expected, found = weights(unbroken / "last.ckpt"), weights(last)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    histories = [json.loads((folder / "report.json").read_text())["history"] for folder in (unbroken, tmp_path)]
    for epoch in histories[0] + histories[1]:
        assert epoch.pop("seconds") > 0
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--net", "seednet"), "net was 'edgenet', now 'seednet'"),
        (("--seed", "7"), "seed was 0"),
        (("--split-seed", "7"), "split has changed. Repeat the first command with the same data"),
    ],
)
def test_resume_otherwise_is_refused(unbroken: Path, invoke, faces_folder: Path, change: tuple[str, str], words: str) -> None:  # type: ignore[no-untyped-def]
    before = {path: path.read_bytes() for path in unbroken.iterdir() if path.is_file() and path.name != LOCK}
    run = arguments(faces_folder, unbroken, "--epochs", "4", "--resume")
    if change[0] in run:
        run[run.index(change[0]) + 1] = change[1]
    else:
        run += change
    done = invoke(*run)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        check_resume(tmp_path / "last.ckpt", {})
    (tmp_path / "last.ckpt").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="damaged"):
        check_resume(tmp_path / "last.ckpt", {})


@pytest.mark.slow
def test_two_processes_train_together(command, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command(*arguments(faces_folder, tmp_path, "--epochs", "2", "--devices", "2"))
    assert done.returncode == 0, done.stderr
    # Only one of the two processes reports.
    assert done.stdout.count("faces test: accuracy") == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["epochs"] == 2
    # A step has 16 samples per process: half the steps of a single process.
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 8


def test_full_disk_leaves_the_checkpoint_before(unbroken: Path, faces_folder: Path, tmp_path: Path) -> None:
    """A file size limit between the sizes of split and checkpoint simulates a full disk."""
    for name in ("best.ckpt", "last.ckpt"):
        (tmp_path / name).write_bytes((unbroken / name).read_bytes())
    run = command_line(arguments(faces_folder, tmp_path, "--epochs", "4", "--no-paint", "--overwrite"))
    # SIGXFSZ is ignored, so that a write fails as on a full disk.
    script = f"trap '' XFSZ; ulimit -f 300; exec {' '.join(map(repr, run))}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(), timeout=600, check=False)
    assert done.returncode == 5, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    for name in ("best.ckpt", "last.ckpt"):
        assert (tmp_path / name).read_bytes() == (unbroken / name).read_bytes()
    assert not list(tmp_path.glob("*.tmp"))


def test_order_is_balanced_and_depends_on_seed_and_epoch_alone() -> None:
    categories = np.array([0] * 90 + [1] * 10)
    sampler = BalancedBatchSampler(categories, [0.5, 0.5], samples=80, batch_size=8, seed=1)
    drawn = np.concatenate(list(sampler))
    assert (categories[drawn] == 0).sum() == (categories[drawn] == 1).sum() == 40
    # Four rounds of ten: each sample exactly four times.
    assert np.unique(drawn[categories[drawn] == 1], return_counts=True)[1].tolist() == [4] * 10
    assert np.concatenate(list(sampler)).tolist() == drawn.tolist()
    sampler.set_epoch(1)
    assert np.concatenate(list(sampler)).tolist() != drawn.tolist()
    # One of the ten is listed three times (of twelve); the shares stay.
    sampler = BalancedBatchSampler(
        categories, [0.4, 0.6], samples=80, batch_size=8, seed=1, times=np.where(np.arange(100) == 95, 3, 1)
    )
    rows, counts = np.unique(np.concatenate(list(sampler)), return_counts=True)
    assert dict(zip(rows.tolist(), counts.tolist(), strict=True))[95] == 12
    assert counts[rows >= 90].tolist().count(4) == 9


def test_pass_that_fills_no_step() -> None:
    with pytest.raises(UsageError, match="smaller --batch-size"):
        BalancedBatchSampler(np.array([0, 0, 1]), [0.5, 0.5], samples=17, batch_size=17, seed=0)
