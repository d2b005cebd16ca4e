"""Small first stages for a trained cascade, so that a scan rejects most windows early.

The stages of `training` learn from drawn faces, and each must pass nearly all of them. In a scan
many windows lie on a face, and one is enough. The early stages therefore learn from the windows of
real scans: they must pass the best windows of each face that the rest of the cascade finds, and
reject all other windows of the scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskedge.support.pictures import read_picture
from maskedge.types import Box, Image
from maskedge.vision.detectors.cascade import CascadeDetector
from maskedge_train.data.dataset import Picture

from .boosting import Stage, StageFigures, train_stage
from .features import KINDS, WINDOW, Integrals
from .opencv import Cascade
from .samples import MAX_OVERLAP, square_of

EARLY = ((8, 0.965), (18, 0.985), (40, 0.99))
"""Number of stumps of each early stage, and the share of the faces' windows that it must pass."""
_ON_FACE = 0.5
"""Overlap (IoU) with a face's square from which a window lies on the face."""
_BEST = 4
"""Maximum number of windows of a face that the early stages must pass: those with the highest sums
in the last stage."""
_NEGATIVES = 16_000
_PER_PICTURE = 400
"""Number of windows drawn from the scan of a picture as negatives, before the stages reject any."""
_CHUNK = 20_000
_STEP = 2
"""Pixels from one window of a scan to the next."""
_NO_WINDOWS: Image = np.empty((0, WINDOW, WINDOW), np.uint8)

Progress = Callable[[str], None]
_Floats = npt.NDArray[np.float64]


def replace_first_stages(
    cascade: Cascade,
    replaced: int,
    pictures: Sequence[Picture],
    detector: CascadeDetector,
    random: np.random.Generator,
    *,
    pool: int,
    progress: Progress = lambda text: None,
) -> tuple[Cascade, list[StageFigures]]:
    """Replace the first stages of a cascade by fewer and smaller ones.

    Args:
        cascade: The cascade.
        replaced: Number of first stages to replace; the cascade has more.
        pictures: Pictures with labelled faces, and without people.
        detector: Scans pictures as the device does.
        random: Draws pictures, windows and features.
        pool: Number of candidate features for each stump.
        progress: Called with a description of the current step.

    Returns:
        The early stages followed by the kept stages of `cascade`, and the figures of the early
            stages. There are fewer early stages if one of them leaves nothing to learn from, and if
            there are none, the cascade is `cascade`.
    """
    kept = Cascade(cascade.kind, cascade.features, cascade.stages[replaced:])
    positives, groups = _face_windows(kept, pictures, detector, progress)
    kind = KINDS[cascade.kind]()
    early = Cascade(cascade.kind, (), ())
    report = []
    for number, (stumps, hit_rate) in enumerate(EARLY):
        name = f"Early stage {number + 1}"
        progress(f"{name}: searching for windows without a face")
        negatives = _other_windows(early, pictures, detector, random)
        if not len(positives) or not len(negatives):
            break
        progress(f"{name}: {len(positives):,} windows on faces, {len(negatives):,} others")
        known = list(early.features)
        stage, figures = train_stage(
            kind, Integrals.of(positives), Integrals.of(negatives), np.ones(len(positives)), groups, known, random,
            hit_rate=hit_rate, false_alarm=0.0, pool=pool, tried=pool, most=stumps,
        )  # fmt: skip
        report.append(figures)
        early = Cascade(cascade.kind, tuple(known), (*early.stages, stage))
        passed = early.stages_passed(positives) == number + 1
        positives, groups = positives[passed], groups[passed]
    return (_join(early, kept) if report else cascade), report


def _join(first: Cascade, second: Cascade) -> Cascade:
    """Return a cascade of the stages of both, without unused features."""
    features, stages = list(first.features), list(first.stages)
    for stage in second.stages:
        weaks = []
        for weak in stage.weaks:
            weaks.append(replace(weak, feature=len(features)))
            features.append(second.features[weak.feature])
        stages.append(Stage(tuple(weaks), stage.threshold))
    return Cascade(first.kind, tuple(features), tuple(stages))


def _scan(image: Image, detector: CascadeDetector) -> Iterator[tuple[Image, _Floats]]:
    """Return the windows of a scan, uint8 `[N, 24, 24]`, and their boxes in pixels, `[N, 4]`."""
    height, width = image.shape[:2]
    for level in detector.pyramid(width, height).levels(image, None, (WINDOW, WINDOW)):
        windows = np.lib.stride_tricks.sliding_window_view(level.grey, (WINDOW, WINDOW))[::_STEP, ::_STEP]
        rows, columns = np.mgrid[: windows.shape[0], : windows.shape[1]].reshape(2, -1) * _STEP
        sides = np.full(len(rows), WINDOW)
        squares = level.to_picture(np.stack([columns, rows, sides, sides], axis=1))
        squares[:, 2:] += squares[:, :2]
        yield windows, squares


def _overlaps(squares: _Floats, face: Box) -> _Floats:
    """Return the IoU of each square, float64 `[N, 4]`, with a face's square: float64 `[N]`."""
    low, high = np.maximum(squares[:, :2], face[:2]), np.minimum(squares[:, 2:], face[2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = (squares[:, 2:] - squares[:, :2]).prod(axis=1) + (face[2] - face[0]) * (face[3] - face[1])
    return np.asarray(both / (areas - both), np.float64)


def _face_windows(
    cascade: Cascade, pictures: Sequence[Picture], detector: CascadeDetector, progress: Progress
) -> tuple[Image, npt.NDArray[np.int64]]:
    """Return the best windows of each face that pass a cascade, and 1 for those of masked faces."""
    chosen: list[Image] = [_NO_WINDOWS]
    masked: list[int] = []
    waiting: list[tuple[Image, int]] = []
    people = [picture for picture in pictures if picture.faces]
    for number, picture in enumerate(people):
        progress(f"Scanning pictures for faces: {number + 1:,} of {len(people):,}")
        scan = list(_scan(read_picture(picture.path), detector))
        for face in picture.faces:
            square = square_of(face.box)
            on_face = [_NO_WINDOWS]
            for windows, squares in scan:
                rows = np.flatnonzero(_overlaps(squares, square) >= _ON_FACE)
                on_face.append(windows[np.unravel_index(rows, windows.shape[:2])])
            waiting.append((np.concatenate(on_face), int(face.label != "without_mask")))
        if number + 1 < len(people) and sum(len(windows) for windows, _ in waiting) < _CHUNK:
            continue
        together = np.concatenate([windows for windows, _ in waiting])
        passed = cascade.stages_passed(together) == len(cascade.stages)
        owners = np.repeat(np.arange(len(waiting)), [len(windows) for windows, _ in waiting])[passed]
        together = together[passed]
        order = np.argsort(-cascade.last_sums(together), kind="stable")
        for owner, (_, is_masked) in enumerate(waiting):
            best = order[owners[order] == owner][:_BEST]
            chosen.append(together[best])
            masked.extend([is_masked] * len(best))
        waiting.clear()
    return np.concatenate(chosen), np.array(masked, np.int64)


def _other_windows(early: Cascade, pictures: Sequence[Picture], detector: CascadeDetector, random: np.random.Generator) -> Image:
    """Return windows of scans that lie on no face and pass a cascade."""
    found = [_NO_WINDOWS]
    for index in random.permutation(len(pictures)).tolist():
        picture = pictures[index]
        faces = [square_of(box) for box in (*(face.box for face in picture.faces), *picture.unlabelled)]
        scan = list(_scan(read_picture(picture.path), detector))
        if not scan:
            continue
        sizes = [len(squares) for _, squares in scan]
        drawn = np.sort(random.choice(sum(sizes), min(_PER_PICTURE, sum(sizes)), replace=False))
        starts = np.cumsum([0, *sizes])
        windows, places = [], []
        for (own, squares), start, end in zip(scan, starts[:-1], starts[1:], strict=True):
            rows = drawn[(drawn >= start) & (drawn < end)] - start
            windows.append(own[np.unravel_index(rows, own.shape[:2])])
            places.append(squares[rows])
        free = np.ones(len(drawn), np.bool_)
        for face in faces:
            free &= _overlaps(np.concatenate(places), face) < MAX_OVERLAP
        some = np.concatenate(windows)[free]
        found.append(some[early.stages_passed(some) == len(early.stages)])
        if sum(map(len, found)) >= _NEGATIVES:
            break
    return np.concatenate(found)[:_NEGATIVES]
