"""The compared pipelines: the original pipeline, ours, and ours with detection in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskedge.vision.detectors import DEFAULT_DETECTOR, BoxDetector, detector_names
from maskedge.vision.pipeline import DETECT_EVERY, MaskDetector

BASELINE_MODEL = Path(__file__).parents[1] / "models" / "seednet.onnx"
"""The original pipeline's classifier."""
BASELINE_DETECTOR = "haar-stock"
"""The original pipeline's detector."""


@dataclass(frozen=True)
class Pipeline:
    """One row of a comparison.

    Attributes:
        name: Name of the row.
        detector: Name of the detector.
        model: Classifier file; None for the bundled one.
        detect_every: Frames per detection. Tracks carry the faces in between.
        own_detector: A detector that has no name in `maskedge.vision.detectors`; None uses
            `detector`.
        eager: Name of the network that runs in eager PyTorch with random weights; None for ONNX
            Runtime.
    """

    name: str
    detector: str
    model: Path | None
    detect_every: int
    own_detector: BoxDetector | None = None
    eager: str | None = None

    def open(self, threads: int = 1) -> MaskDetector:
        """Load the pipeline.

        Raises:
            ModelError: A model file is refused.
            ImportError: `eager` is set and PyTorch is not installed.
        """
        detector = MaskDetector(self.model, self.own_detector or self.detector, threads=threads, detect_every=self.detect_every)
        if self.eager is not None:
            from .eager import EagerClassifier

            detector.classifier = EagerClassifier(detector.classifier.path, self.eager, threads)
            detector.analyzer.classifier = detector.classifier
        return detector


ORIGINAL = Pipeline("original (stock cascade at full size, seednet)", BASELINE_DETECTOR, BASELINE_MODEL, 1)
ORIGINAL_EAGER = Pipeline("original in eager PyTorch", BASELINE_DETECTOR, BASELINE_MODEL, 1, eager="seednet")


def _own() -> tuple[Pipeline, ...]:
    names = sorted((name for name in detector_names() if name != BASELINE_DETECTOR), key=lambda name: name != DEFAULT_DETECTOR)
    return tuple(
        Pipeline(f"default ({name}, edgenet)" if name == DEFAULT_DETECTOR else f"{name}, edgenet", name, None, DETECT_EVERY)
        for name in names
    )


PIPELINES = (ORIGINAL, *_own())
"""The first pipeline is the baseline of the ratios."""
EVERY_FRAME = tuple(
    Pipeline(f"{pipeline.detector}, edgenet, every frame", pipeline.detector, pipeline.model, 1) for pipeline in PIPELINES[1:]
)
"""Our pipelines with detection in every frame."""
