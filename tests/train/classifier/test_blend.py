"""A training whose result is a blend of initial and trained weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from maskedge.modelfile.contract import default_model
from maskedge_train.classifier.warm_start import initial_temperature
from maskedge_train.shared.checkpoint import read_checkpoint


def test_weights_are_blended_and_averaged(invoke, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = [
        *("edge-train", "classifier", "--data", faces_folder, "--out", tmp_path, "--whole-pictures", "--negatives", "none"),
        *("--init", "bundled", "--epochs", "1", "--samples", "64", "--batch-size", "16", "--accelerator", "cpu", "--quiet"),
        *("--trained-share", "0.25"),
    ]
    done = invoke(*run)
    assert done.returncode == 0, done.stderr

    last, best = (read_checkpoint(tmp_path / name)["state_dict"] for name in ("last.ckpt", "best.ckpt"))
    assert not any(name.startswith("initial.") for name in best)
    moved = 0.0
    for name, value in best.items():
        if value.is_floating_point() and "running_" not in name:
            trained, initial = last[name], last[name.replace("net.", "initial.", 1)]
            assert torch.allclose(value, 0.25 * trained + 0.75 * initial, atol=1e-6), name
            moved = max(moved, float((trained - initial).abs().max()))
    assert read_checkpoint(tmp_path / "best.ckpt")["maskedge"]["temperature"] == initial_temperature(default_model())
    assert moved > 1e-5, "the training changed nothing, so this proves nothing"

    # A training that has ended is not blended again.
    moved_to = tmp_path.with_name("moved")
    shutil.copytree(tmp_path, moved_to)
    done = invoke(*run, "--resume")
    assert done.returncode == 0, done.stderr
    again = read_checkpoint(tmp_path / "best.ckpt")["state_dict"]
    assert all(torch.equal(best[name], again[name]) for name in best)

    # A copy of its folder is continued there, not in the folder of before.
    before = (tmp_path / "best.ckpt").read_bytes()
    done = invoke(*(moved_to if part == tmp_path else part for part in run), "--resume")
    assert done.returncode == 0, done.stderr
    assert f"Wrote {moved_to / 'best.ckpt'}" in done.stdout
    assert (tmp_path / "best.ckpt").read_bytes() == before

    # An average without training: half of the way from the blend back to the trained weights.
    average = ["--average", f"{tmp_path / 'last.ckpt'}=0.5", "--out", tmp_path / "average"]
    done = invoke(
        *run[:4], *run[6:9], "--init", tmp_path / "best.ckpt", "--epochs", "0", *average, "--accelerator", "cpu", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    assert "0 epochs" in done.stdout
    averaged = read_checkpoint(tmp_path / "average" / "best.ckpt")["state_dict"]
    assert weights_apart(last, averaged) == pytest.approx([distance / 2 for distance in weights_apart(last, best)], abs=1e-5)
    done = invoke(
        *run[:4], *run[6:9], "--init", tmp_path / "best.ckpt", "--epochs", "0", *average, "--accelerator", "cpu", "--resume"
    )
    assert done.returncode == 2
    assert "--epochs 0 has no training to --resume" in done.stderr
    report = json.loads((tmp_path / "average" / "report.json").read_text(encoding="utf-8"))
    assert [share for _, share in report["recipe"]["average"]] == [0.5]


def weights_apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[float]:
    """Return the largest difference of each weight of two networks."""
    names = [name for name, value in other.items() if value.is_floating_point() and "running_" not in name]
    return [float((one[name] - other[name]).abs().max()) for name in names]
