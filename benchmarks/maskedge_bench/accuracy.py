"""Accuracy of the whole chain: faces found and told apart in whole pictures, for several pipelines in the same run.

The rule: a prediction counts when its box overlaps a labelled box by IoU >= 0.4 and the label is right. Boxes under 32 px
(geometric mean of the sides, on the picture scaled to at most 640 px) are ignored on both sides, and so are labelled boxes of other
labels than those measured, with the predictions on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

from maskedge.errors import UsageError
from maskedge.machine import machine_facts
from maskedge.pictures import list_pictures, read_picture
from maskedge.pipeline import MaskDetector
from maskedge.track import box_iou
from maskedge.types import Box, Face
from maskedge_train.boxes import LabelledBox, read_boxes

from .pipelines import PIPELINES, Pipeline

SCHEMA = "maskedge.accuracy/1"
LABELS = ("with_mask", "without_mask")
OVERLAP = 0.4
LEAST_SIDE = 32
LONGEST_SIDE = 640


@dataclass
class Tally:
    """Counts over pictures, by label."""

    labelled: Counter[str]
    found: Counter[str]
    right: Counter[str]
    predicted: Counter[str]

    @classmethod
    def empty(cls) -> Tally:
        """Start at zero."""
        return cls(Counter(), Counter(), Counter(), Counter())

    def add(self, truths: Sequence[LabelledBox], faces: Sequence[Face], scale: float) -> None:
        """Count one picture; `scale` brings its pixels to those of the rule."""
        free = list(truths)
        for face in sorted(faces, key=lambda face: face.score, reverse=True):
            best = max(free, key=lambda truth: box_iou(truth.box, face.box), default=None)
            if best is not None and box_iou(best.box, face.box) >= OVERLAP:
                free.remove(best)
                if self._counts(best, scale):
                    self.found[best.label] += 1
                    self.predicted[face.label] += 1
                    self.right[best.label] += face.label == best.label
            elif _side(face.box) * scale >= LEAST_SIDE:
                self.predicted[face.label] += 1
        self.labelled.update(truth.label for truth in truths if self._counts(truth, scale))

    @staticmethod
    def _counts(truth: LabelledBox, scale: float) -> bool:
        return truth.label in LABELS and _side(truth.box) * scale >= LEAST_SIDE

    def figures(self) -> dict[str, Any]:
        """Give found rate, precision, recall and F1 by label and together."""
        by_label = {
            label: {"labelled": self.labelled[label], "found": _ratio(self.found[label], self.labelled[label])}
            | _scores(self.right[label], self.predicted[label], self.labelled[label])
            for label in LABELS
        }
        predicted = sum(self.predicted.values())
        return {"labels": by_label, "together": _scores(self.right.total(), predicted, self.labelled.total())}


def _side(box: Box) -> float:
    return sqrt(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _scores(right: int, predicted: int, labelled: int) -> dict[str, float]:
    return {"precision": _ratio(right, predicted), "recall": _ratio(right, labelled), "f1": _ratio(2 * right, predicted + labelled)}


def measure_accuracy(
    scenes_path: Path,
    backgrounds: Path | None = None,
    pipelines: Sequence[Pipeline] = PIPELINES,
    progress: Callable[[int], None] = lambda total: None,
) -> dict[str, Any]:
    """Run every pipeline over the same pictures.

    Args:
        scenes_path: CSV of labelled boxes (`maskedge_train.boxes`).
        backgrounds: Folder of pictures without people: each face found there is a false alarm.
        pipelines: What to compare.
        progress: Called after each picture with the number of all.

    Returns:
        The report.

    Raises:
        UsageError: The data cannot be used.
    """
    scenes = {scenes_path.parent / image: faces for image, faces in read_boxes(scenes_path).items()}
    empty = list_pictures(backgrounds) if backgrounds else []
    detectors = [MaskDetector(pipeline.model, pipeline.detector) for pipeline in pipelines]
    tallies = [Tally.empty() for _ in pipelines]
    alarms = [0] * len(pipelines)
    milliseconds: list[list[float]] = [[] for _ in pipelines]
    for path, truths in [*scenes.items(), *((path, None) for path in empty)]:
        try:
            image = read_picture(path)
        except ValueError as error:
            raise UsageError(f"{path} {error}: mend or remove it, every pipeline must see the same pictures.") from error
        scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
        for index, detector in enumerate(detectors):
            faces = detector(image)
            if truths is None:
                alarms[index] += sum(_side(face.box) * scale >= LEAST_SIDE for face in faces)
            else:
                tallies[index].add(truths, faces, scale)
                milliseconds[index].append(sum(detector.clock.last.values()))
            detector.clock.next_frame()
        progress(len(scenes) + len(empty))
    rows = [
        {
            "name": pipeline.name,
            "detector": pipeline.detector,
            "model": detector.classifier.path.name,
            **tally.figures(),
            "false_alarms_a_background": round(alarm / len(empty), 4) if empty else None,
            "milliseconds_p50": round(median(times), 2),
        }
        for pipeline, detector, tally, alarm, times in zip(pipelines, detectors, tallies, alarms, milliseconds, strict=True)
    ]
    return {
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "scenes": scenes_path.name,
        "pictures": len(scenes),
        "backgrounds": len(empty),
        "facts": machine_facts(),
        "pipelines": rows,
    }


def accuracy_table(report: dict[str, Any]) -> str:
    """Give the report as a Markdown table."""
    lines = [
        "| pipeline | F1 | masked found | unmasked found | precision | false alarms a background |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["pipelines"]:
        alarms = row["false_alarms_a_background"]
        cells = [
            row["name"],
            f"{row['together']['f1']:.3f}",
            *(f"{row['labels'][label]['found']:.3f}" for label in LABELS),
            f"{row['together']['precision']:.3f}",
            "not measured" if alarms is None else f"{alarms:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    labelled = {label: report["pipelines"][0]["labels"][label]["labelled"] for label in LABELS}
    lines += [
        "",
        f"{report['pictures']} pictures of `{report['scenes']}` with {labelled['with_mask']} masked and "
        f"{labelled['without_mask']} unmasked faces of 32 px and more; {report['backgrounds']} pictures without people.",
    ]
    return "\n".join(lines)
