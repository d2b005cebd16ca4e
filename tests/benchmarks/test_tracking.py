from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskedge.sources import demo
from maskedge_bench.tracking import _Loss


def test_loss_is_the_longest_run_and_the_wait_for_the_first() -> None:
    loss = _Loss()
    for covered in (False, False, True, False, True, False, False, False, True, False):
        loss.add(covered)
    assert (loss.found, loss.covered, loss.before, loss.longest) == (10, 3, 2, 3)


def test_command_on_the_built_in_clip(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-bench", "tracking", "--frames", "80", "--json", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    (row,) = report["sources"]
    assert row["frames"] == 80
    assert 80 / report["detect_every"] <= row["detections"] <= 1.5 * 80 / report["detect_every"]
    assert row["covered"] > 0.9
    assert max(row["longest_loss"], row["longest_wait"]) <= 10
    labels = {true.person: true.label for index in range(70) for true in demo.truth(index) if true.visible == 1}
    assert 2 <= len(row["people"]) <= len(labels)
    assert all(person["label_changes"] == 0 for person in row["people"])
    assert sum(row["people_by_label"].values()) == len(row["people"])
    assert "| `demo` | 80 |" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"), [(("--source", "/nowhere.mp4"), 3), (("--detector", "yolo"), 2), (("--detect-every", "0"), 2)]
)
def test_wrong_use_is_said(invoke, arguments: tuple[str, ...], code: int) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-bench", "tracking", *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
