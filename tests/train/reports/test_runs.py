"""The table of runs, for trainings in any state."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from maskedge_train.classifier.checkpoint import ClassifierSpec
from maskedge_train.shared.checkpoint import write_checkpoint
from maskedge_train.shared.face_crop import CROP

REPORT: dict[str, Any] = {
    "schema": "maskedge.training/1",
    "net": "edgenet",
    "epochs": 30,
    "recipe": {"seed": 3, "epochs": 40},
    "data": {"digest": "0123456789abcdef", "pictures": 9},
    "evaluations": [{"name": "faces test", "accuracy": 0.98, "macro_f1": 0.97}, {"name": "validation", "accuracy": 0.5}],
    "gate": {"faces test": {"rejected": 0.99, "false_alarms": 200}, "validation": {"rejected": 0.1}},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write trainings in all states, a detector, an evaluation and other files."""
    spec = ClassifierSpec("seednet", ("with_mask", "without_mask"), 64, CROP)
    facts = spec.to_dict() | {"recipe": {"seed": 7, "data": "fedcba9876543210"}, "history": [{"epoch": 0}, {"epoch": 1}]}
    reports: dict[str, Any] = {
        "done": REPORT,
        "grid/seed 1": {**REPORT, "gate": {}, "evaluations": [{"name": "faces test", "accuracy": float("nan"), "macro_f1": None}]},
        "detector": {"schema": "maskedge.detector/1", "data": {"digest": "aaaa"}, "history": [{}, {}, {}]},
        "done/evaluation": {key: REPORT[key] for key in ("schema", "net", "evaluations")},
        "other": {"schema": "something else"},
        "odd": {"schema": "maskedge.training/1", "recipe": [], "evaluations": {}, "data": 3, "epochs": "many", "gate": None},
    }
    for number, (name, report) in enumerate(reports.items()):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "report.json").write_text(json.dumps(report))
        os.utime(tmp_path / name / "report.json", (1_700_000_000 + number, 1_700_000_000 + number))
    for name in ("stopped", "broken", "lost", "cascade"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "stopped" / "last.ckpt", {"maskedge": facts, "state_dict": {}})
    (tmp_path / "broken" / "report.json").write_text("{")
    (tmp_path / "lost" / "last.ckpt").write_text("no checkpoint")
    (tmp_path / "cascade" / "stages.json").write_text("{}")
    return tmp_path


def test_table_has_every_training(invoke, root: Path) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-train", "runs", root, "--json", "-")
    assert done.returncode == 0, done.stderr
    runs = {run["name"]: run for run in json.loads(done.stdout)["runs"]}
    assert set(runs) == {"done", "grid/seed 1", "detector", "odd", "stopped", "broken", "lost", "cascade"}
    own = runs["done"]
    assert (own["net"], own["data"], own["epochs"], own["seed"], own["state"]) == ("edgenet", "01234567", 30, 3, "done")
    assert (own["accuracy"], own["macro_f1"], own["false_alarms"]) == (0.98, 0.97, 0.01)
    assert own["date"] == "2023-11-14T22:13:20+00:00"
    assert own["path"] == str(root / "done")
    stopped = runs["stopped"]
    assert (stopped["state"], stopped["net"], stopped["epochs"], stopped["seed"]) == ("unfinished", "seednet", 2, 7)
    assert (stopped["data"], stopped["accuracy"]) == ("fedcba98", None)
    assert (runs["detector"]["kind"], runs["detector"]["epochs"]) == ("detector", 3)
    assert runs["broken"]["state"] == "report.json is damaged"
    assert runs["lost"]["state"] == "unfinished"
    assert runs["grid/seed 1"]["accuracy"] is None


def test_table_for_people_and_for_programs(invoke, root: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-train", "runs", root, "--csv", tmp_path / "runs.csv")
    lines = done.stdout.splitlines()
    for name in ("Name", "Net", "Data", "Epochs", "Seed", "Accuracy", "Macro F1", "False alarms", "Date", "Path"):
        assert name in lines[0]
    (own,) = [line for line in lines if line.startswith("done ")]
    assert own.split()[:8] == ["done", "edgenet", "01234567", "30", "3", "0.9800", "0.9700", "0.0100"]
    assert len(lines) == 9
    rows = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text())))
    assert len(rows) == 8
    assert {row["accuracy"] for row in rows} == {"", "0.98"}


def test_folder_without_a_training_is_refused(invoke, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "picture.jpg").write_text("")
    done = invoke("edge-train", "runs", tmp_path)
    assert (done.returncode, "contains no training" in done.stderr) == (2, True)


def test_an_existing_file_is_kept(invoke, root: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    mine = tmp_path / "mine.json"
    mine.write_text("precious")
    for option in ("--json", "--csv"):
        done = invoke("edge-train", "runs", root, option, mine)
        assert done.returncode == 2
        assert "exists already: add --overwrite" in done.stderr
        assert mine.read_text() == "precious"
    assert invoke("edge-train", "runs", root, "--json", mine, "--overwrite").returncode == 0
    assert json.loads(mine.read_text())["runs"]
