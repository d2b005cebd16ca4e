from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from maskedge import Face, UsageError
from maskedge.sources import demo
from maskedge.types import Box
from maskedge_bench.accuracy import Tally
from maskedge_train.boxes import LabelledBox, read_boxes

HEADER = "image,xmin,ymin,xmax,ymax,label\n"


def face(box: Box, label: str = "with_mask", score: float = 0.9) -> Face:
    return Face(box, label, score, label, score)


def figures(truths: list[LabelledBox], faces: list[Face], scale: float = 1.0) -> dict[str, dict[str, float]]:
    tally = Tally.empty()
    tally.add(truths, faces, scale)
    result = tally.figures()
    return {"together": result["together"], **result["labels"]}


def test_right_wrong_missed_and_false() -> None:
    truths = [
        LabelledBox((0, 0, 100, 100), "with_mask"),
        LabelledBox((200, 0, 300, 100), "without_mask"),
        LabelledBox((400, 0, 500, 100), "with_mask"),
    ]
    result = figures(truths, [face((10, 0, 110, 100)), face((200, 0, 300, 100)), face((600, 0, 700, 100))])
    assert result["with_mask"]["found"] == 0.5
    assert result["without_mask"]["found"] == 1.0
    assert result["together"] == {"precision": 0.3333, "recall": 0.3333, "f1": 0.3333}
    assert result["with_mask"]["precision"] == 0.3333
    assert result["without_mask"]["recall"] == 0.0


def test_a_face_is_found_once() -> None:
    truth = [LabelledBox((0, 0, 100, 100), "with_mask")]
    assert figures(truth, [face((0, 0, 100, 100)), face((5, 0, 105, 100), score=0.8)])["together"]["precision"] == 0.5


def test_small_and_other_labels_are_ignored_on_both_sides() -> None:
    truths = [
        LabelledBox((0, 0, 100, 100), "with_mask"),
        LabelledBox((200, 0, 300, 100), "incorrect_mask"),
        LabelledBox((400, 0, 430, 30), "with_mask"),
    ]
    faces = [face(truth.box) for truth in truths] + [face((600, 0, 630, 30))]
    assert figures(truths, faces)["together"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    # The size counts on the scaled picture.
    assert figures(truths[:1], [], scale=0.3)["with_mask"]["labelled"] == 0


def test_command_on_frames_with_known_truth(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    cv2.imwrite(str(tmp_path / "empty" / "wall.png"), demo._wall())
    lines = []
    for index in range(60, 300, 24):
        cv2.imwrite(str(tmp_path / f"{index}.png"), demo.draw(index))
        shown = [true for true in demo.truth(index) if true.visible > 0.95]
        lines += [f"{index}.png,{','.join(f'{value:.1f}' for value in true.box)},{true.label}\n" for true in shown]
    (tmp_path / "scenes.csv").write_text(HEADER + "".join(lines))
    done = command(
        *(
            "edge-bench",
            "accuracy",
            "--scenes",
            tmp_path / "scenes.csv",
            "--backgrounds",
            tmp_path / "empty",
            "--json",
            tmp_path / "r.json",
        )
    )
    assert done.returncode == 0, done.stderr
    for row in json.loads((tmp_path / "r.json").read_text())["pipelines"]:
        assert row["labels"]["with_mask"]["found"] >= 0.9
        assert row["labels"]["without_mask"]["found"] >= 0.9
        assert row["false_alarms_a_background"] <= 1
    assert "| default (haar, edgenet) |" in done.stdout


@pytest.mark.parametrize("text", ["", "image,label\n", HEADER, HEADER + "a.png,1,2,three,4,with_mask\n", HEADER + "a.png,1\n"])
def test_unusable_csv_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "scenes.csv").write_text(text)
    with pytest.raises(UsageError, match=r"scenes\.csv"):
        read_boxes(tmp_path / "scenes.csv")
