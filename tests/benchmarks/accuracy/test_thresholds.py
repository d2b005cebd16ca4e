"""`edge-bench thresholds`: curves by domain, and the points chosen on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from maskedge import UsageError
from maskedge.labelled_boxes import LabelledBox
from maskedge.sources import demo
from maskedge_bench.accuracy.scenes import measure_accuracy
from maskedge_bench.accuracy.scored_pictures import Scorer, collect_pictures, relabel_boxes, source_of
from maskedge_bench.accuracy.tables import thresholds_table
from maskedge_bench.accuracy.thresholds import choose_points, measure_thresholds
from maskedge_bench.contestants.pipelines import PIPELINES
from maskedge_bench.reports.kinds import load_any, to_markdown

HEADER = "image,xmin,ymin,xmax,ymax,label\n"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of the built-in clip as two sources, with their true boxes, and its wall."""
    root = tmp_path_factory.mktemp("labelled")
    (root / "empty").mkdir()
    cv2.imwrite(str(root / "empty" / "wall.png"), demo._wall())
    lines = []
    for number, index in enumerate(range(60, 252, 24)):
        name = f"{'web' if number % 2 else 'ilc'}_{index}.png"
        cv2.imwrite(str(root / name), demo.draw(index))
        shown = [true for true in demo.truth(index) if true.visible > 0.95]
        lines += [f"{name},{','.join(f'{value:.1f}' for value in true.box)},{true.label}\n" for true in shown]
    (root / "scenes.csv").write_text(HEADER + "".join(lines))
    return root


def row(bound: float, precision: float, recall: float, alarms: float | None = 0.0) -> dict[str, Any]:
    f1 = 2 * precision * recall / (precision + recall)
    return {
        "face_threshold": bound,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "false_alarms_a_background": alarms,
    }


def test_balanced_takes_the_fewest_false_alarms_near_the_best_f1() -> None:
    curve = [row(0.2, 0.9, 0.99, 0.5), row(0.5, 0.95, 0.98, 0.02), row(0.6, 0.953, 0.976, 0.004), row(0.9, 0.99, 0.9)]
    points = choose_points(curve)
    assert points["balanced"] == 0.6
    assert points["high"] == 0.9, "half of the wrong faces go"
    assert points["recall"] == 0.5, "more false alarms than 0.02 per background are too many"


def test_high_loses_a_tenth_of_the_recall_at_most() -> None:
    curve = [row(0.5, 0.95, 0.95), row(0.8, 0.96, 0.9), row(0.95, 0.99, 0.5)]
    assert choose_points(curve) == {"balanced": 0.5, "high": 0.8, "recall": 0.5}


def test_without_backgrounds_the_precision_bounds_the_recall() -> None:
    curve = [row(0.1, 0.85, 0.99, None), row(0.3, 0.91, 0.98, None), row(0.6, 0.97, 0.96, None)]
    assert choose_points(curve)["recall"] == 0.3


def test_a_curve_without_faces_is_refused() -> None:
    with pytest.raises(UsageError, match="no face was found at any threshold"):
        choose_points([{**row(0.1, 0.5, 0.5), "f1": 0.0}])


def test_the_curve_at_a_threshold_is_that_of_a_run_with_it(labelled: Path) -> None:
    report = measure_thresholds(
        collect_pictures([labelled / "scenes.csv"], [labelled / "empty"]), [Scorer("cnn")], {"webcam": {"": 1}}
    )
    (own,) = report["rows"]
    measured, _ = measure_accuracy(labelled / "scenes.csv", labelled / "empty", [PIPELINES[2]])
    curve = {point["face_threshold"]: point for point in own["curve"]}
    assert own["detector"] == measured["pipelines"][0]["detector"] == "cnn"
    assert curve[own["default"]]["f1"] == measured["pipelines"][0]["two_labels"]["f1"]
    assert own["points"].keys() == {"balanced", "high", "recall"}
    assert own["points"]["recall"] <= own["points"]["balanced"] <= own["points"]["high"]


def test_sources_count_by_their_weights(labelled: Path) -> None:
    pictures = collect_pictures([labelled / "scenes.csv"])
    weights = {"webcam": {"^ilc": 3.0, "^web": 0.5}, "crowds": {"^web": 1.0}}
    rows = measure_thresholds(pictures, [Scorer("cnn")], weights)["rows"]
    assert [(own["domain"], own["pictures"], own["sources"]) for own in rows] == [
        ("webcam", 8, {"ilc": 4, "web": 4}),
        ("crowds", 4, {"web": 4}),
    ]
    assert rows[0]["backgrounds"] == 0
    assert source_of("more/haon_0012.jpg") == "haon"


def test_own_pictures_count_as_webcam_pictures(labelled: Path, tmp_path: Path) -> None:
    lines = [line for line in (labelled / "scenes.csv").read_text().splitlines() if line.startswith(("image", "ilc_60"))]
    shutil.copy(labelled / "ilc_60.png", tmp_path / "mine_60.png")
    (tmp_path / "scenes.csv").write_text("\n".join(lines).replace("ilc_60", "mine_60") + "\n")
    (only,) = measure_thresholds(collect_pictures([tmp_path / "scenes.csv"]), [Scorer("cnn")])["rows"]
    assert (only["domain"], only["pictures"]) == ("webcam", 1)


def test_reviewed_labels_replace_those_of_the_same_boxes(labelled: Path, tmp_path: Path) -> None:
    lines = (labelled / "scenes.csv").read_text().splitlines()
    name, *box, label = lines[1].split(",")
    (tmp_path / "right.csv").write_text(HEADER + ",".join([name, *box, "unlabelled"]) + "\n")
    before = collect_pictures([labelled / "scenes.csv"]).scenes
    after = collect_pictures([labelled / "scenes.csv"], relabel=tmp_path / "right.csv").scenes
    assert before[labelled / name][0].label == label
    assert after[labelled / name][0].label == "unlabelled"
    assert after[labelled / name][0].box == before[labelled / name][0].box
    assert sum(one.label == "unlabelled" for faces in after.values() for one in faces) == 1
    measured, _ = measure_accuracy(labelled / "scenes.csv", None, [PIPELINES[2]], relabel=tmp_path / "right.csv")
    assert measured["relabelled"] == "right.csv"
    assert sum(own["labelled"] for own in measured["pipelines"][0]["labels"].values()) == len(lines) - 2
    # A face that the labels lack is added. Predictions on an unlabelled one do not count.
    (tmp_path / "more.csv").write_text(HEADER + f"{name},1,1,9,9,unlabelled\n")
    more = collect_pictures([labelled / "scenes.csv"], relabel=tmp_path / "more.csv").scenes
    assert [*more[labelled / name]] == [*before[labelled / name], LabelledBox((1, 1, 9, 9), "unlabelled")]
    (tmp_path / "other.csv").write_text(HEADER + f"other.png,1,1,9,9,{label}\n")
    with pytest.raises(UsageError, match="has no box of the measured pictures"):
        relabel_boxes({name: []}, tmp_path / "other.csv")
    shutil.copytree(labelled, tmp_path / "copy")
    with pytest.raises(UsageError, match=r"right\.csv may mean 2 pictures"):
        collect_pictures([labelled / "scenes.csv", tmp_path / "copy" / "scenes.csv"], relabel=tmp_path / "right.csv")


def test_the_command_writes_a_report_that_edge_bench_reads(command, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    report = tmp_path / "thresholds.json"
    done = command(
        *("edge-bench", "thresholds", "--scenes", labelled / "scenes.csv", "--backgrounds", labelled / "empty"),
        *("--detector", "haar", "--json", report),
    )
    assert done.returncode == 0, done.stderr
    assert "| haar | webcam | balanced |" in done.stdout
    assert thresholds_table(json.loads(report.read_text())) in done.stdout
    assert "# Face thresholds" in to_markdown(load_any(report))
    refused = command("edge-bench", "thresholds", "--scenes", labelled / "scenes.csv", "--weight", "street:^a=1")
    assert refused.returncode == 2
    assert "domains: webcam, crowds" in " ".join(refused.stderr.split())
    assert command("edge-bench", "thresholds").returncode == 2
    held_out = command("edge-bench", "thresholds", "--scenes", labelled / "scenes.csv", "--held-out", "--detector", "nothing")
    assert held_out.returncode == 2


def test_a_background_with_labelled_faces_is_refused(labelled: Path) -> None:
    with pytest.raises(UsageError, match=r"ilc_\d+\.png has labelled faces and is in --backgrounds"):
        collect_pictures([labelled / "scenes.csv"], [labelled])
    with pytest.raises(UsageError, match="has labelled faces and is in --backgrounds"):
        measure_accuracy(labelled / "scenes.csv", labelled, PIPELINES[1:2])


def test_labels_that_are_not_measured_alone_are_refused(labelled: Path, tmp_path: Path) -> None:
    shutil.copy(next(labelled.glob("ilc_*.png")), tmp_path / "a.png")
    (tmp_path / "scenes.csv").write_text(HEADER + "a.png,1,5,100,100,mask\n")
    with pytest.raises(UsageError, match=r"no face has a label that is measured .*; the labels are mask: correct them"):
        measure_accuracy(tmp_path / "scenes.csv", None, PIPELINES[1:2])


def test_a_weight_that_no_picture_has_is_refused(labelled: Path) -> None:
    pictures = collect_pictures([labelled / "scenes.csv"])
    with pytest.raises(UsageError, match="no file name of a picture matches a --weight"):
        measure_thresholds(pictures, [Scorer("cnn")], {"webcam": {"^zzz": 1.0}})


def test_a_picture_counts_once(labelled: Path, tmp_path: Path) -> None:
    text = (labelled / "scenes.csv").read_text()
    first = text.split(",")[5].split("\n")[1]
    shutil.copytree(labelled, tmp_path / "copy")
    path, other = tmp_path / "copy" / "scenes.csv", tmp_path / "copy" / "other.csv"
    shutil.copy(path, other)
    with pytest.raises(UsageError, match=rf"scenes\.csv and .*other\.csv both have boxes of {first}"):
        collect_pictures([path], test_scenes=[other])
    empty = tmp_path / "copy" / "empty"
    assert len(collect_pictures([path], [empty, empty / ".." / "empty"]).backgrounds) == 1
    for name, words in (
        (f"./{first}", f"two names of one picture, {first} and ./{first}"),
        ("z.png", "z.png cannot be read .*: repair or remove it"),
    ):
        other.write_text(f"{text}{name},1,5,100,100,with_mask\n")
        with pytest.raises(UsageError, match=words):
            collect_pictures([other])
        with pytest.raises(UsageError, match=words):
            measure_accuracy(other, None, PIPELINES[1:2])
