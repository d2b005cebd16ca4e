"""Accuracy of the whole chain: faces found and told apart in whole pictures, for several pipelines in the same run.

The rule of what counts is in `counts`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean, median
from typing import Any

from maskedge.boxes import side
from maskedge.errors import UsageError
from maskedge.labelled_boxes import UNLABELLED, LabelledBox, read_boxes
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.system.host import host_facts
from maskedge.types import Face, Image
from maskedge.vision.detectors import detector_names, load_detector
from maskedge.vision.pipeline import MaskDetector, ScoredFace, as_bgr
from maskedge_bench.contestants.pipelines import PIPELINES, Pipeline
from maskedge_train.data.split import only_measures

from .detection_counts import DRAWS, LEAST_SIDE, LONGEST_SIDE, THREE, TWO, DetectionCounts, ratio
from .gallery import Gallery
from .rotation import turn

SCHEMA = "maskedge.accuracy/2"
BOUNDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Least probabilities of being a face at which precision and recall are told."""


def choose_pipelines(detectors: Sequence[str], models: Sequence[Path] = ()) -> list[Pipeline]:
    """Give the original pipeline, which the costs are compared with, and one with each of `detectors` for each of `models`.

    Args:
        detectors: Names or files (`load_detector`).
        models: Classifier files of all but the original; the bundled one where there are none. The rows are named by the files,
            with as much of their folders as it takes to tell them apart.

    Raises:
        UsageError: A model is given twice.
    """
    if not models:
        known = {pipeline.detector: pipeline for pipeline in PIPELINES[1:]}
        own = [known.get(name) or Pipeline(f"{Path(name).name}, edgenet", name, None, 1) for name in detectors]
        return [PIPELINES[0], *own]
    names = short_names(models)
    return [PIPELINES[0]] + [
        Pipeline(f"{Path(detector).name}, {name}", detector, model, 1)
        for model, name in zip(models, names, strict=True)
        for detector in detectors
    ]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Give the shortest ends of paths that are all different, without suffixes: `edgenet`, or `mine/edgenet` and `old/edgenet`.

    Raises:
        UsageError: A path is given twice.
    """
    whole = [path.resolve().with_suffix("").parts for path in paths]
    for count in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path in paths if sum(path.resolve() == other.resolve() for other in paths) > 1)
    raise UsageError(f"the model {twice} is given twice: give each once.")


class _Row:
    """What is counted of one pipeline."""

    def __init__(self, pipeline: Pipeline, min_face_size: int | None) -> None:
        self.pipeline = pipeline
        # The original looks for what it always did.
        own = min_face_size if pipeline is not PIPELINES[0] else None
        # A detector file scans at the size that it was made for.
        named = pipeline.detector in detector_names()
        detector = load_detector(pipeline.detector, min_face_size=own if named else None)
        self.detector = MaskDetector(pipeline.model, detector, min_face_size=own)
        knows_more = set(TWO) < set(self.detector.labels)
        self.of_two = MaskDetector(pipeline.model, self.detector.detector, labels=TWO) if knows_more else self.detector
        self.two, self.two_labels, self.three = DetectionCounts(TWO), DetectionCounts(TWO), DetectionCounts(THREE)
        self.forgiving = DetectionCounts(TWO)
        self.curve = {bound: DetectionCounts(TWO) for bound in BOUNDS}
        self.least = self.detector.face_threshold
        self.alarms = dict.fromkeys((*BOUNDS, self.least), 0)
        self.times: dict[str, list[float]] = {"detect": [], "total": []}
        self.candidates: list[int] = []
        self.gallery = Gallery()

    def answer(self, image: Image) -> list[ScoredFace]:
        """Answer at the lowest bound: what a higher one leaves of it is what the detector finds there."""
        found = self.detector.detect(image, BOUNDS[0])
        self.times["detect"].append(self.detector.clock.last["detect"])
        self.times["total"].append(sum(self.detector.clock.last.values()))
        self.detector.clock.next_frame()
        self.candidates.append(self.detector.candidates)
        return found

    def add(
        self, found: Sequence[ScoredFace], truths: Sequence[LabelledBox], unlabelled: Sequence[LabelledBox], scale: float
    ) -> list[Face]:
        """Count one picture; give what is found at the bound that `edge-run` has."""
        for bound, counts in self.curve.items():
            counts.add(truths, [own.face for own in found if own.face_score >= bound], scale)
        counted = [own for own in found if own.face_score >= self.least]
        faces = [own.face for own in counted]
        self.two.add(truths, faces, scale)
        self.three.add(truths, faces, scale)
        self.two_labels.add(truths, [self.of_two.label_face(own.face.box, own.probabilities) for own in counted], scale)
        self.forgiving.add([*truths, *unlabelled], faces, scale)
        return faces

    def add_background(self, found: Sequence[ScoredFace], scale: float) -> list[Face]:
        """Count one picture without people; give the false alarms."""
        large = [own for own in found if side(own.face.box) * scale >= LEAST_SIDE]
        for bound in self.alarms:
            self.alarms[bound] += sum(own.face_score >= bound for own in large)
        return [own.face for own in large if own.face_score >= self.least]

    def figures(self, backgrounds: int, baseline: _Row, *, forgive: bool) -> dict[str, Any]:
        """Give the figures of the pipeline; its costs are compared with those of `baseline` picture by picture."""

        def ratio_of(what: str) -> float:
            return round(median(own / base for own, base in zip(self.times[what], baseline.times[what], strict=True)), 4)

        return {
            "name": self.pipeline.name,
            "detector": Path(self.pipeline.detector).name,
            "model": self.detector.classifier.path.name,
            "least_face": round(self.least, 4),
            **_with_interval(self.two, self.two.figures()),
            "two_labels": _with_interval(self.two_labels, self.two_labels.figures()["together"]),
            "unlabelled_ignored": _with_interval(self.forgiving, self.forgiving.figures()["together"]) if forgive else None,
            "three_class": _with_interval(self.three, self.three.figures()),
            "sizes": self.three.by_size(),
            "false_alarms_a_background": ratio(self.alarms[self.least], backgrounds) if backgrounds else None,
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
    degrees: float = 0,
    progress: Callable[[int], None] = lambda total: None,
) -> tuple[dict[str, Any], list[Gallery]]:
    """Run every pipeline over the same pictures, in turn, picture by picture.

    Args:
        scenes_path: CSV of labelled boxes (`maskedge.labelled_boxes`).
        backgrounds: Folder of pictures without people: each face found there is a false alarm.
        pipelines: What to compare; the first one's cost is 1.
        min_face_size: Smallest face that all but the original must find, in pixels of the picture.
        held_out: Measure only on those pictures of training data that no net of ours learned from: to choose bounds by.
        unlabelled: CSV of boxes of faces that `scenes_path` lacks, with the label `UNLABELLED`. Besides the figures as labelled,
            those are given in which what is found there is neither right nor wrong.
        degrees: By how much to turn the pictures and their boxes, clockwise: a camera that hangs askew.
        progress: Called after each picture with the number of all.

    Returns:
        The report, and of each pipeline pictures of what went wrong.

    Raises:
        UsageError: The data cannot be used.
        ModelError: A detector or classifier file is refused.
    """
    labelled = read_boxes(scenes_path)
    lacking = _read_unlabelled(unlabelled, scenes_path, labelled) if unlabelled else {}
    scenes = {
        scenes_path.parent / image: faces for image, faces in labelled.items() if not held_out or only_measures(f"scenes/{image}")
    }
    empty = list_pictures(backgrounds) if backgrounds else []
    if held_out:
        empty = [path for path in empty if only_measures(f"backgrounds/{path.name}")]
        if not scenes:
            raise UsageError(f"of the pictures of {scenes_path} none is held out: leave --held-out away.")
    rows = [_Row(pipeline, min_face_size) for pipeline in pipelines]
    for number, (path, truths) in enumerate([*scenes.items(), *((path, None) for path in empty)]):
        try:
            image = as_bgr(read_picture(path))
        except ValueError as error:
            raise UsageError(f"{path} {error}: mend or remove it, every pipeline must see the same pictures.") from error
        scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
        ignored = lacking.get(path, [])
        if degrees:
            # The scale stays: the faces are as large as they were.
            image, (faces, ignored) = turn(image, degrees, truths or [], ignored)
            truths = None if truths is None else faces
        # In turn the first: who comes later finds the picture in the processor's cache.
        for row in [rows[(number + index) % len(rows)] for index in range(len(rows))]:
            found = row.answer(image)
            if truths is None:
                row.gallery.add_false(image, path.name, row.add_background(found, scale))
            else:
                row.gallery.add(image, path.name, truths, row.add(found, truths, ignored, scale), scale)
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
        "unlabelled": sum(len(lacking.get(path, [])) for path in scenes) if unlabelled else None,
        "facts": host_facts(),
        "pipelines": [row.figures(len(empty), rows[0], forgive=bool(unlabelled)) for row in rows],
    }
    return report, [row.gallery for row in rows]


def _read_unlabelled(path: Path, scenes_path: Path, pictures: Collection[str]) -> dict[Path, list[LabelledBox]]:
    boxes = read_boxes(path)
    if strange := sorted(set(boxes) - set(pictures)):
        raise UsageError(f"{path} has boxes of {strange[0]}, which {scenes_path} has not: give the file that was made for it.")
    if other := {box.label for row in boxes.values() for box in row} - {UNLABELLED}:
        raise UsageError(f"{path} has the label {min(other)!r}: faces that nobody labelled are called {UNLABELLED!r}.")
    return {scenes_path.parent / image: row for image, row in boxes.items()}


def accuracy_table(report: dict[str, Any]) -> str:
    """Give the report as a Markdown table."""
    lines = [
        "| pipeline | F1 | of two labels only | unlabelled faces ignored | masked found | unmasked found | precision | "
        "false alarms a background | three-class F1 | cost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["pipelines"]:
        # Reports of before had two labels, no ratio and no interval.
        three, two, forgiving = row.get("three_class"), row.get("two_labels"), row.get("unlabelled_ignored")
        cells = [
            row["name"],
            _f1(row["together"]["f1"], row.get("f1_interval")),
            _f1(two and two["f1"], two and two.get("f1_interval")),
            _f1(forgiving and forgiving["f1"], forgiving and forgiving.get("f1_interval")),
            *(f"{row['labels'][label]['found']:.3f}" for label in TWO),
            f"{row['together']['precision']:.3f}",
            _known(row["false_alarms_a_background"]),
            _known(three and three["together"]["f1"]),
            _known(row.get("cost_ratio"), ".2f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    labelled = {label: report["pipelines"][0]["labels"][label]["labelled"] for label in TWO}
    lines += [
        "",
        f"{report['pictures']} pictures of `{report['scenes']}`{how_turned(report)} with {labelled['with_mask']} masked and "
        f"{labelled['without_mask']} unmasked faces of 32 px and more; {report['backgrounds']} pictures without people. "
        f"{_on_two_labels(report)}{_on_unlabelled(report)}{_on_interval(report)}Cost: "
        "time of a picture, finding and telling apart, to that of the first row in the same run.",
    ]
    return "\n".join(lines)


def how_turned(report: dict[str, Any]) -> str:
    """Say how far the pictures of a report were turned, between commas; nothing where they were not."""
    return f", turned by {report['degrees']:g} degrees," if report.get("degrees") else ""


def _on_two_labels(report: dict[str, Any]) -> str:
    if "two_labels" not in report["pipelines"][0]:
        return ""
    return (
        "F1 is that of masked and unmasked faces, where an answer `incorrect_mask` is wrong; of two labels only: as "
        "`edge-run --labels with_mask,without_mask` answers. "
    )


def _on_unlabelled(report: dict[str, Any]) -> str:
    count = report.get("unlabelled")
    return f"Unlabelled: {count} faces that the labels lack and --unlabelled names. " if count else ""


def _on_interval(report: dict[str, Any]) -> str:
    told = "f1_interval" in report["pipelines"][0]
    return f"F1 in brackets: 95 % of {DRAWS:,} draws of as many pictures from these, with replacement. " if told else ""


def _f1(value: float | None, interval: Sequence[float] | None) -> str:
    return _known(value) + (f" ({interval[0]:.3f} - {interval[1]:.3f})" if interval else "")


def _known(value: float | None, form: str = ".3f") -> str:
    return "not measured" if value is None else format(value, form)
