"""Turned and covered faces, with the landmarks of a head of simple shape."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra train")

from maskedge.boxes import box_iou
from maskedge.errors import UsageError
from maskedge.labelled_boxes import is_held_out_name, read_boxes
from maskedge_train.shared.lock import lock_folder
from maskedge_train.synthesis import landmarks
from maskedge_train.synthesis.covered_faces import COVERS, cover_face
from maskedge_train.synthesis.landmarks import COUNT, OVAL, Points, head_pose, read_landmarks
from maskedge_train.synthesis.turned_faces import turn_face, turned_box

SIZE = 320
BOX = (110.0, 90.0, 210.0, 230.0)
NOSE = 1


def head(box: tuple[float, float, float, float] = BOX) -> Points:
    """Landmarks of half an ellipsoid that fills a box; the farthest to the front is that of the nose."""
    x1, y1, x2, y2 = box
    points = np.zeros((COUNT, 3))
    inside = [number for number in range(COUNT) if number not in OVAL]
    # A sunflower's pattern spreads points evenly.
    share = (np.arange(len(inside)) + 0.5) / len(inside)
    turn = np.arange(len(inside)) * 2.399963
    points[inside, :2] = (0.95 * np.sqrt(share) * np.array([np.cos(turn), np.sin(turn)])).T
    around = -np.pi / 2 + 2 * np.pi * np.arange(len(OVAL)) / len(OVAL)
    points[list(OVAL), :2] = np.column_stack([np.cos(around), np.sin(around)])
    known = {landmarks.LEFT_EYE: -0.4, landmarks.RIGHT_EYE: 0.4}
    for (outer, inner), x in known.items():
        points[[outer, inner], :2] = [[1.4 * x, -0.25], [0.6 * x, -0.25]]
    points[list(landmarks.BROWS), :2] = [[-0.4, -0.4], [0.4, -0.4]]
    points[NOSE, :2] = [0.01, 0.02]
    points[:, 2] = -0.8 * np.sqrt(np.maximum(0, 1 - (points[:, :2] ** 2).sum(1)))
    scale = np.array([(x2 - x1) / 2, (y2 - y1) / 2, (x2 - x1) / 2])
    return np.asarray(points * scale + [(x1 + x2) / 2, (y1 + y2) / 2, 0])


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    random = np.random.default_rng(3)
    noise = random.uniform(40, 220, (20, 20, 3)).astype(np.float32)
    return np.asarray(cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).clip(0, 255), np.uint8)


def test_a_face_that_is_not_turned_stays(image: np.ndarray) -> None:
    same, after = turn_face(image, head(), 0, 0)
    assert np.abs(same.astype(int) - image).max() <= 2
    assert np.allclose(after, head())
    assert turned_box(BOX, head(), after) == pytest.approx(BOX, abs=0.1)


@pytest.mark.parametrize(("yaw", "pitch"), [(40, 0), (-40, 0), (0, 25), (0, -25), (30, 15)])
def test_a_turned_face_looks_there_and_its_surroundings_stay(image: np.ndarray, yaw: float, pitch: float) -> None:
    before = image.copy()
    turned, after = turn_face(image, head(), yaw, pitch)
    assert (image == before).all()
    moved = after[NOSE] - head()[NOSE]
    assert np.sign(np.round(moved[:2], -1)).tolist() == [np.sign(yaw), np.sign(pitch)]
    assert head_pose(after) == pytest.approx((yaw, pitch), abs=6)
    changed = np.nonzero((turned != image).any(2))
    assert len(changed[0]) > 2000
    assert np.abs(turned.astype(int) - image)[:, [*range(40), *range(280, 320)]].max() <= 2
    x1, y1, x2, y2 = turned_box(BOX, head(), after)
    low, high = after[:, :2].min(0), after[:, :2].max(0)
    assert [x1, y1, x2, y2] == pytest.approx([*low, *high], abs=1)


def test_a_face_at_the_rim_can_be_turned(image: np.ndarray) -> None:
    box = (-30.0, -20.0, 70.0, 120.0)
    turned, _ = turn_face(image, head(box), -50, 20)
    assert turned.shape == image.shape
    assert cover_face(image, head(box), "visor", np.random.default_rng(0)).shape == image.shape


@pytest.mark.parametrize("kind", COVERS)
def test_covers_are_painted_on_the_face_alone(image: np.ndarray, kind: str) -> None:
    covered = cover_face(image, head(), kind, np.random.default_rng(5))
    assert (covered == cover_face(image, head(), kind, np.random.default_rng(5))).all()
    changed = (covered != image).any(2)
    assert changed[80:240, 100:220].sum() > 150
    assert np.abs(covered.astype(int) - image)[:, :10].max() <= 3


def test_the_shares_of_covers_add_up() -> None:
    assert sum(share for share, _ in COVERS.values()) == pytest.approx(1)


def write_landmarks(path: Path, names: list[str], boxes: list[tuple[float, float, float, float]]) -> Path:
    np.savez(
        path,
        images=np.array(names),
        boxes=np.array(boxes, np.float32),
        points=np.array([head(box) for box in boxes], np.float32),
    )
    return path


def test_landmarks_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "shape.npz", images=np.array(["a"]), boxes=np.zeros((1, 4)), points=np.zeros((1, 5, 3)))
    np.savez(tmp_path / "objects.npz", images=np.array([None]), boxes=np.zeros((1, 4)), points=np.zeros((1, COUNT, 3)))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "empty.npz").touch()
    for name in ("text.npz", "other.npz", "shape.npz", "objects.npz", "empty.npz", "array.npy", "missing.npz"):
        with pytest.raises(UsageError, match=r"landmarks"):
            read_landmarks(tmp_path / name)


def test_a_set_of_pictures_is_made(invoke, image: np.ndarray, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    names = [f"train/picture_{number}.png" for number in range(24)]
    close = (180.0, 100.0, 240.0, 190.0)
    (tmp_path / "train").mkdir()
    rows = []
    for name in names:
        cv2.imwrite(str(tmp_path / name), image)
        rows.append([name, *BOX, "with_mask"])
    rows += [[names[0], *close, "without_mask"], [names[1], 10, 10, 30, 30, "unlabelled"]]
    with (tmp_path / "scenes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", "xmin", "ymin", "xmax", "ymax", "label"], *rows])
    known = write_landmarks(tmp_path / "known.npz", names, [BOX] * len(names))
    out = tmp_path / "out"
    order = ("edge-train", "synthesise", known, "--scenes", f"{tmp_path / 'scenes.csv'}=forehead", "--out", out)
    done = invoke(*order)
    assert done.returncode == 0, done.stderr
    used = [name for name in names[1:] if not is_held_out_name(f"scenes/{name}")]
    assert 12 < len(used) < 23  # not the first: its faces are too close to each other
    assert f"Wrote {2 * len(used)} pictures with turned faces and {len(used)} with covered faces" in done.stdout
    boxes = read_boxes(out / "boxes.csv")
    assert len(boxes) == 3 * len(used)
    assert not any(is_held_out_name(f"scenes/{name}") for name in boxes)
    assert all((out / name).is_file() for name in boxes)
    assert {face.label for faces in boxes.values() for face in faces} == {"with_mask", "unlabelled"}
    assert all(box_iou(faces[0].box, BOX) > 0.3 for faces in boxes.values())
    again = invoke(*order)
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)
    before = (out / "boxes.csv").read_bytes()
    assert invoke(*order, "--overwrite").returncode == 0
    assert (out / "boxes.csv").read_bytes() == before
    lost = invoke(*order[:3], "--scenes", out / "boxes.csv", "--out", out, "--overwrite")
    assert (lost.returncode, "is a file of --scenes, which would be overwritten" in lost.stderr) == (2, True)
    with lock_folder(out):
        locked = invoke(*order, "--overwrite")
    assert (locked.returncode, "another training writes to" in locked.stderr) == (2, True)
    (out / "made" / "mine.jpg").write_text("a picture of the user")
    foreign = invoke(*order, "--overwrite")
    assert (foreign.returncode, "made has mine.jpg, which edge-train did not make" in foreign.stderr) == (2, True)
    (out / "made" / "mine.jpg").unlink()
    (out / "copy.csv").write_bytes(before)
    inside = invoke(*order[:3], "--scenes", out / "copy.csv", "--out", out, "--overwrite")
    assert (inside.returncode, "give another --out" in inside.stderr) == (2, True)
    far = write_landmarks(tmp_path / "far.npz", names, [(10.0, 10.0, 60.0, 80.0)] * len(names))
    done = invoke("edge-train", "synthesise", far, *order[3:5], "--out", out, "--overwrite")
    assert (out / "boxes.csv").read_bytes() == before
    assert len(list((out / "made").iterdir())) == 3 * len(used)
    assert (done.returncode, "no face of the scenes has landmarks" in done.stderr) == (2, True)
    done = invoke("edge-train", "synthesise", known, "--out", tmp_path / "other")
    assert (done.returncode, "--scenes" in done.stderr) == (2, True)
