"""The server side of the live view: receives a JPEG and returns its faces."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from typing import Any

from maskedge.errors import SourceError
from maskedge.privacy import hidden_boxes
from maskedge.rendering.draw import Mosaic, mosaics
from maskedge.rendering.theme import label_style
from maskedge.results import FrameResult
from maskedge.sources.base import stamp
from maskedge.support.pictures import decode_picture
from maskedge.tracking.transitions import ChangeWatcher
from maskedge.vision.pipeline import MaskDetector

from .model_library import ModelFile, build_detector
from .results import DisplayOptions, sort_labels
from .video_job import VideoStatistics

LIVE_PATH = "/maskedge/live"
"""Path of the endpoint; the token of a live view follows it."""
MAX_BYTES = 2_000_000
"""Maximum size of a picture in bytes; a JPEG of 640 x 480 has about 50,000."""
MAX_SESSIONS = 16
"""Maximum number of live views. The least recently used one is dropped first."""


class LiveSession:
    """A live view with its own detector, tracker and settings.

    Args:
        classifier: The classifier file.
        detector: A name (`detector_names`), or a detector file.
        options: The visitor's display options.
    """

    def __init__(self, classifier: ModelFile, detector: str | ModelFile, options: DisplayOptions) -> None:
        self._lock = threading.Lock()
        self._models = classifier, detector
        self._detector: MaskDetector | None = None
        self._statistics = VideoStatistics()
        self._watcher = ChangeWatcher()
        self._frames = 0
        self.options = options

    def configure(self, classifier: ModelFile, detector: str | ModelFile, options: DisplayOptions) -> None:
        """Apply new settings from the next picture.

        Another model also resets the count of people.
        """
        with self._lock:
            self.options = options
            if (classifier, detector) != self._models:
                self._models = classifier, detector
                self._reset()

    def reset(self) -> None:
        """Forget all tracks and people."""
        with self._lock:
            self._reset()

    def wait(self) -> None:
        """Wait for the detection in progress; the next picture uses it."""
        with self._lock:
            if self._detector is not None:
                self._detector.wait()

    def _reset(self) -> None:
        if self._detector is not None:
            self._detector.close()
        self._detector, self._statistics, self._watcher, self._frames = None, VideoStatistics(), ChangeWatcher(), 0

    def process(self, content: bytes, moment: float | None = None) -> dict[str, Any]:
        """Detect the faces of one picture.

        Unless faces are hidden, a thread detects, and the result has the tracks that the latest complete
        detection has corrected.

        Args:
            content: A JPEG file.
            moment: Time of the picture in seconds of `time.perf_counter` (default: now). Tracking
                uses this clock.

        Returns:
            `size`, `faces` (box, label, name, symbol, colour, score, track), `counts` and `people`
            by label name, `ms` by stage (`total` is from the arrival of the JPEG to the result),
            `notice` (a text or None), and `hidden`: the mosaics that cover faces, each with its
            region (`left`, `top`, `width`, `height`) and its colours (`#rrggbb`), row by row.

        Raises:
            SourceError: The content is not a picture.
        """
        with self._lock:
            if self._detector is None:
                self._detector = build_detector(*self._models, tracking=True, detect_every=2)
            detector, clock = self._detector, self._detector.clock
            # Detect in every frame if faces are hidden, so that a new face is covered at once.
            hide_faces = self.options.hide_faces
            detector.detect_every = 1 if hide_faces else 2
            detector.set_tracking_mode(asynchronous=not hide_faces, motion_gate=not hide_faces)
            # The clock starts before decoding, so that the latency includes decoding.
            arrival = time.perf_counter()
            try:
                with clock("capture"):
                    image = decode_picture(content)
            except ValueError as error:
                raise SourceError(f"The picture {error}.") from error
            self._frames += 1
            frame = stamp(image, self._frames, "live", arrival if moment is None else moment)
            faces = detector(image, frame.moment)
            tracks = detector.tracker.tracks if detector.tracker is not None else []
            events = self._watcher.observe(frame, faces, tracks)
            stages = clock.close_frame(arrival)
            clock.next_frame()
            adjusted = DisplayOptions(self.options.threshold, self.options.min_face_size).apply(
                FrameResult(frame, faces, stages, events=events)
            )
            self._statistics.write(adjusted)
            self._statistics.seconds.clear()
            people = self._statistics.people()
            tracks = detector.tracker.tracks if detector.tracker is not None else []
            hidden = mosaics(image, hidden_boxes(faces, tracks)) if self.options.hide_faces else []
        labels = [face.label for face in adjusted.faces]
        return {
            "size": [image.shape[1], image.shape[0]],
            "faces": [
                {**face.to_json(), "name": style.name, "symbol": style.symbol, "colour": style.picture}
                for face in adjusted.located
                for style in [label_style(face.label)]
            ],
            "counts": {label_style(label).name: labels.count(label) for label in sort_labels(labels)},
            "people": {label_style(label).name: people[label] for label in sort_labels(people)},
            "notice": detector.notice,
            "ms": {stage: round(value, 1) for stage, value in stages.items()},
            "hidden": [_to_json(mosaic) for mosaic in hidden],
        }


def _to_json(mosaic: Mosaic) -> dict[str, Any]:
    colours = [[f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in row] for row in mosaic.colours.tolist()]
    return {"left": mosaic.left, "top": mosaic.top, "width": mosaic.width, "height": mosaic.height, "colours": colours}


class LiveSessions:
    """The open live views of this server by token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, LiveSession] = OrderedDict()

    def open(self, session: LiveSession) -> str:
        """Register a live view and return its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._sessions[token] = session
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return token

    def find(self, token: str) -> LiveSession | None:
        """Return the live view of `token`; None if the token is unknown or the view was dropped."""
        with self._lock:
            if token in self._sessions:
                self._sessions.move_to_end(token)
            return self._sessions.get(token)


SESSIONS = LiveSessions()
"""The live views of this process. Pages open them; the endpoint finds them."""
