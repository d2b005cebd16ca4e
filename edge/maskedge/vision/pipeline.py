"""`MaskDetector`, the public API.

It detects and classifies faces, tracks them, and decides each label by a vote.
"""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.config import DetectConfig, LimitsConfig
from maskedge.errors import ModelError, UsageError
from maskedge.support.timing import StageClock
from maskedge.tracking.elapsed import CallTimes
from maskedge.tracking.tracker import FaceTracker
from maskedge.types import Box, Face, Image

from .acceleration import accelerate
from .analysis import AnalysisRequest, FrameAnalyzer
from .classifier import MaskClassifier
from .detectors import BoxDetector, FaceDetector, adapt_detector, is_detector_file, load_detector
from .detectors.network import CnnDetector
from .operating_points import find_threshold
from .scoring import LabelChoice, Thresholds, suppress_rows
from .standalone import default_detector_name, rejects_non_faces, standalone_notice
from .video import VideoDetector
from .worker import DetectionWorker

DETECT_EVERY: int = DetectConfig.every
"""Default of `edge-run`: frames between detections, 5 detections per second at 25 frames/s.
Tracking a frame takes about 1/20 of the time of the cascade."""
_CORES_FOR_TWO = 4
"""Number of cores from which asynchronous detection uses two threads of OpenCV."""


@dataclass(frozen=True, slots=True)
class ScoredFace:
    """A face of a picture and its scores.

    Attributes:
        face: The face.
        face_score: Score of being a face, 0 to 1; compared with `face_threshold`.
        probabilities: float32 `[C]`, the classifier's probability of each label of the model.
    """

    face: Face
    face_score: float
    probabilities: npt.NDArray[np.float32]


class MaskDetector:
    """Finds the faces of a picture and classifies which of them wear a mask.

    Examples:
        >>> detector = MaskDetector()
        >>> [face.label for face in detector(np.zeros((480, 640, 3), np.uint8))]
        []

    Args:
        model: Classifier file; None for the bundled one.
        detector: Name or file of a detector (`load_detector`), a `FaceDetector`, or any object
            with a method `detect(image)` that returns a list of boxes (x1, y1, x2, y2 in pixels).
            None: `haar`, or `cnn` for a model without the label `not_a_face`.
        detector_model: Detector file (.onnx); replaces `detector`.
        tracking: Track faces from call to call and vote their labels. The calls are the frames of
            one video, in order.
        detect_every: With tracking, the number of frames between detections. Tracks follow the
            faces in between. At less than 25 frames/s, a detection runs after `detect_every` / 25
            s. It runs in two consecutive frames only if they are at least 2 x `detect_every` / 25 s
            apart. After a person is lost, it may run earlier.
        face_threshold: Lowest face score, 0 to 1: the classifier's probability, fused with the
            detector's score if it gives one. None for that of the operating point. A tracked face is
            kept down to 0.7 times this score. For a model without the label `not_a_face` the
            threshold applies to the detector's score alone; all detections without scores are
            accepted.
        operating_point: `balanced`, `high` (precision) or `recall`: a face threshold that the model
            carries for the detector. None: `balanced`, or the detector's default if the model
            carries none. Ignored with `face_threshold`.
        domain: `webcam` or `crowds`: the kind of pictures on which the operating point was chosen.
            None: `webcam`.
        min_face_size: Side in pixels of the smallest face (geometric mean of the box's sides);
            smaller ones are dropped. A detector given by name resizes the picture accordingly.
            None: every face that the detector finds.
        labels: Labels to choose from, two or more of the model's: each face gets the most probable
            of these. Default: all labels.
        threads: Threads that ONNX Runtime and OpenCV may use. Default: 1 for ONNX Runtime, since
            the networks are too small to benefit from more threads, and 2 for OpenCV if there are
            as many cores.
        reidentify: With tracking, a person who was lost for some seconds gets the same number
            again. False: descriptors of faces are not computed, and the person gets a new number.

    Raises:
        ModelError: A model file is refused.
        UsageError: No detector has that name, the model lacks a label, or a number is out of
            range.
    """

    thresholds: Thresholds
    """Decides which boxes are faces."""
    _threshold_choice: tuple[float | None, str | None, str | None]

    def __init__(
        self,
        model: Path | str | None = None,
        detector: str | Path | FaceDetector | BoxDetector | None = None,
        *,
        detector_model: Path | str | None = None,
        tracking: bool = False,
        detect_every: int = 1,
        face_threshold: float | None = None,
        operating_point: str | None = None,
        domain: str | None = None,
        min_face_size: int | None = None,
        labels: Sequence[str] | None = None,
        threads: int | None = None,
        reidentify: bool = True,
    ) -> None:
        # Creating the sections checks the ranges.
        DetectConfig(
            every=detect_every,
            face_threshold=face_threshold,
            operating_point=operating_point,
            domain=domain,
            min_face_size=min_face_size,
        )
        LimitsConfig(threads=threads)
        self._threads = threads
        self._set_threads()
        self.classifier = MaskClassifier(Path(model) if model is not None else None, threads or 1)
        if detector is None:
            detector = default_detector_name(self.classifier.labels)
        network = Path(detector_model) if detector_model is not None else None
        self.detector_name = _detector_name(network or detector)
        chosen = network or detector
        if isinstance(chosen, str | Path):
            file_type = None if network is None else ".onnx"
            chosen = load_detector(chosen, file_type=file_type, min_face_size=min_face_size, threads=threads or 1)
        self.detector = adapt_detector(chosen)
        self.provider = accelerate(self.classifier, threads or 1)
        """Where the classifier runs: `cpu`, or the name of an accelerator."""
        if isinstance(self.detector, CnnDetector):
            accelerate(self.detector, threads or 1)
        self.rejects_non_faces = rejects_non_faces(self.classifier.labels)
        """True if the classifier has the label `not_a_face`."""
        if not self.rejects_non_faces:
            self.detector = self.detector.standalone()
        self.analyzer = FrameAnalyzer(self.classifier, self.detector, self.detector_name)
        self._generation = 0
        self.on_replaced: Callable[[], None] = lambda: None
        """Called between two frames after other networks were taken up."""
        self._chosen_labels = labels
        self.detect_every = detect_every
        self.min_face_size = min_face_size
        self.set_face_threshold(face_threshold, operating_point, domain)
        self._reidentify = reidentify
        self.unsure_below = _unsure_below(self.classifier)
        """Probability below which a classification is unsure."""
        self.choice = LabelChoice(self.classifier, labels)
        self.candidates = 0
        """Boxes that the detector returned in its last run."""
        self._video: VideoDetector | None = None
        self._worker: DetectionWorker | None = None
        self._shared: DetectionWorker | None = None
        self._times = CallTimes()
        self.clock = StageClock()
        if tracking:
            self.start_tracking()

    def share(self, worker: DetectionWorker, *, reidentify: bool = True) -> MaskDetector:
        """Return a detector for another video. Both use the same networks.

        Its tracks, clock, thresholds and number of frames between detections are its own.

        Args:
            worker: The thread of asynchronous detection, made for `analyzer.analyze`. The caller
                closes it.
            reidentify: See the constructor.
        """
        other = copy.copy(self)
        other._video, other._worker, other._shared = None, None, worker
        other._reidentify, other.on_replaced = reidentify, lambda: None
        other._times, other.clock = CallTimes(), StageClock()
        if other._generation != other.analyzer.generation:
            other._take_up_networks()
        return other

    def variant(self, *, classifier: Path | None = None, detector: Path | str | None = None) -> MaskDetector:
        """Return a detector for single pictures with another network. It has the settings of this one.

        Args:
            classifier: Classifier file; None for the present one.
            detector: Name or file (.onnx) of a detector; None for the present one.

        Raises:
            ModelError: A file is refused, or the classifier has other labels.
            UsageError: The classifier lacks the operating point that was asked for.
        """
        other = copy.copy(self)
        other._video, other._worker, other._shared, other.on_replaced = None, None, None, lambda: None
        other._times, other.clock = CallTimes(), StageClock()
        threads, name, chosen = self._threads or 1, self.analyzer.name, self.analyzer.detector
        network = MaskClassifier(classifier, threads) if classifier is not None else self.analyzer.classifier
        if network.labels != self.classifier.labels:
            raise ModelError(
                f"{network.path.name} has the labels {', '.join(network.labels)}, and a running model can only be replaced by one "
                f"of {', '.join(self.classifier.labels)}: install it as model.file, and restart."
            )
        if detector is not None:
            name = _detector_name(detector)
            chosen = adapt_detector(load_detector(detector, min_face_size=self.min_face_size, threads=threads))
            chosen = chosen if self.rejects_non_faces else chosen.standalone()
        other.analyzer = self.analyzer.variant(network, chosen, name)
        other._take_up_networks()
        other.set_face_threshold(*self._threshold_choice)
        return other

    def replace_networks(self, other: MaskDetector) -> None:
        """Take the networks of a variant: this detector, and all that share its networks.

        Each of them goes over between two frames. Tracks stay.

        Args:
            other: Made by `variant`, of this detector or of one that shares its networks.

        Raises:
            ModelError: The analysis of a frame does not end.
        """
        self.analyzer.replace(other.analyzer)

    def _take_up_networks(self) -> None:
        """Use the networks that the analyzer has now."""
        self._generation = self.analyzer.generation
        self.classifier, self.detector, self.detector_name = self.analyzer.classifier, self.analyzer.detector, self.analyzer.name
        self.choice = LabelChoice(self.classifier, self._chosen_labels)
        self.unsure_below = _unsure_below(self.classifier)
        try:
            self.set_face_threshold(*self._threshold_choice)
        except UsageError:
            # A camera's own operating point may be missing in the new file: its threshold stays, unless it was that of another
            # kind of score.
            if self.thresholds.fused != (self.detector.score_weights is not None):
                self.thresholds = self._with_threshold(self.choose_face_threshold(None))
        self.on_replaced()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that faces get, in the model's order."""
        return self.choice.labels

    @property
    def notice(self) -> str | None:
        """A message about the model for the user, in one sentence; None if there is none."""
        if self.rejects_non_faces:
            return None
        return standalone_notice(self.classifier.path.name, self.detector)

    @property
    def face_threshold(self) -> float:
        """Lowest face score of a face, 0 to 1."""
        return self.thresholds.face_threshold

    def set_face_threshold(
        self, face_threshold: float | None, operating_point: str | None = None, domain: str | None = None
    ) -> None:
        """Set the lowest face score of a face. See `choose_face_threshold`."""
        self.thresholds = self._with_threshold(self.choose_face_threshold(face_threshold, operating_point, domain))
        self._threshold_choice = (face_threshold, operating_point, domain)

    def _with_threshold(self, face_threshold: float) -> Thresholds:
        return Thresholds(face_threshold, self.detector.score_weights is not None, self.min_face_size)

    def choose_face_threshold(
        self, face_threshold: float | None, operating_point: str | None = None, domain: str | None = None
    ) -> float:
        """Return the lowest face score that given settings select.

        Args:
            face_threshold: The score, 0 to 1; None for that of the operating point.
            operating_point: See the constructor.
            domain: See the constructor.

        Raises:
            UsageError: The model does not carry the operating point.
        """
        if face_threshold is None:
            card, path = self.classifier.contract.card, self.classifier.path
            face_threshold = find_threshold(card, self.detector_name, operating_point, domain, path)
        return self.detector.default_threshold if face_threshold is None else face_threshold

    @property
    def tracker(self) -> FaceTracker | None:
        """The tracks of the video; None without tracking."""
        return self._video.tracker if self._video is not None else None

    @property
    def is_asynchronous(self) -> bool:
        """True if no call waits for a detection."""
        return self._worker is not None

    def start_tracking(self, *, asynchronous: bool = False, motion_gate: bool = True, cpu_budget: float | None = None) -> None:
        """Track faces from the next call on. The faces of earlier calls are forgotten.

        Args:
            asynchronous: See `set_tracking_mode`.
            motion_gate: See `set_tracking_mode`.
            cpu_budget: See `set_tracking_mode`.
        """
        self.close()
        self._video = VideoDetector(self, reidentify=self._reidentify)
        self.set_tracking_mode(asynchronous=asynchronous, motion_gate=motion_gate, cpu_budget=cpu_budget)

    def set_tracking_mode(self, *, asynchronous: bool, motion_gate: bool = True, cpu_budget: float | None = None) -> None:
        """Change how faces are tracked. The tracks stay. Without tracking, nothing changes.

        Args:
            asynchronous: Detect and classify on a thread of their own, so that no call waits for
                them. The faces of a call are then the tracks, corrected by the latest detection
                that is complete. End the thread with `close`. False: a call waits for its
                detection, and the results do not depend on the speed of the machine.
            motion_gate: Search only the parts of the picture that have changed, and every fifth
                time the whole picture.
            cpu_budget: With `asynchronous`, CPU budget of the process in percent of one core; None
                for no limit. The thread pauses to stay within it.
        """
        if self._video is None:
            return
        self._video.motion_gate = motion_gate
        if asynchronous and self._worker is None:
            # With few cores, a detection on two of them would make the calls wait.
            cv2.setNumThreads(self._threads or (2 if (os.cpu_count() or 1) >= _CORES_FOR_TWO else 1))
            self._worker = self._shared or DetectionWorker(self.analyzer.analyze)
            if self._shared is None:
                # The thread of a detector that is dropped without `close` ends, too. At the end of
                # Python, a thread in the middle of C++ code would abort the process.
                self._finalizer = weakref.finalize(self, self._worker.close)
            self._video.set_client(self._worker.client())
        elif not asynchronous and self._worker is not None:
            self._video.set_client(None)
            self._end_worker()
        if self._worker is not None:
            self._worker.cpu_budget = cpu_budget

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait until the asynchronous detection in progress is complete; the next call uses it.

        Return False if it is not complete after `seconds`.
        """
        return self._video is None or self._video.wait(seconds)

    def forget_people(self) -> None:
        """Drop all tracks except the count of people."""
        if self._video is not None:
            self._video.forget()

    def close(self) -> None:
        """End the thread of asynchronous detection. The tracks stay, and later calls wait."""
        if self._video is not None:
            self._video.set_client(None)
        self._end_worker()

    def _end_worker(self) -> None:
        if self._worker is not None and self._shared is None:
            self._finalizer.detach()
            self._worker.close()
            self._set_threads()
        self._worker = None

    def _set_threads(self) -> None:
        cv2.setNumThreads(self._threads or min(2, os.cpu_count() or 1))

    def __call__(self, image: Image, moment: float | None = None) -> list[Face]:
        """Find and classify the faces of a picture, or of the next frame with tracking.

        Args:
            image: uint8 `[H, W, 3]`, BGR; grey `[H, W]` and BGRA `[H, W, 4]` are accepted too.
            moment: With tracking, the time at which the frame was taken, in seconds of a steady
                clock: the position in the video, or `time.perf_counter()` at the arrival of a
                camera frame. Votes and waits are measured with this clock. Defaults to the time of
                the call, at least 1/25 s after the previous one. This suits a live camera; a video
                that is read faster is treated as 25 frames/s.

        Returns:
            The faces, each with its box in pixels of `image` and its label.

        Raises:
            UsageError: `image` is not a picture, or `moment` is not finite.
        """
        image = as_bgr(image)
        if self._generation != self.analyzer.generation:
            self._take_up_networks()
        if self._video is not None:
            try:
                return self._video(image, self._times.stamp(moment))
            except ModelError as error:
                # Another video may have had the same error, and the network is replaced already.
                if self._generation == self.analyzer.generation and not self.analyzer.recover(error):
                    raise
                self._take_up_networks()
                return self._video.recover()
        return [scored.face for scored in self.detect(image)]

    def detect(self, image: Image, face_threshold: float | None = None) -> list[ScoredFace]:
        """Find and classify the faces of one picture without tracking, with their scores.

        Args:
            image: uint8 `[H, W, 3]`, BGR.
            face_threshold: Replaces the detector's own threshold for this call.
        """
        analysis = self.analyzer.analyze(AnalysisRequest(image), self.clock)
        self.candidates, scored = analysis.candidates, analysis.scored
        with self.clock("classify"):
            faces = [
                row for row, box in enumerate(scored.boxes) if self.thresholds.accepts(box, scored.face_scores[row], face_threshold)
            ]
            kept = suppress_rows(scored, faces)
        return [
            ScoredFace(
                self.label_face(scored.boxes[row], scored.probabilities[row]),
                float(scored.face_scores[row]),
                scored.probabilities[row],
            )
            for row in kept
        ]

    def label_face(self, box: Box, probabilities: npt.NDArray[np.float32]) -> Face:
        """Return a face with the most probable of `labels`.

        Args:
            box: x1, y1, x2, y2 in pixels.
            probabilities: float32 `[C]`, the classifier's result for the box.
        """
        restricted = self.choice.restrict(probabilities[None])[0]
        best = int(restricted.argmax())
        label, score = self.classifier.labels[best], float(restricted[best])
        return Face(box, label, score, label, score, unsure=score < self.unsure_below)


def _detector_name(detector: str | Path | FaceDetector | BoxDetector) -> str:
    """Return the name of a detector, the file name without its folder, or the name of a class.

    A detector that `load_detector` has loaded has the name that it would have here.
    """
    if isinstance(detector, Path):
        return detector.name
    if isinstance(detector, str):
        return Path(detector).name if is_detector_file(detector) else detector
    return str(getattr(detector, "name", type(detector).__name__))


def _unsure_below(classifier: MaskClassifier) -> float:
    """Return the probability below which a classification is unsure."""
    bound = classifier.contract.card.get("unsure_below")
    return float(bound) if isinstance(bound, int | float) else 0.0


def as_bgr(image: Image) -> Image:
    """Convert a grey `[H, W]` or BGRA `[H, W, 4]` picture to uint8 `[H, W, 3]`, BGR.

    Raises:
        UsageError: The array is not a picture: its dtype or shape is wrong, or it is empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"a picture is a uint8 array [H, W, 3] in BGR order, got {got}.")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    if image.shape[2] != 3:
        raise UsageError(f"a picture has 1, 3 or 4 channels, got {image.shape[2]}.")
    return image
