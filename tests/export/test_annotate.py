"""`edge-export annotate`: measured thresholds and weak groups in the card of a classifier."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from helpers.support import METADATA
from maskedge import MaskDetector
from maskedge.modelfile.contract import CATALOGUE, MODELS, default_detector, default_model, origin_digest, seal
from maskedge.sources import demo
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.model_card import render_card
from maskedge.vision.self_test import verify
from maskedge_export.cli import main

CURVE = [
    {"face_threshold": bound, "precision": 0.9, "recall": 0.9, "f1": 0.9, "false_alarms_a_background": 0.01}
    for bound in (0.41, 0.62, 0.83)
]
FIGURES = {"faces": 60, "f1": 0.8}


def origin() -> str:
    return origin_digest(MaskClassifier(default_model()).contract.card, default_model().read_bytes())


def thresholds(path: Path, **changes: Any) -> Path:
    row = {
        "detector": "haar",
        "domain": "webcam",
        "model": "edgenet.onnx",
        "origin_sha256": origin(),
        "points": {"balanced": 0.62, "high": 0.83, "recall": 0.41},
        "curve": CURVE,
        "weights": {"^ilc": 1.0},
        "sources": {"ilc": 9},
        "pictures": 9,
        "faces": 12,
        "backgrounds": 4,
    }
    path.write_text(json.dumps({"schema": "maskedge.thresholds/1", "rows": [row | changes]}))
    return path


def attributes(path: Path) -> Path:
    groups = [
        {"attribute": "brightness", "group": "under 75", "two_labels": FIGURES, "three_labels": FIGURES, "weak": True},
        {"attribute": "brightness", "group": "75 - 100", "two_labels": FIGURES, "three_labels": FIGURES, "weak": False},
    ]
    whole = {"two_labels": {"f1": 0.95}, "three_labels": {"f1": 0.93}}
    row = {"detector": "haar", "model": "edgenet.onnx", "origin_sha256": origin(), "whole": whole, "groups": groups}
    report = {"schema": "maskedge.attributes/1", "least_faces": 50, "most_below": 0.05, "rows": [row]}
    path.write_text(json.dumps(report))
    return path


def annotate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["annotate", *map(str, arguments)])


def test_the_network_stays_and_edge_run_uses_the_points(tmp_path: Path) -> None:
    output = tmp_path / "own.onnx"
    done = annotate(
        *(default_model(), "-o", output, "--thresholds", thresholds(tmp_path / "t.json")),
        *("--attributes", attributes(tmp_path / "a.json")),
    )
    assert done.exit_code == 0, done.output
    assert MaskDetector(output, operating_point="high").face_threshold == 0.83
    assert verify(output).passed
    crops = np.stack([demo.draw(150)[:64, :64], demo.draw(150)[100:164, 200:264]])
    before, after = (MaskClassifier(path).classify_and_locate_crops(crops)[0] for path in (default_model(), output))
    assert np.array_equal(before, after)
    card = render_card(output)
    assert card == output.with_suffix(".md").read_text()
    assert "| 0.83 | **high** |" in card
    assert "| haar | brightness | under 75 | 60 | 0.8000 | 0.8000 |" in card
    assert "75 - 100" not in card.split("## Limits")[1]


def test_an_annotated_file_and_its_int8_file_take_the_report_again(tmp_path: Path) -> None:
    report, output = thresholds(tmp_path / "t.json"), tmp_path / "own.onnx"
    assert annotate(default_model(), "-o", output, "--thresholds", report).exit_code == 0
    again = annotate(output, "-o", tmp_path / "again.onnx", "--thresholds", report)
    assert again.exit_code == 0, again.output
    int8 = annotate(default_model().with_suffix(".int8.onnx"), "-o", tmp_path / "own.int8.onnx", "--thresholds", report)
    assert int8.exit_code == 0, int8.output
    assert MaskDetector(tmp_path / "own.int8.onnx").face_threshold == 0.62


def test_the_catalogue_keeps_the_figures_and_gets_the_checksum(tmp_path: Path) -> None:
    for name in ("edgenet.onnx", CATALOGUE):
        shutil.copy(MODELS / name, tmp_path / name)
    before = json.loads((tmp_path / CATALOGUE).read_text())
    output = tmp_path / "edgenet.onnx"
    for _ in range(2):
        done = annotate(default_model(), "-o", output, "--overwrite", "--thresholds", thresholds(tmp_path / "t.json"))
        assert done.exit_code == 0, done.output
    after = json.loads((tmp_path / CATALOGUE).read_text())
    assert after["edgenet.onnx"]["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    changing = {"sha256", "bytes"}
    assert {k: v for k, v in after["edgenet.onnx"].items() if k not in changing} == {
        k: v for k, v in before["edgenet.onnx"].items() if k not in changing
    }
    assert MaskClassifier(output).labels == MaskClassifier(default_model()).labels
    output.write_bytes(b"damaged")
    done = annotate(default_model(), "-o", output, "--overwrite", "--thresholds", tmp_path / "t.json")
    assert done.exit_code == 0, done.output
    assert MaskClassifier(output).labels == MaskClassifier(default_model()).labels


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"origin_sha256": "0" * 64}, "was measured with another network"),
        ({"points": {"balanced": 2}}, "operating_points"),
        ({"curve": None}, "is incomplete"),
        ({"curve": [5]}, "own.onnx (maskedge.card) cannot be shown"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    output = tmp_path / "own.onnx"
    done = annotate(default_model(), "-o", output, "--thresholds", thresholds(tmp_path / "t.json", **changes))
    assert done.exit_code in (2, 4)
    assert reason in " ".join(done.output.split())
    assert not output.exists()


def plain(path: Path, folder: Path) -> Path:
    """Write a bundled classifier without its prior."""
    model = onnx.load(path)
    graph = model.graph
    for node in [node for node in graph.node if any(name.startswith("prior.") for name in node.input)]:
        graph.node.remove(node)
    for weight in [weight for weight in graph.initializer if weight.name.startswith("prior.")]:
        graph.initializer.remove(weight)
    for node in graph.node:
        node.output[:] = [name.removeprefix("prior.") for name in node.output]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    card = {key: value for key, value in json.loads(metadata["maskedge.card"]).items() if key != "prior"}
    onnx.helper.set_model_props(model, metadata | {"maskedge.card": json.dumps(card), "maskedge.sha256": "0" * 64})
    output = folder / f"plain.{path.name}"
    output.write_bytes(seal(model.SerializeToString(deterministic=True)))
    return output


@pytest.mark.parametrize("name", ["edgenet.onnx", "edgenet.int8.onnx"])
def test_a_prior_shifts_the_labels_of_faces_and_keeps_the_faces(tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    shutil.copy(MODELS / CATALOGUE, tmp_path / CATALOGUE)
    shutil.copy(MODELS / name, output)
    source = plain(MODELS / name, tmp_path)
    before = MaskClassifier(source)
    assert before.labels == ("with_mask", "without_mask", "incorrect_mask", "not_a_face")
    done = annotate(source, "-o", output, "--overwrite", "--prior", "incorrect_mask=-0.8")
    assert done.exit_code == 0, done.output
    after = MaskClassifier(output)
    crops = np.stack([demo.draw(150)[y : y + 64, x : x + 64] for y in range(0, 400, 80) for x in range(0, 500, 80)])
    old, places = before.classify_and_locate_crops(crops)
    new, moved = after.classify_and_locate_crops(crops)
    assert np.array_equal(places, moved)
    assert new[:, 3] == pytest.approx(old[:, 3], abs=1e-6)
    expected = old[:, :3] * np.exp([0, 0, -0.8])
    expected *= old[:, :3].sum(axis=1, keepdims=True) / expected.sum(axis=1, keepdims=True)
    assert new[:, :3] == pytest.approx(expected, abs=1e-5)
    assert verify(output).passed
    card = output.with_suffix(".md").read_text()
    assert "| prior, added to the logit in the graph | `incorrect_mask` -0.8 |" in card
    assert "measured without the prior" in card
    assert MaskDetector(output).face_threshold == MaskDetector(MODELS / name).face_threshold
    entry = json.loads((tmp_path / CATALOGUE).read_text())[name]
    assert entry["parameters"] == 140142


def test_reports_fit_a_file_with_a_prior_only_if_measured_with_it(tmp_path: Path) -> None:
    output, prior = tmp_path / "own.onnx", ("--prior", "incorrect_mask=-0.8")
    sources = [plain(default_model().with_suffix(suffix), tmp_path) for suffix in (".onnx", ".int8.onnx")]
    assert annotate(sources[0], "-o", output, *prior).exit_code == 0
    old = annotate(output, "-o", tmp_path / "again.onnx", "--thresholds", thresholds(tmp_path / "t.json"))
    assert "was measured with another network" in " ".join(old.output.split())
    own = origin_digest(MaskClassifier(output).contract.card, output.read_bytes())
    report = thresholds(tmp_path / "t.json", origin_sha256=own)
    for path in (output, sources[1]):
        added = prior if path != output else ()
        done = annotate(path, "-o", tmp_path / f"new.{path.name}", "--thresholds", report, *added)
        assert done.exit_code == 0, done.output
    assert "has a prior already" in " ".join(annotate(output, "-o", tmp_path / "twice.onnx", *prior).output.split())


@pytest.mark.parametrize(
    ("prior", "reason"),
    [
        ("not_a_face=1", "a prior needs a label of a face"),
        ("masked=1", "a prior needs a label of a face"),
        ("incorrect_mask=0", "other than 0"),
        ("incorrect_mask=nan", "from -10 to 10"),
        ("incorrect_mask", "give LABEL=NUMBER"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused(tmp_path: Path, prior: str, reason: str) -> None:
    done = annotate(plain(default_model(), tmp_path), "-o", tmp_path / "own.onnx", "--prior", prior)
    assert done.exit_code == 2
    assert reason in " ".join(done.output.split())
    assert not (tmp_path / "own.onnx").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    report, output = thresholds(tmp_path / "t.json"), tmp_path / "own.onnx"
    assert "is a detector" in annotate(default_detector(), "-o", output, "--thresholds", report).output
    assert "expected maskedge.attributes/1" in annotate(default_model(), "-o", output, "--attributes", report).output
    assert "there is nothing to write" in annotate(default_model(), "-o", output).output
    report.write_text('{"schema": "maskedge.thresholds/1", "rows": [{}]}')
    assert "is incomplete" in annotate(default_model(), "-o", output, "--thresholds", report).output
    report.write_text("[")
    assert "cannot be read as JSON" in annotate(default_model(), "-o", output, "--thresholds", report).output
    report.write_text('{"schema": "maskedge.thresholds/1", "rows": []}')
    assert "has no rows: measure again" in annotate(default_model(), "-o", output, "--thresholds", report).output
    done = annotate(plain(default_model(), tmp_path), "-o", output, *("--prior", "with_mask=1"), *("--prior", "with_mask=2"))
    assert done.exit_code == 2
    assert "with_mask is given twice" in done.output
    unstated = onnx.load(default_model())  # its graph has a prior, and its card says nothing
    onnx.helper.set_model_props(unstated, METADATA | {"maskedge.labels": json.dumps(MaskClassifier(default_model()).labels)})
    onnx.save(unstated, tmp_path / "odd.onnx")
    done = annotate(tmp_path / "odd.onnx", "-o", output, "--prior", "with_mask=1")
    assert done.exit_code == 4
    assert "takes no prior" in done.output
    assert not output.exists()
