"""Crops for training and evaluation, cut by the device's rule, with negatives and occlusions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import OutputError
from maskedge.labelled_boxes import is_held_out_name
from maskedge.modelfile.contract import MODELS, default_model, read_catalogue
from maskedge.modelfile.crop import CropRule, crop_faces
from maskedge.support.pictures import read_picture
from maskedge.types import NOT_A_FACE, Box, Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.cascade import CASCADE_SIDE
from maskedge.vision.detectors.network import CNN_SIDE
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE

from . import generated
from .dataset import DataSet, Picture
from .negatives import (
    clearly_no_face,
    detected_faces,
    face_pieces,
    false_positives,
    random_for,
    random_windows,
    sensitive_detectors,
)
from .occlusions import OCCLUSIONS, paint_occlusion
from .split import PARTS

CONTEXT = 1.6
"""Side of a stored patch in units of the device's crop: room for shift, rotation and zoom."""
PATCH = 104
"""Side of a stored patch in pixels: CONTEXT times the input's 64, rounded up."""
_PATCH_RULE = CropRule((CONTEXT * (1 + 2 * CROP.margin) - 1) / 2, CROP.square)
DETECTED_FACE = "face as found"
REAL = ("face", DETECTED_FACE, "false alarm", "piece of a face", "window", "shuffled")
"""Origins of crops taken from the pictures as they are; all other crops are painted."""
_MAX_FALSE_POSITIVES = {False: 10, True: 3}
"""Maximum number of false positives per detector and picture.

The key is False for scenes and backgrounds, and True for pictures of `faces`, which are more
numerous.
"""
_MAX_DETECTED = {False: 3, True: 1}
"""Maximum number of crops of a face boxed by detectors. Keys as in `_MAX_FALSE_POSITIVES`."""
_SHUFFLED = 0.5
"""Share of the `faces` pictures whose shuffled parts are searched for false positives."""
UNUSED = -1
"""Part of crops that no part of the split uses."""
_VERSION = 7
"""Version of cutting and painting, part of the cache key. Increment it with each change."""


@dataclass(frozen=True)
class Crops:
    """N labelled crops.

    Attributes:
        patches: uint8 `[N, 104, 104, 3]`, BGR: the crop and its surroundings, for training.
        exact: uint8 `[N, 64, 64, 3]`, BGR: the crop as the device cuts it, for measuring.
        places: float32 `[N, 4]`, the labelled face in the exact crop: x1, y1, x2, y2 in units of
            its side. NaN without a face, or without a box drawn by a person.
        labels: Label of each crop.
        parts: int64 `[N]`, indices into `split.PARTS`; `UNUSED` for crops of no part.
        sources: Source of each crop's picture.
        origins: Origin of each crop: `face`, `face as found` (boxed by a detector; for training),
            `false alarm`, `piece of a face`, `window`, `shuffled` (a false positive in a picture
            with shuffled parts), or a name in `occlusions.OCCLUSIONS`.
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
        """Return the rows of a part, and of one source if given: int64 `[M]`."""
        chosen = self.parts == PARTS.index(part)
        if source:
            chosen &= self.sources == source
        return np.flatnonzero(chosen)

    def take(self, rows: npt.NDArray[np.int64]) -> Crops:
        """Return the crops of some rows."""
        return Crops(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def with_labels(self, labels: tuple[str, ...]) -> Crops:
        """Return the crops with one of `labels`."""
        chosen = np.flatnonzero(np.isin(self.labels, labels))
        return self if len(chosen) == len(self.labels) else self.take(chosen)

    def without(self, label: str, names: re.Pattern[str]) -> Crops:
        """Return the crops, of which no part uses those of `label` from pictures whose file name matches.

        Use it for labels that are known to be noisy there.
        """
        distrusted = [
            own == label and bool(names.search(PurePosixPath(name).name)) for own, name in zip(self.labels, self.names, strict=True)
        ]
        return self._unused(np.array(distrusted, bool))

    def relabelled(self, labels: Mapping[str, str], known: Collection[str]) -> Crops:
        """Return the crops with corrected labels of the faces of some pictures, by `names`.

        No part uses the occlusions that are painted on these faces, nor faces whose corrected label
        is not `known`.
        """
        faces = self.labels != NOT_A_FACE  # windows beside a face stay what they are
        unknown = [name for name, label in labels.items() if label not in known]
        spoilt = faces & (np.isin(self.names, list(labels)) & ~np.isin(self.origins, REAL) | np.isin(self.names, unknown))
        corrected = [labels.get(name, label) for name, label in zip(self.names.tolist(), self.labels.tolist(), strict=True)]
        return replace(self._unused(spoilt), labels=np.where(faces & ~spoilt, corrected, self.labels))

    def _unused(self, rows: npt.NDArray[np.bool_]) -> Crops:
        """Return the crops, some of them in no part. The images, which may be gigabytes, are not copied."""
        return replace(self, parts=np.where(rows, UNUSED, self.parts))

    def targets(self, labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Return the labels as indices into `labels`, int64 `[N]`."""
        return np.array([labels.index(label) for label in self.labels.tolist()], np.int64)


@dataclass(frozen=True)
class _Cut:
    box: Box
    label: str
    origin: str
    face: Box | None = None

    def place(self) -> tuple[float, ...]:
        """Return the labelled face's box in units of the crop's side."""
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
    negatives_from_faces: bool = False,
    generated_backgrounds: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Crops:
    """Cut every labelled face, and add negatives and occlusions.

    Args:
        dataset: The pictures.
        parts: int64 `[N]`, part of each picture (`Split.part_of`).
        negatives: Add `not_a_face` crops from scenes and backgrounds: false positives of detectors,
            parts of faces, windows.
        painted: Add masks and other occlusions painted on unmasked faces of the training part.
        negatives_from_faces: With `negatives`, also take them from `faces` pictures: beside the
            faces, and from shuffled parts.
        generated_backgrounds: With `negatives`, also take them from this number of generated
            backgrounds and from the built-in clip (`generated`). Their source is `generated`; a
            tenth is in the part `val`, the rest in `train`.
        progress: Called after each picture.
    """
    # Without any box drawn by a person, the boxes from `localise` are the only source of face
    # positions.
    by_hand = any(picture.source == "scenes" for picture in dataset.pictures)

    def work(item: tuple[Picture | str, int]) -> _Result:
        picture, part = item
        learns = PARTS[part] == "train"
        if isinstance(picture, str):
            result = _cut_generated(picture)
        else:
            own = negatives and (negatives_from_faces or picture.source != "faces")
            result = _cut(picture, painted=painted and learns, negatives=own, learns=learns, by_hand=by_hand)
        progress()
        return result

    names = generated.picture_names(generated_backgrounds) if negatives else []
    pictures: list[Picture | str] = [*dataset.pictures, *names]
    generated_parts = [PARTS.index("val" if is_held_out_name(name) else "train") for name in names]
    parts = np.concatenate([parts, np.array(generated_parts, np.int64)])

    # Use the cores for several pictures at once, not inside a cascade.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(work, zip(pictures, parts.tolist(), strict=True)))
    finally:
        cv2.setNumThreads(threads)
    rows = [(index, cut) for index, (_, _, cuts) in enumerate(results) for cut in cuts]
    patches, exact = [own for own, _, _ in results], [own for _, own, _ in results]
    results.clear()
    return Crops(
        _join(patches),
        _join(exact),
        np.array([cut.place() for _, cut in rows], np.float32).reshape(-1, 4),
        np.array([cut.label for _, cut in rows]),
        np.array([parts[index] for index, _ in rows], np.int64),
        np.array([_source_and_name(pictures[index])[0] for index, _ in rows]),
        np.array([cut.origin for _, cut in rows]),
        np.array([_source_and_name(pictures[index])[1] for index, _ in rows]),
    )


def _join(parts: list[Image]) -> Image:
    """Concatenate arrays, and empty the list on the way: all crops twice would not fit into the memory of many machines."""
    joined = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    end = len(joined)
    while parts:
        part = parts.pop()
        joined[end - len(part) : end] = part
        end -= len(part)
    return joined


def _source_and_name(picture: Picture | str) -> tuple[str, str]:
    return ("generated", picture) if isinstance(picture, str) else (picture.source, picture.name)


_thread = threading.local()


def _detect_all(image: Image) -> list[list[Box]]:
    """Run all detectors on a picture. OpenCV's cascades need one instance per thread."""
    if not hasattr(_thread, "detectors"):
        _thread.detectors = sensitive_detectors()
    return [list(detector.detect(image).boxes) for detector in _thread.detectors]


def _drop_likely_faces(image: Image, cuts: list[_Cut]) -> list[_Cut]:
    """Drop negatives that the bundled classifier classifies as a face.

    In a `faces` picture only one face is labelled, so other faces may be unlabelled.
    """
    if not hasattr(_thread, "classifier"):
        _thread.classifier = MaskClassifier(default_model())
    kept = clearly_no_face(_thread.classifier, image, [cut.box for cut in cuts])
    return [cut for cut, keep in zip(cuts, kept, strict=True) if keep]


_Result: TypeAlias = tuple[Image, Image, list[_Cut]]
"""Patches, exact crops, and their descriptions."""


def _cut(picture: Picture, *, painted: bool, negatives: bool, learns: bool, by_hand: bool) -> _Result:
    image = read_picture(picture.path)
    random = random_for(picture.name, 0)
    of_folder = picture.source == "faces"
    # `localise` finds the position but not the exact size; boxes drawn by a person are preferred.
    placed = not of_folder or (picture.located and not by_hand)
    cuts = [_Cut(face.box, face.label, "face", face.box if placed else None) for face in picture.faces]
    shuffled: _Result | None = None
    if negatives:
        # The face's position in a `faces` picture may be unknown.
        faces = [face.box for face in picture.faces] if not of_folder or picture.located else []
        known = [*faces, *picture.unlabelled]
        answers = _detect_all(image)
        candidates = [
            _Cut(box, NOT_A_FACE, "false alarm") for box in false_positives(answers, known, _MAX_FALSE_POSITIVES[of_folder], random)
        ]
        candidates += [_Cut(box, NOT_A_FACE, "piece of a face") for box in face_pieces(faces, 3, random)]
        candidates += [_Cut(box, NOT_A_FACE, "window") for box in random_windows(picture.size, known, 2, random)]
        cuts += _drop_likely_faces(image, candidates) if of_folder else candidates
        if learns and faces:
            owned = [(box, picture.faces[index]) for box, index in detected_faces(answers, faces, _MAX_DETECTED[of_folder], random)]
            cuts += [_Cut(box, face.label, DETECTED_FACE, face.box if placed else None) for box, face in owned]
        if of_folder and random.random() < _SHUFFLED:
            shuffled = _cut_shuffled(image, random)
    patches, exact = _crops(image, cuts)
    if painted:
        for index, face in enumerate(picture.faces):
            if face.label != "without_mask":
                continue
            for occlusion in _draw_occlusions(random):
                patch = paint_occlusion(patches[index], _face_size(face.box), occlusion, random)
                patches.append(patch)
                edge = (PATCH - round(PATCH / CONTEXT)) // 2
                exact.append(np.asarray(cv2.resize(patch[edge:-edge, edge:-edge], (INPUT_SIZE, INPUT_SIZE)), np.uint8))
                cuts.append(_Cut(face.box, OCCLUSIONS[occlusion][0], occlusion, face.box if placed else None))
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
    """Cut the false positives of detectors in a picture with shuffled parts."""
    mixed = generated.shuffle_parts(image, random)
    boxes = false_positives(_detect_all(mixed), [], _MAX_FALSE_POSITIVES[True], random)
    cuts = _drop_likely_faces(mixed, [_Cut(box, NOT_A_FACE, "shuffled") for box in boxes])
    return _stacked(*_crops(mixed, cuts), cuts)


def _cut_generated(name: str) -> _Result:
    """Cut negatives from a generated picture."""
    picture = generated.draw(name)
    random = random_for(name, 0)
    cuts = [_Cut(box, NOT_A_FACE, "false alarm") for box in false_positives(_detect_all(picture.image), picture.faces, 8, random)]
    cuts += [_Cut(box, NOT_A_FACE, "piece of a face") for box in face_pieces(picture.faces, 6, random)]
    height, width = picture.image.shape[:2]
    cuts += [_Cut(box, NOT_A_FACE, "window") for box in random_windows((width, height), picture.faces, 3, random)]
    cuts = _drop_likely_faces(picture.image, cuts)
    return _stacked(*_crops(picture.image, cuts), cuts)


def _face_size(box: Box) -> tuple[float, float]:
    """Return width and height of a face box in pixels of its patch."""
    width, height = box[2] - box[0], box[3] - box[1]
    scale = PATCH / (1 + 2 * _PATCH_RULE.margin) / max(width, height)
    return width * scale, height * scale


def _draw_occlusions(random: np.random.Generator) -> list[str]:
    """Draw the occlusions to paint on one unmasked face: masks, incorrect masks, other objects."""
    occlusions = ["mask"] if random.random() < 0.5 else []
    occlusions.append("mask under the nose" if random.random() < 0.6 else "mask on the chin")
    if random.random() < 0.6:
        occlusions.append(str(random.choice(["hand", "hand", "scarf", "cup", "phone"])))
    return occlusions


def cached_crops(
    cache: Path | None,
    dataset: DataSet,
    split_digest: str,
    parts: npt.NDArray[np.int64],
    *,
    negatives: bool,
    painted: bool,
    negatives_from_faces: bool = False,
    generated_backgrounds: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Crops:
    """Cut crops, or read them from the cache of an earlier run with the same data and split.

    Args:
        cache: Cache folder; None disables the cache.
        dataset: See `cut_crops`.
        split_digest: Digest of the split, part of the cache key.
        parts: See `cut_crops`.
        negatives: See `cut_crops`.
        painted: See `cut_crops`.
        negatives_from_faces: See `cut_crops`.
        generated_backgrounds: See `cut_crops`.
        progress: See `cut_crops`.

    Raises:
        OutputError: The cache cannot be written.
    """
    # Other detectors, or another detection size, give different crops.
    detectors = [read_catalogue(MODELS).get(name, {}).get("sha256") for name in ("haar.xml", "edgeface.onnx", "edgenet.onnx")]
    detectors += [CASCADE_SIDE, CNN_SIDE]
    chosen = [negatives, painted, negatives_from_faces, generated.digest(generated_backgrounds)]
    key = json.dumps([_VERSION, detectors, dataset.digest, split_digest, *chosen, PATCH, CROP.to_json()])
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16] if cache else None
    fields = list(Crops.__dataclass_fields__)
    if folder and folder.is_dir():
        try:
            return Crops(*(np.load(folder / f"{name}.npy", allow_pickle=False) for name in fields))
        except (OSError, ValueError, EOFError):
            shutil.rmtree(folder, ignore_errors=True)  # cut again
    crops = cut_crops(
        dataset,
        parts,
        negatives=negatives,
        painted=painted,
        negatives_from_faces=negatives_from_faces,
        generated_backgrounds=generated_backgrounds,
        progress=progress,
    )
    if folder:
        # Write to a temporary folder first, because several processes of a training may write at
        # once.
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
            for name in fields:
                np.save(unfinished / f"{name}.npy", getattr(crops, name), allow_pickle=False)
            with contextlib.suppress(OSError):
                unfinished.rename(folder)
        except OSError as error:
            raise OutputError(
                f"the crops cannot be stored in {cache} ({error.strerror}): free some space, or give another folder with --cache."
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return crops
