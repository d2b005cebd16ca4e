"""A training whose result is a blend of initial and trained weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from maskedge.modelfile.contract import default_model
from maskedge_train.classifier.warm_start import initial_temperature
from maskedge_train.shared.checkpoint import read_checkpoint


def test_the_result_is_a_blend_and_stays_it(command, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = [
        *("edge-train", "classifier", "--data", faces_folder, "--out", tmp_path, "--whole-pictures", "--negatives", "none"),
        *("--init", "bundled", "--epochs", "1", "--samples", "64", "--batch-size", "16", "--accelerator", "cpu", "--quiet"),
        *("--trained-share", "0.25"),
    ]
    done = command(*run)
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
    done = command(*run, "--resume")
    assert done.returncode == 0, done.stderr
    again = read_checkpoint(tmp_path / "best.ckpt")["state_dict"]
    assert all(torch.equal(best[name], again[name]) for name in best)


def test_weights_are_averaged_without_training(command, faces_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = ("--data", faces_folder, "--whole-pictures", "--negatives", "none", "--accelerator", "cpu", "--quiet")
    small = ("--init", "bundled", "--epochs", "1", "--samples", "64", "--batch-size", "16")
    done = command("edge-train", "classifier", *data, *small, "--out", tmp_path / "first")
    assert done.returncode == 0, done.stderr
    first = tmp_path / "first" / "last.ckpt"
    out = tmp_path / "average"
    done = command(
        *("edge-train", "classifier", *data, "--init", first, "--epochs", "0", "--out", out),
        *("--average", f"{default_model()}=0.5", "--average", f"{first}=0.25"),
    )
    assert done.returncode == 0, done.stderr
    assert "0 epochs" in done.stdout
    trained, averaged = (read_checkpoint(path)["state_dict"] for path in (first, out / "best.ckpt"))
    moved = max(
        float((averaged[name] - trained[name]).abs().max())
        for name in averaged
        if averaged[name].is_floating_point() and "running_" not in name
    )
    assert moved > 1e-5
    # 0.25 of itself, 0.25 of the same file, 0.5 of the initial network: half of the way back.
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [share for _, share in report["recipe"]["average"]] == [0.5, 0.25]
    assert report["epochs"] == 0

    done = command("edge-train", "classifier", *data, *small, "--out", tmp_path / "third", "--average", f"{first}=0.5")
    assert done.returncode == 0, done.stderr
    own, averaged = (read_checkpoint(tmp_path / "third" / name)["state_dict"] for name in ("last.ckpt", "best.ckpt"))
    name = next(name for name in averaged if name.endswith("weight"))
    assert torch.allclose(averaged[name], (own[name] + trained[name]) / 2, atol=1e-6)
