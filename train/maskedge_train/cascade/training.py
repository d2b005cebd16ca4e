"""Training of a cascade in stages. Each stage learns from false positives of earlier stages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskedge.boxes import box_iou
from maskedge.errors import UsageError
from maskedge.support.files import make_folder, temporary_name, write_file
from maskedge.support.pictures import read_picture
from maskedge.vision.detectors.cascade import CascadeDetector
from maskedge_train.data.dataset import DataSet, Picture
from maskedge_train.data.split import is_held_out
from maskedge_train.shared.lock import check_same_recipe

from .boosting import StageFigures, train_stage
from .early_stages import replace_first_stages
from .features import KINDS, Features, Integrals
from .opencv import Cascade, from_json, to_json
from .samples import Positives, face_patches, mine_negatives

SCHEMA = "maskedge.cascade/1"
SIDES = (240, 320, 400)
"""Longest sides of the scan at which a cascade is measured."""
MIN_NEGATIVES = 300
"""Minimum number of remaining false positives. With fewer, the training ends."""
_VARIED_STAGES = 6
_SCREENING = 120
"""Number of stumps that identify outliers among the faces."""
_MIN_FACE = 32
"""Minimum face size for the measurement, in pixels of a picture of at most 640."""


@dataclass(frozen=True)
class CascadeRecipe:
    """Hyperparameters of a cascade's training.

    Attributes:
        features: `haar` or `lbp`.
        stages: Maximum number of stages.
        positives: Number of drawn faces.
        negatives: Negatives per stage.
        hit_rate: Share of masked and of unmasked faces that each stage must pass.
        false_alarm: Share of the negatives that each stage may pass.
        pool: Candidate features of a stage; twice as many in the first four and in the early
            stages.
        tried: Candidate features of each stump.
        first: Maximum number of stumps in the first stage. Most windows end in the first stages, so
            few stumps there make a cascade fast.
        growth: Growth factor of this maximum from stage to stage.
        most: Maximum number of stumps in any stage.
        outliers: Share of the faces to exclude as outliers. Rotated, blurred or misplaced faces
            would otherwise determine the threshold of every stage.
        scans: Maximum number of scans for the negatives of a stage.
        replaced: Number of first stages that are replaced at the end (`early_stages`). A cascade
            with no more stages than that keeps them.
        seed: Seed of all draws.
    """

    features: str = "haar"
    stages: int = 18
    positives: int = 12000
    negatives: int = 9000
    hit_rate: float = 0.99
    false_alarm: float = 0.4
    pool: int = 3000
    tried: int = 1200
    first: int = 12
    growth: float = 1.25
    most: int = 140
    outliers: float = 0.15
    scans: int = 30000
    replaced: int = 8
    seed: int = 0


Progress = Callable[[str], None]


def train_cascade(
    pictures: Sequence[Picture], recipe: CascadeRecipe, out: Path, *, resume: bool = False, progress: Progress = lambda text: None
) -> dict[str, Any]:
    """Train a cascade and measure it on held-out pictures.

    The training writes `cascade.xml` and `stages.json` (for `resume`) to `out` after every stage.
    At the end it replaces the first stages in `cascade.xml` and writes `report.json`.

    Args:
        pictures: Pictures with labelled faces, and without people.
        recipe: Hyperparameters of the training.
        out: Output folder; created if missing.
        resume: Continue after the last finished stage.
        progress: Called with a description of the current step.

    Returns:
        The content of report.json.

    Raises:
        UsageError: There are too few faces or negatives, or the resumed training has another recipe
            or other data.
        OutputError: A file cannot be written.
    """
    started = time.perf_counter()
    people = [picture for picture in pictures if picture.faces]
    measured = [picture for picture in people if is_held_out(picture)]
    train = [picture for picture in people if not is_held_out(picture)]
    others = [picture for picture in pictures if not (picture.faces or picture.unlabelled)]
    progress("Cutting faces")
    patches = [patch for picture in train for patch in face_patches(picture)]
    if len(patches) < 20:
        raise UsageError(f"there are {len(patches)} labelled faces that are large enough: a cascade needs hundreds.")
    make_folder(out)
    data = DataSet(list(pictures)).digest
    state: dict[str, Any] = {"recipe": asdict(recipe), "data": data, "figures": []}
    cascade = Cascade(recipe.features, (), ())
    if resume:
        cascade, state = _load_state(out / "stages.json", state)
        cascade, state["figures"] = cascade.cut(recipe.stages), state["figures"][: recipe.stages]
        # In a finished training the first stages are replaced ones.
        write_file(out / "cascade.xml", cascade.to_xml())
    positives = Positives.draw(patches, recipe.positives, np.random.default_rng([recipe.seed, 0]))
    kind = KINDS[recipe.features]()
    if recipe.outliers:
        progress("Removing outliers among the faces")
        positives = _drop_outliers(kind, positives, [*train, *others], recipe)
    for number in range(len(cascade.stages), recipe.stages):
        begun = time.perf_counter()
        random = np.random.default_rng([recipe.seed, 1 + number])
        survivors = positives.take(np.flatnonzero(cascade.stages_passed(positives.windows) == number))
        progress(f"Stage {number + 1}: searching for false positives")
        windows = mine_negatives(
            [*train, *others],
            out / "cascade.xml" if number else None,
            recipe.negatives,
            random,
            max_per_scan=8 if number < _VARIED_STAGES else 60,
            scans=recipe.scans,
            progress=_mining(number, progress),
        )
        windows = windows[cascade.stages_passed(windows) == number]
        if len(windows) < MIN_NEGATIVES:
            progress(f"Stage {number + 1}: only {len(windows)} false positives are left; done")
            break
        known = list(cascade.features)
        early = 2 if number < 4 else 1
        stage, figures = train_stage(
            kind,
            Integrals.of(survivors.windows),
            Integrals.of(windows),
            survivors.weights,
            survivors.groups,
            known,
            random,
            hit_rate=recipe.hit_rate,
            false_alarm=recipe.false_alarm,
            pool=early * recipe.pool,
            tried=early * recipe.tried,
            most=min(recipe.most, round(recipe.first * recipe.growth**number)),
            progress=_boosting(number, progress),
        )
        cascade = Cascade(recipe.features, tuple(known), (*cascade.stages, stage))
        state["figures"].append(_stage_report(figures, len(windows), time.perf_counter() - begun))
        write_file(out / "cascade.xml", cascade.to_xml())
        write_file(out / "stages.json", json.dumps({**state, "cascade": to_json(cascade)}) + "\n")
    if not cascade.stages:
        raise UsageError("there are too few windows without a face: give --backgrounds, or more scenes.")
    if len(cascade.stages) > recipe.replaced:
        detector, random = CascadeDetector.trained(out / "cascade.xml"), np.random.default_rng([recipe.seed, 2_000])
        # Pictures of single faces outnumber the small faces of scenes, which are the harder ones.
        scenes = [picture for picture in train if picture.source == "scenes"] or train
        cascade, early_figures = replace_first_stages(
            cascade, recipe.replaced, [*scenes, *others], detector, random, pool=2 * recipe.pool, progress=progress
        )
        if early_figures:
            state["figures"][: recipe.replaced] = [
                {name: round(value, 4) for name, value in asdict(figures).items()} for figures in early_figures
            ]
        write_file(out / "cascade.xml", cascade.to_xml())
    progress("Measuring")
    report = {
        "schema": SCHEMA,
        "recipe": asdict(recipe),
        "data": data,
        "faces": {"masked": sum(patch.masked for patch in patches), "unmasked": sum(not patch.masked for patch in patches)},
        "pictures": {"people": len(train), "others": len(others), "held_out": len(measured)},
        "features": len(cascade.features),
        "stages": state["figures"],
        "seconds": round(time.perf_counter() - started, 1),
        "held_out": measure(cascade, measured, out),
    }
    write_file(out / "report.json", json.dumps(report, indent=1) + "\n")
    return report


def _drop_outliers(kind: Features, positives: Positives, pictures: Sequence[Picture], recipe: CascadeRecipe) -> Positives:
    """Exclude from each group the share of faces with the lowest boosted score."""
    random = np.random.default_rng([recipe.seed, 1_000])
    windows = mine_negatives(pictures, None, recipe.negatives, random, max_per_scan=8, scans=recipe.scans)
    known: list[tuple[int, ...]] = []
    stage, _ = train_stage(
        kind,
        Integrals.of(positives.windows),
        Integrals.of(windows),
        positives.weights,
        positives.groups,
        known,
        random,
        hit_rate=1 - recipe.outliers,
        false_alarm=0.0,
        pool=recipe.pool,
        tried=recipe.tried,
        most=_SCREENING,
    )
    screen = Cascade(recipe.features, tuple(known), (stage,))
    return positives.take(np.flatnonzero(screen.stages_passed(positives.windows) == 1))


def _mining(number: int, progress: Progress) -> Callable[[int], None]:
    return lambda found: progress(f"Stage {number + 1}: {found:,} false positives")


def _boosting(number: int, progress: Progress) -> Callable[[int, float], None]:
    return lambda count, rate: progress(f"Stage {number + 1}: {count} features, {rate:.2f} of the negatives pass")


def _stage_report(figures: StageFigures, windows: int, seconds: float) -> dict[str, float | int]:
    return {
        "features": figures.features,
        "hit_rate": round(figures.hit_rate, 4),
        "false_alarm": round(figures.false_alarm, 4),
        "windows": windows,
        "seconds": round(seconds, 1),
    }


def _load_state(path: Path, wanted: dict[str, Any]) -> tuple[Cascade, dict[str, Any]]:
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        cascade = from_json(state.pop("cascade"))
        # The number of stages may change. Everything else must stay the same.
        begun, now = ({**own["recipe"], "stages": None, "data": own["data"]} for own in (state, wanted))
        if len(state["figures"]) != len(cascade.stages):
            raise ValueError("its figures are of other stages")
    except FileNotFoundError as error:
        raise UsageError(f"there is nothing to resume: {path} does not exist. Start without --resume.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): start again without --resume.") from error
    check_same_recipe(path, begun, now)
    return cascade, state


def measure(cascade: Cascade, pictures: Sequence[Picture], out: Path) -> list[dict[str, Any]]:
    """Measure a cascade, and its variants without the last stages, as the device runs them.

    Args:
        cascade: The cascade.
        pictures: Held-out pictures.
        out: Folder for a temporary file.

    Returns:
        For each number of stages and longest side of the scan: the shares of masked and unmasked
            faces found (IoU of at least 0.4, faces of 32 pixels and more) and the detections per
            picture.
    """
    rows = []
    path = temporary_name(out / "cascade.xml", ".xml")
    try:
        for stages in range(max(1, len(cascade.stages) - 5), len(cascade.stages) + 1):
            write_file(path, cascade.cut(stages).to_xml())
            for side in SIDES:
                detector = CascadeDetector(path, side=side, scale_factor=1.2, min_neighbors=1, border=0.1)
                rows.append({"stages": stages, "side": side, **_measure_detector(detector, pictures)})
    finally:
        path.unlink(missing_ok=True)
    return rows


def _measure_detector(detector: CascadeDetector, pictures: Sequence[Picture]) -> dict[str, float | int | None]:
    hits: dict[bool, list[bool]] = {True: [], False: []}
    candidates = 0
    for picture in pictures:
        image = read_picture(picture.path)
        boxes = detector.detect(image).boxes
        candidates += len(boxes)
        min_size = _MIN_FACE * max(1.0, max(image.shape[:2]) / 640)
        for face in picture.faces:
            if min(face.box[2] - face.box[0], face.box[3] - face.box[1]) >= min_size:
                hits[face.label != "without_mask"].append(any(box_iou(face.box, box) >= 0.4 for box in boxes))
    return {
        "masked_found": round(float(np.mean(hits[True])), 4) if hits[True] else None,
        "unmasked_found": round(float(np.mean(hits[False])), 4) if hits[False] else None,
        "masked": len(hits[True]),
        "unmasked": len(hits[False]),
        "candidates": round(candidates / max(1, len(pictures)), 2),
    }
