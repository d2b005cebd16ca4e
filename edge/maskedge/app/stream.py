"""The server's half of the live view: a JPEG in, the faces out, over this computer's own web server."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from typing import Any

from maskedge.errors import SourceError
from maskedge.privacy import hidden_boxes
from maskedge.rendering.draw import Mosaic, mosaics
from maskedge.rendering.theme import label_look
from maskedge.results import FrameResult
from maskedge.sources.base import stamp
from maskedge.support.pictures import decode_picture
from maskedge.tracking.transitions import ChangeWatcher
from maskedge.vision.pipeline import MaskDetector

from .model_library import ModelFile, build
from .results import Choice, in_order
from .video_job import VideoStatistics

LIVE_PATH = "/maskedge/live"
"""Where the endpoint is; the token of a live view follows."""
MAX_BYTES = 2_000_000
"""Bytes of the largest picture that is taken: a JPEG of 640 x 480 has about 50,000."""
MAX_SESSIONS = 16
"""Live views that are kept; the one that was silent longest makes room."""


class LiveSession:
    """One live view: its own detector, which follows its faces, and the user's settings.

    Args:
        classifier: Tells the faces apart.
        detector: Finds them.
        choice: What else the user chose.
    """

    def __init__(self, classifier: ModelFile, detector: str | ModelFile, choice: Choice) -> None:
        self._lock = threading.Lock()
        self._models = classifier, detector
        self._built: MaskDetector | None = None
        self._tally = VideoStatistics()
        self._watcher = ChangeWatcher()
        self._frames = 0
        self.choice = choice

    def use(self, classifier: ModelFile, detector: str | ModelFile, choice: Choice) -> None:
        """Take other settings from the next picture on; other models also forget the people so far."""
        with self._lock:
            self.choice = choice
            if (classifier, detector) != self._models:
                self._models = classifier, detector
                self._restart()

    def restart(self) -> None:
        """Forget the faces and people so far."""
        with self._lock:
            self._restart()

    def _restart(self) -> None:
        self._built, self._tally, self._watcher, self._frames = None, VideoStatistics(), ChangeWatcher(), 0

    def answer(self, content: bytes, moment: float | None = None) -> dict[str, Any]:
        """Answer one picture.

        Args:
            content: A JPEG file.
            moment: When it came, in seconds of `time.perf_counter`; now when left out. Faces are followed by this clock.

        Returns:
            What the page draws: `size`, `faces` (box, label, name, symbol, colour, score, track), `counts` and `people` by name,
            `ms` by stage (`total` is from the arrival of the JPEG to the answer), and `hidden`: the mosaics that cover faces, each
            with its region (`left`, `top`, `width`, `height`) and the colours (`#rrggbb`) of its squares, row by row.

        Raises:
            SourceError: It is no picture.
        """
        with self._lock:
            if self._built is None:
                self._built = build(*self._models, tracking=True, detect_every=2)
            detector, clock = self._built, self._built.clock
            # Faces that are hidden are found at once.
            detector.detect_every = 1 if self.choice.hide else 2
            # The clock starts before decoding: what the browser waits for is what counts.
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
            adjusted = Choice(self.choice.sure, self.choice.smallest).adjust(FrameResult(frame, faces, stages, events=events))
            self._tally.write(adjusted)
            self._tally.seconds.clear()
            people = self._tally.people()
            tracks = detector.tracker.tracks if detector.tracker is not None else []
            hidden = mosaics(image, hidden_boxes(faces, tracks)) if self.choice.hide else []
        labels = [face.label for face in adjusted.faces]
        return {
            "size": [image.shape[1], image.shape[0]],
            "faces": [
                {**face.to_json(), "name": look.name, "symbol": look.symbol, "colour": look.picture}
                for face in adjusted.located
                for look in [label_look(face.label)]
            ],
            "counts": {label_look(label).name: labels.count(label) for label in in_order(labels)},
            "people": {label_look(label).name: people[label] for label in in_order(people)},
            "ms": {stage: round(value, 1) for stage, value in stages.items()},
            "hidden": [_to_json(mosaic) for mosaic in hidden],
        }


def _to_json(mosaic: Mosaic) -> dict[str, Any]:
    colours = [[f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in row] for row in mosaic.colours.tolist()]
    return {"left": mosaic.left, "top": mosaic.top, "width": mosaic.width, "height": mosaic.height, "colours": colours}


class LiveSessions:
    """The live views of this server, by a token that only their page knows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, LiveSession] = OrderedDict()

    def open(self, session: LiveSession) -> str:
        """Take up a live view; give its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._sessions[token] = session
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return token

    def find(self, token: str) -> LiveSession | None:
        """Give the live view of `token`; None where there is none (any more)."""
        with self._lock:
            if token in self._sessions:
                self._sessions.move_to_end(token)
            return self._sessions.get(token)


SESSIONS = LiveSessions()
"""Those of this process: the pages open them, the web server's endpoint finds them."""
