from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskedge import OutputError, UsageError
from maskedge_train.classifier.metrics import Predictions
from maskedge_train.reports import charts
from maskedge_train.reports.report import write_report

LABELS = ("with_mask", "without_mask", "incorrect_mask", "not_a_face")
KINDS = ("confusion", "roc", "precision_recall", "reliability")


def made_up(name: str, count: int = 120, labels: int = 4, file: str = "face.jpg") -> Predictions:
    random = np.random.default_rng(2)
    targets = random.integers(0, labels, count)
    logits = random.normal(0, 1.5, (count, 4)) + 2.5 * np.eye(4)[targets]
    crops = random.integers(0, 256, (count, 16, 16, 3), np.uint8)
    return Predictions(name, LABELS, logits.astype(np.float32), targets, [f"{number} {file}" for number in range(count)], crops)


def report_of(out: Path, *answers: Predictions, **more: Any) -> dict[str, Any]:
    return write_report(out, "A net", answers, temperature=1.3, unsure_below=0.7, **({"facts": {"net": "edgenet"}} | more))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip drawing the charts, which takes most of the time."""
    monkeypatch.setattr(charts, "_png", lambda figure: b"chart")


class Page(HTMLParser):
    """Elements, text and pictures of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.captions: list[str] = []
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.tags and self.tags[-1] == "figcaption":
            self.captions.append(data)


def test_report(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    wide = made_up("Scenes, dev")
    history = [{"epoch": 0, "train_loss": 1.0, "val_loss": float("nan")}, {"epoch": 1, "val_loss": 0.5, "val_macro_f1": 0.7}, {}]
    comparison = {"random": {"accuracy": [0.99, 0.97], "separated": 0.41}, "group": {"accuracy": [0.91], "separated": 0.0}}
    facts = {
        "net": "<i>net</i>",
        "parameters": 112874,
        "data": {"digest": "abc", "counts": {"with_mask": 3}},
        "seeds": [1, 2],
        "best": None,
    }
    report = report_of(out, made_up("faces test", labels=2), wide, history=history, comparison=comparison, facts=facts)

    slugs = ("faces_test", "scenes_dev")
    drawn = {f"{kind}_{slug}.png" for kind in KINDS for slug in slugs} | {"learning_curves.png"}
    assert {path.name for path in out.iterdir()} == {"report.json", "report.html"} | drawn
    for name in drawn:
        chart = cv2.imread(str(out / name))
        assert chart is not None
        assert chart.shape[1] > 600
        assert chart[0, 0].tolist() == [255, 255, 255]

    text = (out / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == report
    assert len(text) < 20_000
    assert report["schema"] == "maskedge.training/1"
    assert (report["temperature"], report["unsure_below"], report["parameters"]) == (1.3, 0.7, 112874)
    assert [part["name"] for part in report["evaluations"]] == ["faces test", "Scenes, dev"]
    assert report["comparison"] == comparison

    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert "i" not in page.tags
    for words in ("<i>net</i>", "Data: counts: with mask", "112,874", "share it only as the data set itself", "0.9800", "0.4100"):
        assert words in page.words
    assert all(source.startswith("data:image/") for source in page.pictures)
    wrong = sum(int((part.logits.argmax(1) != part.targets).sum()) for part in (wide, made_up("", labels=2)))
    assert len(page.pictures) == len(drawn) + wrong


def test_gallery_has_the_most_confident_mistakes_first(tmp_path: Path, undrawn: None) -> None:
    answers = made_up("faces test", 600, file="<b>&.jpg")
    report_of(tmp_path, answers)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "b" not in page.tags
    captions = [caption for caption in page.captions if "→" in caption]
    assert len(captions) == 48
    chances = [float(caption.rsplit(", ", 1)[1].rstrip("%")) for caption in captions]
    assert chances == sorted(chances, reverse=True)
    wrong = answers.logits.argmax(1) != answers.targets
    number = int(captions[0].split()[0])
    assert wrong[number]
    label, answer = LABELS[answers.targets[number]], LABELS[answers.logits[number].argmax()]
    assert captions[0].startswith(f"{number} <b>&.jpg: {label} → {answer}, ")


def test_without_mistakes_history_and_second_label(tmp_path: Path) -> None:
    answers = made_up("one", 5, labels=1)
    answers.logits[:] = [9, 0, 0, 0]
    report = report_of(tmp_path, answers)
    assert report["evaluations"][0]["accuracy"] == 1
    assert "comparison" not in report
    assert not (tmp_path / "learning_curves.png").exists()
    assert "No prediction is wrong." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_names_with_the_same_slug_get_different_files(tmp_path: Path, undrawn: None) -> None:
    report_of(tmp_path, made_up("Faces", 9), made_up("faces!", 9))
    assert (tmp_path / "roc_faces.png").exists()
    assert (tmp_path / "roc_faces_2.png").exists()


def test_nothing_to_measure_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no crops"):
        report_of(tmp_path / "out", made_up("faces test", 0))
    assert not (tmp_path / "out").exists()


def test_unwritable_outputs_are_reported(tmp_path: Path, undrawn: None) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be created"):
        report_of(tmp_path / "file")
    for taken in ("report.json", "report.html", "roc_a.png"):
        out = tmp_path / f"taken {taken}"
        (out / taken).mkdir(parents=True)
        with pytest.raises(OutputError, match=f"{taken} cannot be written"):
            report_of(out, made_up("a", 5))
        assert not list(out.glob("*.tmp"))
