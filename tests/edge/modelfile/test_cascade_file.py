"""Cascade files: all of OpenCV's are accepted with unchanged results; damaged ones are refused."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import ModelError
from maskedge.modelfile.cascade_file import CascadeError, read_cascade
from maskedge.modelfile.contract import MODELS
from maskedge.sources import demo
from maskedge.vision.detectors.cascade import CascadeDetector, opencv_cascade

STOCK = sorted(opencv_cascade("eye").parent.glob("*.xml"))
OWN = (MODELS / "haar.xml").read_text()


def open_checked(path: Path) -> cv2.CascadeClassifier:
    cascade = cv2.CascadeClassifier()
    storage = cv2.FileStorage(read_cascade(path.read_bytes()), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    assert cascade.read(storage.getFirstTopLevelNode())
    return cascade


@pytest.mark.parametrize("path", [*STOCK, MODELS / "haar.xml"], ids=lambda path: path.stem.removeprefix("haarcascade_"))
def test_every_stock_cascade_is_taken_and_answers_as_before(path: Path) -> None:
    """Stumps and trees, upright and tilted features, today's format and the older one."""
    grey = cv2.resize(cv2.cvtColor(demo.draw(150), cv2.COLOR_BGR2GRAY), None, fx=0.5, fy=0.5)
    plain, checked = cv2.CascadeClassifier(str(path)), open_checked(path)
    assert checked.getOriginalWindowSize() == plain.getOriginalWindowSize()
    found = [sorted(map(tuple, cascade.detectMultiScale(grey, 1.2, 0))) for cascade in (plain, checked)]
    assert found[0] == found[1]


def test_local_binary_patterns_are_taken(tmp_path: Path) -> None:
    features = "".join(f"<_><rect>{x} {y} 2 3</rect></_>" for x in range(0, 18, 6) for y in range(0, 15, 5))
    random = np.random.default_rng(0)
    trees = "".join(
        f"<_><internalNodes>0 -1 {number} {' '.join(map(str, random.integers(-(2**31), 2**31, 8)))}</internalNodes>"
        "<leafValues>-0.5 0.6</leafValues></_>"
        for number in range(9)
    )
    head = OWN[: OWN.index("<stageNum>")].replace("HAAR", "LBP").replace("<maxCatCount>0<", "<maxCatCount>256<")
    path = tmp_path / "lbp.xml"
    path.write_text(
        f"{head}<stageNum>1</stageNum><stages><_><maxWeakCount>9</maxWeakCount><stageThreshold>0.</stageThreshold><weakClassifiers>"
        f"{trees}</weakClassifiers></_></stages><features>{features}</features></cascade></opencv_storage>"
    )
    grey = cv2.cvtColor(demo.draw(150), cv2.COLOR_BGR2GRAY)
    plain, checked = cv2.CascadeClassifier(str(path)), open_checked(path)
    found = [sorted(map(tuple, cascade.detectMultiScale(grey, 1.5, 0))) for cascade in (plain, checked)]
    assert found[0] == found[1] != []
    CascadeDetector.trained(path).detect(demo.draw(150))
    for old, new in (("0 0 2 3", "0 0 9 3"), ("maxCatCount>256", "maxCatCount>255"), ("0 -1 0", "1 -1 0")):
        with pytest.raises(CascadeError):
            read_cascade(path.read_text().replace(old, new, 1).encode())


def node(text: str) -> str:
    """The bundled cascade with another first node."""
    return re.sub(r"<internalNodes>[^<]*", f"<internalNodes>{text}", OWN, count=1)


DAMAGED = {
    "no finite index": (node("0 -1 inf 0.08"), "whole number"),
    "a feature too high": (node("0 -1 99999 0.08"), "uses feature 99999"),
    "a feature below 0": (node("0 -1 -1 0.08"), "uses feature -1"),
    "a leaf too high": (node("0 -7 0 0.08"), "leads to -7"),
    "a node too high": (node("9 -1 0 0.08"), "leads to 9"),
    "a tree that leads back": (node("1 -1 0 0.08 1 -2 0 0.08"), "nodes and 2 leaves"),
    "no finite threshold": (node("0 -1 0 nan"), "finite number"),
    "an infinite threshold": (node("0 -1 0 1e999"), "finite number"),
    "half a node": (node("0 -1 0"), "a node takes 4"),
    "no node": (node(""), "a node takes 4"),
    "no finite leaf": (re.sub(r"<leafValues>\S+", "<leafValues>.Inf", OWN, count=1), "a leaf of stage 0"),
    "one leaf": (re.sub(r"<leafValues>\S+", "<leafValues>", OWN, count=1), "1 leaves"),
    "no finite stage": (re.sub(r"<stageThreshold>[^<]*", "<stageThreshold>nan", OWN, count=1), "threshold of stage 0"),
    "a huge window": (OWN.replace("<width>24", "<width>100000"), "<width>"),
    "no window": (OWN.replace("<height>24", "<height>0"), "<height>"),
    "a smaller window": (OWN.replace("<width>24", "<width>12"), "leaves the window"),
    "other features": (OWN.replace("HAAR", "HOG"), "HAAR and LBP"),
    "the wrong kind of features": (OWN.replace("HAAR", "LBP"), "maxCatCount is 0"),
    "codes": (OWN.replace("<maxCatCount>0", "<maxCatCount>99999"), "<maxCatCount>"),
    "no stages": (re.sub(r"<stages>.*</stages>", "<stages></stages>", OWN, flags=re.DOTALL), "it has 0 stages"),
    "no features": (re.sub(r"<features>.*</features>", "<features></features>", OWN, flags=re.DOTALL), "it has 0 features"),
    "stages twice": (OWN.replace("<stageNum>", "<stages></stages><stageNum>"), "holds 2 <stages>"),
    "a rectangle outside": (re.sub(r"<rects><_>\d+", "<rects><_>23", OWN, count=1), "leaves the window"),
    "a rectangle below 0": (re.sub(r"<rects><_>\d+", "<rects><_>-1", OWN, count=1), "a rectangle of feature 0"),
    "tilted": (OWN.replace("<tilted>0", "<tilted>7", 1), "<tilted>"),
    "text for a list": (re.sub(r"<stages>.*</stages>", "<stages>5</stages>", OWN, flags=re.DOTALL), "it has 0 stages"),
    "not closed": (OWN[:5000], "not XML"),
    "no cascade": ("<?xml version='1.0'?><opencv_storage><a>1</a></opencv_storage>", "neither"),
    "of another program": ("<?xml version='1.0'?><html></html>", "outermost"),
    "entities": ("<!DOCTYPE x [<!ENTITY a 'b'>]><opencv_storage>&a;</opencv_storage>", "document type"),
    "deep": ("<opencv_storage>" + "<_>" * 100_000, "inside one another"),
    "other text": ("cascade: 1", "not XML"),
    "an unknown encoding": ("<?xml version='1.0' encoding='no-such'?><a/>", "not XML"),
}


@pytest.mark.parametrize(("text", "clause"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_is_refused_in_a_sentence(tmp_path: Path, text: str, clause: str) -> None:
    path = tmp_path / "cascade.xml"
    path.write_text(text)
    with pytest.raises(ModelError, match=re.escape(clause)) as refusal:
        CascadeDetector.trained(path)
    assert "is not a usable cascade" in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.xml")
    for path in (tmp_path / "pipe.xml", Path("/dev/zero"), tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            CascadeDetector.trained(path)


def test_a_cascade_that_takes_everything_has_an_end() -> None:
    text = re.sub(r"(<stageThreshold>)[^<]*", r"\g<1>-1e6", OWN)
    cascade = cv2.CascadeClassifier()
    storage = cv2.FileStorage(read_cascade(text.encode()), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    assert cascade.read(storage.getFirstTopLevelNode())
    detector = CascadeDetector.default()
    detector._cascade = cascade
    assert 0 < len(detector.detect(demo.draw(150))) <= 80
