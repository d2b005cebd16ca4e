"""Face detectors: the protocol, the registry and `load_detector`, which resolves names and files.

- `cascade`: boosted cascades in OpenCV (`haar`, `haar-stock`, `*.xml`).
- `network`: neural networks in ONNX Runtime (`cnn`, `*.onnx`).

A detector is one module of this package. It registers itself under a name or a file suffix:

    @register_detector("blobs")
    def _blobs(min_face_size: int | None, threads: int) -> FaceDetector:
        return BlobDetector(min_face_size)

`load_detector` imports every module of the package on first use, so no list needs an entry.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.types import Box, Image

DEFAULT_DETECTOR = "haar"
"""Name of the detector for a classifier with the label `not_a_face`."""
FACE_THRESHOLD = 0.94
"""Lowest probability of a face by the classifier alone, for a model file without thresholds.

It is the lowest threshold whose F1 is within 0.005 of the best on held-out pictures
(`edge-bench accuracy --held-out`).
"""
STANDALONE_NOTE = "the detector must be precise by itself"


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces that a detector found in one picture.

    Attributes:
        boxes: N boxes (x1, y1, x2, y2 in pixels of the picture), best first if the detector
            ranks them. They may extend slightly beyond the picture.
        scores: float32 `[N]`, 0 to 1; None if the detector does not score its boxes.
    """

    boxes: tuple[Box, ...]
    scores: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: Sequence[int]) -> Detections:
        """Return the detections at `rows`, in that order."""
        scores = None if self.scores is None else self.scores[list(rows)]
        return Detections(tuple(self.boxes[row] for row in rows), scores)


@runtime_checkable
class FaceDetector(Protocol):
    """Finds the faces of a picture. Subclasses inherit the defaults of a detector without scores.

    Attributes:
        default_threshold: Face threshold that suits the detector (`MaskDetector.face_threshold`).
        score_weights: Weights of the detector's score and of the classifier's probability in the
            face score (`scoring.fuse_scores`). None if the detector gives no scores: the
            classifier's probability is the face score.
        standalone_note: Clause for the user on how faces are found without a classifier that
            rejects non-faces.
    """

    default_threshold: float = FACE_THRESHOLD
    score_weights: tuple[float, float] | None = None
    standalone_note: str = STANDALONE_NOTE

    def detect(self, image: Image) -> Detections:
        """Detect the faces of `image`, uint8 `[H, W, 3]` BGR."""
        ...

    def standalone(self) -> FaceDetector:
        """Return the detector to use with a classifier that has no label `not_a_face`.

        The detectors here favour recall, and the classifier rejects non-faces. The standalone
        variant is precise by itself.
        """
        return self


class RegionDetector(FaceDetector, Protocol):
    """A detector that can search a part of a picture.

    Attributes:
        takes_regions: True. `as_region_detector` looks for this attribute.
    """

    takes_regions: bool = True

    def detect(self, image: Image, region: Box | None = None) -> Detections:
        """Detect the faces of a picture, or of a part of it.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            region: Part of the picture to search, x1, y1, x2, y2 in pixels, at the scale at which
                the whole picture is searched. None: the whole picture.

        Returns:
            The faces, with boxes in pixels of the whole picture.
        """
        ...


def as_region_detector(detector: FaceDetector) -> RegionDetector | None:
    """Return `detector` if it can search a part of a picture, otherwise None."""
    return cast("RegionDetector", detector) if getattr(detector, "takes_regions", False) else None


class BoxDetector(Protocol):
    """A user's own detector: any object whose `detect` returns a list of boxes, or `Detections`."""

    def detect(self, image: Image) -> Sequence[Box] | Detections:
        """Detect the faces of `image`, uint8 `[H, W, 3]` BGR."""
        ...


class _Adapter(FaceDetector):
    """A user's own detector with the defaults of `FaceDetector`."""

    def __init__(self, detector: BoxDetector) -> None:
        self.wrapped = detector

    def detect(self, image: Image) -> Detections:
        found = self.wrapped.detect(image)
        return found if isinstance(found, Detections) else Detections(tuple(found))


def adapt_detector(detector: FaceDetector | BoxDetector) -> FaceDetector:
    """Return `detector` itself if it has all members of `FaceDetector`, otherwise an adapter.

    The adapter has the defaults of a detector without scores.
    """
    return detector if isinstance(detector, FaceDetector) else _Adapter(detector)


Factory: TypeAlias = Callable[[int | None, int], FaceDetector]
"""Makes a detector from (min_face_size, threads)."""
FileFactory: TypeAlias = Callable[[Path, int | None, int], FaceDetector]
"""Makes a detector from (path, min_face_size, threads)."""

_names: dict[str, Factory] = {}
_suffixes: dict[str, FileFactory] = {}


def register_detector(name: str) -> Callable[[Factory], Factory]:
    """Register the decorated factory as the detector `name`."""

    def register(factory: Factory) -> Factory:
        _names[name] = factory
        return factory

    return register


def register_detector_file(suffix: str) -> Callable[[FileFactory], FileFactory]:
    """Register the decorated factory for detector files with `suffix`, such as `.onnx`."""

    def register(factory: FileFactory) -> FileFactory:
        _suffixes[suffix] = factory
        return factory

    return register


@cache
def _import_detectors() -> None:
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


def detector_names() -> tuple[str, ...]:
    """Return the names of the registered detectors, the default first, then alphabetically."""
    _import_detectors()
    return tuple(sorted(_names, key=lambda name: (name != DEFAULT_DETECTOR, name)))


def is_detector_file(detector: str) -> bool:
    """Return True if `detector` has the suffix of a detector file, False if it is a name."""
    _import_detectors()
    return Path(detector).suffix.lower() in _suffixes


def load_detector(
    detector: str | Path, *, file_type: str | None = None, min_face_size: int | None = None, threads: int = 1
) -> FaceDetector:
    """Load a detector by name or from a file.

    Args:
        detector: A name (`detector_names`) or the path of a detector file: a cascade (`.xml`) or
            a network (`.onnx`). A `Path` with any other suffix is treated as a network.
        file_type: The suffix whose loader reads the file, such as `.xml`, regardless of the name
            of the file. None: the file's own suffix.
        min_face_size: Side in pixels of the smallest face that must be found. The detector resizes
            the picture accordingly; its time is proportional to the area. None: the detector's
            default size. `haar-stock` always scans the full-size picture.
        threads: Threads that ONNX Runtime may use.

    Raises:
        ModelError: The file is missing, damaged or breaks the contract.
        UsageError: No detector has that name.
    """
    _import_detectors()
    suffix = file_type or Path(detector).suffix.lower()
    if file_type is not None or isinstance(detector, Path) or suffix in _suffixes:
        return _suffixes.get(suffix, _suffixes[".onnx"])(Path(detector), min_face_size, threads)
    if detector not in _names:
        raise UsageError(
            f"there is no detector {detector!r}; known are {', '.join(detector_names())}, "
            f"a cascade's .xml and a network's .onnx file."
        )
    return _names[detector](min_face_size, threads)
