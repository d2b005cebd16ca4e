from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.streams import write_video
from maskedge.errors import SourceError, UsageError
from maskedge.sources import demo
from maskedge.types import Face, Frame
from maskedge.vision.pipeline import DETECT_EVERY
from maskedge_bench.accuracy.frame_rates import Contradictions, resampled
from maskedge_bench.accuracy.tracking import _check_videos, _Loss, measure_tracking


def test_loss_is_the_longest_run_and_the_wait_for_the_first() -> None:
    loss = _Loss()
    for covered in (False, False, True, False, True, False, False, False, True, False):
        loss.add(covered)
    assert (loss.found, loss.covered, loss.before, loss.longest) == (10, 3, 2, 3)


def test_command_on_the_built_in_clip(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-bench", "tracking", "--frames", "80", "--rates", "5,60", "--json", tmp_path / "r.json")
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
    assert [(rate["rate"], rate["frames"], rate["contradicted"]) for rate in row["rates"]] == [(5, 14, 0), (60, 159, 0)]
    assert "| `demo` | haar | 60 |" in done.stdout


def test_a_video_is_shown_at_another_rate() -> None:
    frames = [Frame(np.zeros((1, 1, 3), np.uint8), index, 0.0, 0.0, "clip", index / 10) for index in range(6)]
    slow, same, fast = ([(frame.index, frame.moment) for frame in resampled(frames, rate)] for rate in (4, 10, 20))
    assert slow == [(0, 0.0), (2, 0.25), (5, 0.5)]
    assert same == [(index, index / 10) for index in range(6)]
    assert fast == [(number // 2, number / 20) for number in range(11)]


def test_contradictions_last_until_an_answer_that_agrees() -> None:
    counts = Contradictions()
    box = (0.0, 0.0, 9.0, 9.0)

    def face(label: str, score: float = 1.0) -> Face:
        return Face(box, label, score, label, score, 1)

    for moment, shown, seen in ((0, "m", "m"), (0.2, "m", "n"), (0.4, "m", "n"), (0.6, "n", "n"), (0.8, "n", "m"), (1.5, "n", "m")):
        counts.add(moment, [face(shown)], [face(seen)])
    counts.add(2.5, [face("n")], [face("m", 0.8)])
    counts.add(2.6, [face("n")], [])
    assert (counts.compared, counts.contradicted, counts.longest) == (6, 4, pytest.approx(1.8)), "nothing has agreed since"
    counts.add(2.9, [face("m")], [])
    counts.add(9.0, [face("m")], [face("m")])
    assert counts.longest == pytest.approx(2.1), "another label ended it"


RATES = (2, 5, 12.5, 25, 50)


@pytest.mark.slow
def test_labels_of_a_real_clip_follow_at_any_rate(data_dir: Path) -> None:
    """Four people put masks on. Hands before a face are the longest contradiction: they are no change."""
    clip = str(data_dir / "clips" / "four_people_putting_masks_on.mp4")
    (source,) = measure_tracking([clip], "cnn", DETECT_EVERY, rates=RATES, threads=2)["sources"]
    assert [row["rate"] for row in source["rates"]] == list(RATES)
    for row in source["rates"]:
        assert row["contradicted"] <= 0.06, row
        assert row["longest_contradiction_s"] <= 1, row
        assert row["people"] == len(source["people"]), row
        assert sum(row["label_changes"]) <= sum(person["label_changes"] for person in source["people"]), row


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--source", "/nowhere.mp4"), 3),
        (("--detector", "yolo"), 2),
        (("--detect-every", "0"), 2),
        (("--rates", "2,fast"), 2),
        (("--rates", "0"), 2),
    ],
)
def test_wrong_use_is_said(invoke, arguments: tuple[str, ...], code: int) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-bench", "tracking", *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_videos_are_named_and_checked_before_the_first_is_measured(tmp_path: Path) -> None:
    clips = [tmp_path / folder / "clip.mp4" for folder in ("door", "hall")]
    for clip in clips:
        clip.parent.mkdir()
        write_video(clip, 2)
    assert _check_videos(["demo", *map(str, clips)]) == ["demo", "door/clip.mp4", "hall/clip.mp4"]
    with pytest.raises(UsageError, match=r"the video clip\.mp4 is given twice"):
        _check_videos([str(clips[0]), f"{tmp_path}/hall/../door/clip.mp4"])
    with pytest.raises(SourceError, match="there is no file or folder"):
        measure_tracking(["demo", "/nowhere.mp4"], "haar", DETECT_EVERY, progress=lambda _: pytest.fail("measured"))
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(SourceError, match=r"one\.png is no video"):
        _check_videos([str(tmp_path / "one.png")])
