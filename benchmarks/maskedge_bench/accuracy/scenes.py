"""Accuracy of detection and classification on labelled pictures, for several pipelines at once.

`detection_counts` has the matching rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from statistics import mean, median
from typing import Any

from maskedge.boxes import side
from maskedge.errors import UsageError
from maskedge.labelled_boxes import UNLABELLED, LabelledBox, is_held_out_name, read_boxes
from maskedge.support.pictures import list_pictures
from maskedge.system.host import host_facts
from maskedge.types import Face, Image
from maskedge.vision.detectors import detector_names, load_detector
from maskedge.vision.pipeline import MaskDetector, ScoredFace
from maskedge_bench.conditions import unique_names
from maskedge_bench.contestants.pipelines import PIPELINES, Pipeline

from .detection_counts import LEAST_SIDE, LONGEST_SIDE, THREE, TWO, DetectionCounts, ratio
from .gallery import Gallery
from .rotation import rotate
from .scored_pictures import Origins, check_pictures, place_picture, read_scene, relabel_boxes

SCHEMA = "maskedge.accuracy/2"
BOUNDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Face thresholds of the precision-recall curve."""


def choose_pipelines(detectors: Sequence[str], models: Sequence[Path] = ()) -> list[Pipeline]:
    """Return the original pipeline, and one pipeline for each pair of detector and model.

    Args:
        detectors: Names or files (`load_detector`).
        models: Classifier files; none selects the bundled one. The name of a pipeline has the files
            of both, with enough parent folders to make the names unique.

    Raises:
        UsageError: A detector or model is given twice.
    """
    found_by, names = unique_names("detector", map(Path, detectors)), unique_names("model", models)
    stems = [name.removesuffix(".onnx") for name in names]
    names = stems if len(set(stems)) == len(stems) else names
    by_detector = list(zip(detectors, found_by, strict=True))
    if not models:
        known = {pipeline.detector: pipeline for pipeline in PIPELINES[1:]}
        return [PIPELINES[0], *(known.get(name) or Pipeline(f"{shown}, edgenet", name, None, 1) for name, shown in by_detector)]
    return [PIPELINES[0]] + [
        Pipeline(f"{shown}, {name}", detector, model, 1)
        for model, name in zip(models, names, strict=True)
        for detector, shown in by_detector
    ]


class _Row:
    """Counts of one pipeline."""

    def __init__(self, pipeline: Pipeline, min_face_size: int | None) -> None:
        self.pipeline = pipeline
        # The original pipeline has a fixed smallest face.
        own = min_face_size if pipeline is not PIPELINES[0] else None
        # A detector from a file keeps the face size of the file.
        named = pipeline.detector in detector_names()
        detector = load_detector(pipeline.detector, min_face_size=own if named else None)
        self.detector = MaskDetector(pipeline.model, detector, min_face_size=own)
        has_more_labels = set(TWO) < set(self.detector.labels)
        self.of_two = MaskDetector(pipeline.model, self.detector.detector, labels=TWO) if has_more_labels else self.detector
        self.two, self.two_labels, self.three = DetectionCounts(TWO), DetectionCounts(TWO), DetectionCounts(THREE)
        self.unlabelled_ignored = DetectionCounts(TWO)
        self.curve = {bound: DetectionCounts(TWO) for bound in BOUNDS}
        self.threshold = self.detector.face_threshold
        self.alarms = dict.fromkeys((*BOUNDS, self.threshold), 0)
        self.times: dict[str, list[float]] = {"detect": [], "total": []}
        self.candidates: list[int] = []
        self.gallery = Gallery()

    def process(self, image: Image) -> list[ScoredFace]:
        """Process a picture at the lowest face threshold.

        The faces at a higher threshold are a subset of these.
        """
        found = self.detector.detect(image, BOUNDS[0])
        self.times["detect"].append(self.detector.clock.last["detect"])
        self.times["total"].append(sum(self.detector.clock.last.values()))
        self.detector.clock.next_frame()
        self.candidates.append(self.detector.candidates)
        return found

    def add(
        self, found: Sequence[ScoredFace], truths: Sequence[LabelledBox], unlabelled: Sequence[LabelledBox], scale: float
    ) -> list[Face]:
        """Count one labelled picture, and return the faces at the face threshold of `edge-run`."""
        for bound, counts in self.curve.items():
            counts.add(truths, [own.face for own in found if own.face_score >= bound], scale)
        counted = [own for own in found if own.face_score >= self.threshold]
        faces = [own.face for own in counted]
        self.two.add(truths, faces, scale)
        self.three.add(truths, faces, scale)
        self.two_labels.add(truths, [self.of_two.label_face(own.face.box, own.probabilities) for own in counted], scale)
        self.unlabelled_ignored.add([*truths, *unlabelled], faces, scale)
        return faces

    def add_background(self, found: Sequence[ScoredFace], scale: float) -> list[Face]:
        """Count one picture without people, and return the false alarms."""
        large = [own for own in found if side(own.face.box) * scale >= LEAST_SIDE]
        for bound in self.alarms:
            self.alarms[bound] += sum(own.face_score >= bound for own in large)
        return [own.face for own in large if own.face_score >= self.threshold]

    def figures(self, backgrounds: int, baseline: _Row, *, forgive: bool) -> dict[str, Any]:
        """Return the figures of the pipeline, with costs relative to `baseline` per picture."""

        def ratio_of(stage: str) -> float:
            return round(median(own / base for own, base in zip(self.times[stage], baseline.times[stage], strict=True)), 4)

        return {
            "name": self.pipeline.name,
            "detector": Path(self.pipeline.detector).name,
            "model": self.detector.classifier.path.name,
            "model_sha256": sha256(self.detector.classifier.path.read_bytes()).hexdigest(),
            "least_face": round(self.threshold, 4),
            **_with_interval(self.two, self.two.figures()),
            "two_labels": _with_interval(self.two_labels, self.two_labels.figures()["together"]),
            "unlabelled_ignored": _with_interval(self.unlabelled_ignored, self.unlabelled_ignored.figures()["together"])
            if forgive
            else None,
            "three_class": _with_interval(self.three, self.three.figures()),
            "sizes": self.three.by_size(),
            "false_alarms_a_background": ratio(self.alarms[self.threshold], backgrounds) if backgrounds else None,
            "curve": [
                {
                    "least_face": bound,
                    **counts.figures()["together"],
                    "false_alarms_a_background": ratio(self.alarms[bound], backgrounds) if backgrounds else None,
                }
                for bound, counts in self.curve.items()
            ],
            "candidates_a_picture": round(mean(self.candidates), 2),
            "milliseconds_p50": round(median(self.times["total"]), 2),
            "detect_milliseconds_p50": round(median(self.times["detect"]), 2),
            "cost_ratio": ratio_of("total"),
            "detect_cost_ratio": ratio_of("detect"),
        }


def _with_interval(counts: DetectionCounts, figures: dict[str, Any]) -> dict[str, Any]:
    return {**figures, "f1_interval": counts.f1_interval()}


def measure_accuracy(
    scenes_path: Path,
    backgrounds: Path | None = None,
    pipelines: Sequence[Pipeline] = PIPELINES,
    *,
    min_face_size: int | None = None,
    held_out: bool = False,
    unlabelled: Path | None = None,
    relabel: Path | None = None,
    degrees: float = 0,
    progress: Callable[[int], None] = lambda total: None,
) -> tuple[dict[str, Any], list[Gallery]]:
    """Run every pipeline on the same pictures, interleaved picture by picture.

    Args:
        scenes_path: CSV of labelled boxes (`maskedge.labelled_boxes`).
        backgrounds: Folder of pictures without people. Each face found there is a false alarm.
        pipelines: Pipelines to compare. The first has cost 1.
        min_face_size: Side of the smallest face to find, in pixels of the picture. The original
            pipeline ignores it and keeps its own smallest face.
        held_out: Measure only the pictures that the training held out.
        unlabelled: CSV of faces that `scenes_path` lacks, with the label `UNLABELLED`. The report
            adds figures that ignore predictions on them.
        relabel: CSV of reviewed boxes; its label replaces that of the same box (`relabel_boxes`).
        degrees: Clockwise rotation of the pictures and their boxes, as from a tilted camera.
        progress: Called after each picture with the total number of pictures.

    Returns:
        The report, and a gallery of errors per pipeline.

    Raises:
        UsageError: The data cannot be used.
        ModelError: A detector or classifier file is refused.
    """
    labelled = read_boxes(scenes_path)
    if relabel is not None:
        labelled = relabel_boxes(labelled, relabel)
    unlabelled_boxes = _read_unlabelled(unlabelled, scenes_path, labelled) if unlabelled else {}
    origins: Origins = {}
    scenes = {
        place_picture(scenes_path, image, origins): faces
        for image, faces in labelled.items()
        if not held_out or is_held_out_name(f"scenes/{image}")
    }
    # Pictures of different folders may have the same file name.
    names = {scenes_path.parent / image: image for image in labelled}
    empty = list_pictures(backgrounds) if backgrounds else []
    if held_out:
        empty = [path for path in empty if is_held_out_name(f"backgrounds/{path.name}")]
        if not scenes:
            raise UsageError(f"{scenes_path} has no held-out picture: omit --held-out.")
    check_pictures(scenes, empty)
    rows = [_Row(pipeline, min_face_size) for pipeline in pipelines]
    for number, (path, truths) in enumerate([*scenes.items(), *((path, None) for path in empty)]):
        image = read_scene(path, truths or ())
        scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
        ignored = unlabelled_boxes.get(path, [])
        if degrees:
            # Use the scale of the original picture, because rotation keeps the size of the faces.
            image, (faces, ignored) = rotate(image, degrees, truths or [], ignored)
            truths = None if truths is None else faces
        # Alternate the order, because later pipelines have the picture in the processor's cache.
        for row in [rows[(number + index) % len(rows)] for index in range(len(rows))]:
            found = row.process(image)
            if truths is None:
                row.gallery.add_false(image, path.name, row.add_background(found, scale))
            else:
                row.gallery.add(image, names[path], truths, row.add(found, truths, ignored, scale), scale)
        progress(len(scenes) + len(empty))
    report = {
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "scenes": scenes_path.name,
        "pictures": len(scenes),
        "backgrounds": len(empty),
        "min_face": min_face_size,
        "held_out": held_out,
        "degrees": degrees,
        "relabelled": relabel.name if relabel else None,
        "unlabelled": sum(len(unlabelled_boxes.get(path, [])) for path in scenes) if unlabelled else None,
        "facts": host_facts(),
        "pipelines": [row.figures(len(empty), rows[0], forgive=bool(unlabelled)) for row in rows],
    }
    return report, [row.gallery for row in rows]


def _read_unlabelled(path: Path, scenes_path: Path, pictures: Collection[str]) -> dict[Path, list[LabelledBox]]:
    boxes = read_boxes(path)
    if strange := sorted(set(boxes) - set(pictures)):
        raise UsageError(f"{path} has boxes of {strange[0]}, which is not in {scenes_path}: give the file that belongs to it.")
    if other := {box.label for row in boxes.values() for box in row} - {UNLABELLED}:
        raise UsageError(f"{path} has the label {min(other)!r}: use {UNLABELLED!r} for unlabelled faces.")
    return {scenes_path.parent / image: row for image, row in boxes.items()}
