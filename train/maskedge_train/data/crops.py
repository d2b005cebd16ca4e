"""The crops that a classifier learns from: cut by the device's own rule, with what is no face and what is painted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import OutputError
from maskedge.modelfile.contract import MODELS, read_catalogue
from maskedge.modelfile.crop import CropRule, crop_faces
from maskedge.support.pictures import read_picture
from maskedge.types import NOT_A_FACE, Box, Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.cascade import CASCADE_SIDE
from maskedge.vision.detectors.network import CNN_SIDE
from maskedge_train.classifier.nets import INPUT_SIZE

from . import generated
from .dataset import CROP, DataSet, Picture
from .negatives import beyond_doubt, face_pieces, false_alarms, found_faces, keen_detectors, random_of, random_windows
from .paint import THINGS, paint
from .split import PARTS, only_measures

CONTEXT = 1.6
"""Side of a stored patch, in units of the side of the device's crop: room to shift, turn and zoom."""
PATCH = 104
"""Side of a stored patch in pixels: CONTEXT times the input's 64, and a little."""
_PATCH_RULE = CropRule((CONTEXT * (1 + 2 * CROP.margin) - 1) / 2, CROP.square)
FOUND_FACE = "face as found"
REAL = ("face", FOUND_FACE, "false alarm", "piece of a face", "window", "shuffled")
"""Origins of crops that are as a camera gave them; the others were painted."""
_ALARMS = {False: 8, True: 3}
"""False alarms of a detector taken from one picture at most: of a scene or background, of a picture of `faces` (there are more)."""
_FOUND = {False: 2, True: 1}
"""Crops of a face as detectors box it, at most: the same."""
_SHUFFLED = 0.5
"""Share of the pictures of `faces` whose shuffled parts are searched for what detectors take for a face."""
_VERSION = 5
"""Part of the cache's key: raise it when what is cut or painted changes."""


@dataclass(frozen=True)
class Crops:
    """N crops.

    Attributes:
        patches: uint8 `[N, 104, 104, 3]`, BGR: the crop and what surrounds it. For training.
        exact: uint8 `[N, 64, 64, 3]`, BGR: what the device would cut. For measuring.
        labels: Label of each crop.
        parts: int64 `[N]`, indices into `split.PARTS`.
        sources: Source of each crop's picture.
        places: float32 `[N, 4]`, where in the exact crop the labelled face is: x1, y1, x2, y2 in units of its side. NaN where there
            is no face, or where its box was not drawn by a person.
        origins: What each crop is: `face`, `face as found` (boxed by a detector; for training), `false alarm`, `piece of a face`,
            `window`, `shuffled` (a false alarm in a picture whose parts changed places), or a name in `paint.THINGS`.
        names: Name of each crop's picture.
    """

    patches: Image
    exact: Image
    places: npt.NDArray[np.float32]
    labels: npt.NDArray[np.str_]
    parts: npt.NDArray[np.int64]
    sources: npt.NDArray[np.str_]
    origins: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]

    def where(self, part: str, source: str | None = None) -> npt.NDArray[np.int64]:
        """Give the rows of a part (and of one source), int64 `[M]`."""
        chosen = self.parts == PARTS.index(part)
        if source:
            chosen &= self.sources == source
        return np.flatnonzero(chosen)

    def take(self, rows: npt.NDArray[np.int64]) -> Crops:
        """Give some of the crops."""
        return Crops(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def having(self, labels: tuple[str, ...]) -> Crops:
        """Give the crops of some labels."""
        chosen = np.flatnonzero(np.isin(self.labels, labels))
        return self if len(chosen) == len(self.labels) else self.take(chosen)

    def without(self, label: str, names: re.Pattern[str]) -> Crops:
        """Give the crops but those of a label from pictures whose file name matches: labels that are known to be noisy there."""
        distrusted = [
            own == label and bool(names.search(PurePosixPath(name).name)) for own, name in zip(self.labels, self.names, strict=True)
        ]
        return self.take(np.flatnonzero(~np.array(distrusted, bool)))

    def relabelled(self, labels: Mapping[str, str]) -> Crops:
        """Give the crops with the labels of some pictures (by `names`) put right; what was painted on those is left out."""
        spoilt = np.isin(self.names, list(labels)) & ~np.isin(self.origins, REAL)
        crops = self.take(np.flatnonzero(~spoilt)) if spoilt.any() else self
        right = [labels.get(name, label) for name, label in zip(crops.names.tolist(), crops.labels.tolist(), strict=True)]
        return replace(crops, labels=np.array(right))

    def targets(self, labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Give the labels as indices into `labels`, int64 `[N]`."""
        return np.array([labels.index(label) for label in self.labels.tolist()], np.int64)


@dataclass(frozen=True)
class _Cut:
    box: Box
    label: str
    origin: str
    face: Box | None = None

    def place(self) -> tuple[float, ...]:
        """Where in the crop the labelled face is."""
        if self.face is None:
            return (np.nan,) * 4
        x1, y1, x2, y2 = CROP.region(self.box)
        left, top, right, bottom = self.face
        return (left - x1) / (x2 - x1), (top - y1) / (y2 - y1), (right - x1) / (x2 - x1), (bottom - y1) / (y2 - y1)


def cut_crops(
    dataset: DataSet,
    parts: npt.NDArray[np.int64],
    *,
    negatives: bool,
    painted: bool,
    beside: bool = False,
    drawn: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Crops:
    """Cut every labelled face, and add what is no face and what is painted.

    Args:
        dataset: The pictures.
        parts: int64 `[N]`, each picture's part (`Split.part_of`).
        negatives: Add `not_a_face`: detectors' false alarms, pieces of faces, windows; from scenes and backgrounds.
        beside: With `negatives`, take them from the pictures of `faces` too: beside their faces, and of their shuffled parts.
        painted: Add masks and other things painted on the unmasked faces of the training part.
        drawn: With `negatives`, take them from so many backgrounds that are drawn here, too, and from the built-in clip
            (`generated`). Their source is `generated`; a tenth of them is of the part `val`, the others of `train`.
        progress: Called after each picture.
    """
    # Where no box was drawn by a person, those that `localise` found are what there is to learn the place of a face from.
    by_hand = any(picture.source == "scenes" for picture in dataset.pictures)

    def work(item: tuple[Picture | str, int]) -> _Result:
        picture, part = item
        learns = PARTS[part] == "train"
        if isinstance(picture, str):
            result = _cut_drawn(picture)
        else:
            own = negatives and (beside or picture.source != "faces")
            result = _cut(picture, painted=painted and learns, negatives=own, learns=learns, by_hand=by_hand)
        progress()
        return result

    names = generated.names(drawn) if negatives else []
    pictures: list[Picture | str] = [*dataset.pictures, *names]
    drawn_parts = [PARTS.index("val" if only_measures(name) else "train") for name in names]
    parts = np.concatenate([parts, np.array(drawn_parts, np.int64)])

    # Cascades share the cores among pictures, not inside one.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(work, zip(pictures, parts.tolist(), strict=True)))
    finally:
        cv2.setNumThreads(threads)
    rows = [(index, cut) for index, (_, _, cuts) in enumerate(results) for cut in cuts]
    return Crops(
        np.concatenate([result[0] for result in results]),
        np.concatenate([result[1] for result in results]),
        np.array([cut.place() for _, cut in rows], np.float32).reshape(-1, 4),
        np.array([cut.label for _, cut in rows]),
        np.array([parts[index] for index, _ in rows], np.int64),
        np.array([_source_and_name(pictures[index])[0] for index, _ in rows]),
        np.array([cut.origin for _, cut in rows]),
        np.array([_source_and_name(pictures[index])[1] for index, _ in rows]),
    )


def _source_and_name(picture: Picture | str) -> tuple[str, str]:
    return ("generated", picture) if isinstance(picture, str) else (picture.source, picture.name)


_own = threading.local()


def _answers(image: Image) -> list[list[Box]]:
    """Let the detectors look at a picture. OpenCV's cascades serve one thread each."""
    if not hasattr(_own, "detectors"):
        _own.detectors = keen_detectors()
    return [list(detector.detect(image).boxes) for detector in _own.detectors]


def _no_faces(image: Image, cuts: list[_Cut]) -> list[_Cut]:
    """Leave out what the bundled classifier takes for a face, though nobody labelled it: in a picture of `faces` only one is."""
    if not hasattr(_own, "classifier"):
        _own.classifier = MaskClassifier()
    kept = beyond_doubt(_own.classifier, image, [cut.box for cut in cuts])
    return [cut for cut, keep in zip(cuts, kept, strict=True) if keep]


_Result: TypeAlias = tuple[Image, Image, list[_Cut]]
"""Patches, exact crops, and what they are."""


def _cut(picture: Picture, *, painted: bool, negatives: bool, learns: bool, by_hand: bool) -> _Result:
    image = read_picture(picture.path)
    random = random_of(picture.name, 0)
    of_folder = picture.source == "faces"
    # What `localise` boxed is where a face is, but not quite how large: a box that a person drew is better where there are some.
    placed = not of_folder or (picture.located and not by_hand)
    cuts = [_Cut(face.box, face.label, "face", face.box if placed else None) for face in picture.faces]
    shuffled: _Result | None = None
    if negatives:
        # Where the face of a picture of `faces` is may not be known.
        faces = [face.box for face in picture.faces] if not of_folder or picture.located else []
        known = [*faces, *picture.unlabelled]
        answers = _answers(image)
        alarms = [_Cut(box, NOT_A_FACE, "false alarm") for box in false_alarms(answers, known, _ALARMS[of_folder], random)]
        alarms += [_Cut(box, NOT_A_FACE, "piece of a face") for box in face_pieces(faces, 3, random)]
        alarms += [_Cut(box, NOT_A_FACE, "window") for box in random_windows(picture.size, known, 2, random)]
        cuts += _no_faces(image, alarms) if of_folder else alarms
        if learns and faces:
            owned = [(box, picture.faces[index]) for box, index in found_faces(answers, faces, _FOUND[of_folder], random)]
            cuts += [_Cut(box, face.label, FOUND_FACE, face.box if placed else None) for box, face in owned]
        if of_folder and random.random() < _SHUFFLED:
            shuffled = _cut_shuffled(image, random)
    patches, exact = _crops(image, cuts)
    if painted:
        for index, face in enumerate(picture.faces):
            if face.label != "without_mask":
                continue
            for thing in _draw_things(random):
                patch = paint(patches[index], _face_size(face.box), thing, random)
                patches.append(patch)
                edge = (PATCH - round(PATCH / CONTEXT)) // 2
                exact.append(np.asarray(cv2.resize(patch[edge:-edge, edge:-edge], (INPUT_SIZE, INPUT_SIZE)), np.uint8))
                cuts.append(_Cut(face.box, THINGS[thing][0], thing, face.box if placed else None))
    if shuffled is not None:
        patches, exact, cuts = [*patches, *shuffled[0]], [*exact, *shuffled[1]], [*cuts, *shuffled[2]]
    return _stacked(patches, exact, cuts)


def _crops(image: Image, cuts: list[_Cut]) -> tuple[list[Image], list[Image]]:
    boxes = [cut.box for cut in cuts]
    return [*crop_faces(image, boxes, _PATCH_RULE, PATCH)], [*crop_faces(image, boxes, CROP, INPUT_SIZE)]


def _stacked(patches: list[Image], exact: list[Image], cuts: list[_Cut]) -> _Result:
    if not cuts:
        empty = np.empty((0, 0, 0, 3), np.uint8)
        return empty.reshape(0, PATCH, PATCH, 3), empty.reshape(0, INPUT_SIZE, INPUT_SIZE, 3), cuts
    return np.stack(patches), np.stack(exact), cuts


def _cut_shuffled(image: Image, random: np.random.Generator) -> _Result:
    """Cut what detectors take for a face where the parts of a picture have changed places."""
    mixed = generated.shuffled(image, random)
    boxes = false_alarms(_answers(mixed), [], _ALARMS[True], random)
    cuts = _no_faces(mixed, [_Cut(box, NOT_A_FACE, "shuffled") for box in boxes])
    return _stacked(*_crops(mixed, cuts), cuts)


def _cut_drawn(name: str) -> _Result:
    """Cut what is no face of a picture that is drawn here."""
    picture = generated.draw(name)
    random = random_of(name, 0)
    cuts = [_Cut(box, NOT_A_FACE, "false alarm") for box in false_alarms(_answers(picture.image), picture.faces, 8, random)]
    cuts += [_Cut(box, NOT_A_FACE, "piece of a face") for box in face_pieces(picture.faces, 6, random)]
    height, width = picture.image.shape[:2]
    cuts += [_Cut(box, NOT_A_FACE, "window") for box in random_windows((width, height), picture.faces, 3, random)]
    cuts = _no_faces(picture.image, cuts)
    return _stacked(*_crops(picture.image, cuts), cuts)


def _face_size(box: Box) -> tuple[float, float]:
    """Width and height of a face box in pixels of its patch."""
    width, height = box[2] - box[0], box[3] - box[1]
    scale = PATCH / (1 + 2 * _PATCH_RULE.margin) / max(width, height)
    return width * scale, height * scale


def _draw_things(random: np.random.Generator) -> list[str]:
    """Draw what one unmasked face is painted with: now and then a mask, one badly worn, one thing that is none."""
    things = ["mask"] if random.random() < 0.5 else []
    things.append("mask under the nose" if random.random() < 0.6 else "mask on the chin")
    if random.random() < 0.6:
        things.append(str(random.choice(["hand", "hand", "scarf", "cup", "phone"])))
    return things


def cached_crops(
    cache: Path | None,
    dataset: DataSet,
    split_digest: str,
    parts: npt.NDArray[np.int64],
    *,
    negatives: bool,
    painted: bool,
    beside: bool = False,
    drawn: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Crops:
    """Cut the crops, or read them from `cache`, where an earlier run with the same data and split left them.

    Raises:
        OutputError: The cache cannot be written.
    """
    # With other detectors, or where they look at another size, the crops are others too.
    detectors = [read_catalogue(MODELS).get(name, {}).get("sha256") for name in ("haar.xml", "edgeface.onnx", "edgenet.onnx")]
    detectors += [CASCADE_SIDE, CNN_SIDE]
    chosen = [negatives, painted, beside, generated.digest(drawn)]
    key = json.dumps([_VERSION, detectors, dataset.digest, split_digest, *chosen, PATCH, CROP.to_json()])
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16] if cache else None
    fields = list(Crops.__dataclass_fields__)
    if folder and folder.is_dir():
        try:
            return Crops(*(np.load(folder / f"{name}.npy", allow_pickle=False) for name in fields))
        except (OSError, ValueError, EOFError):
            shutil.rmtree(folder, ignore_errors=True)  # and cut again
    crops = cut_crops(dataset, parts, negatives=negatives, painted=painted, beside=beside, drawn=drawn, progress=progress)
    if folder:
        # Beside it first: several processes of one training may come here at once.
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
            for name in fields:
                np.save(unfinished / f"{name}.npy", getattr(crops, name), allow_pickle=False)
            with contextlib.suppress(OSError):
                unfinished.rename(folder)
        except OSError as error:
            raise OutputError(
                f"the crops cannot be kept in {cache} ({error.strerror}): free some space, or name another folder with --cache."
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return crops
