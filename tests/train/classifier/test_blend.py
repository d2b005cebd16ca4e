"""A training whose result is a blend of initial and trained weights."""

from __future__ import annotations

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
