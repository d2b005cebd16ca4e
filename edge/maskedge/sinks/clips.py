"""Clips: the seconds before and after an alert, as a video."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import OutputError, UsageError
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.settings import Range, check_settings
from maskedge.sinks.recording.writer import CODECS, open_film
from maskedge.support.files import temporary_name
from maskedge.support.workers import Worker

from .retention import MediaFolder, Retention
from .snapshots import encode_jpeg

_LEAST_FREE = 8 * 1024 * 1024
_DELAY = 0.5  # a frame that arrived in time may still be on its way through a queue
_POLL = 0.05


@dataclass(frozen=True)
class ClipsConfig:
    """The section `[clips]`. Without a folder nothing is stored."""

    folder: Path | None = field(default=None, metadata={"help": "folder for the videos of alerts with the action 'clip'"})
    before: float = field(default=10.0, metadata={"help": "seconds to keep from before an alert", "range": Range(0, 600)})
    after: float = field(default=5.0, metadata={"help": "seconds to add after its beginning", "range": Range(0, 600)})
    fps: float = field(default=10.0, metadata={"help": "frames a second, at most", "range": Range(0.1, 120)})
    suffix: str = field(default=".mp4", metadata={"help": f"container: {', '.join(CODECS)}"})
    quality: int = field(default=80, metadata={"help": "JPEG quality in memory", "range": Range(1, 100)})
    memory_mb: float = field(
        default=64.0,
        metadata={"help": "memory for the seconds before; fewer are kept where it does not suffice", "range": Range(0.001, 65536)},
    )
    keep: int = field(default=50, metadata={"help": "clips to keep; 0: any number", "range": Range(0, 1_000_000)})
    keep_days: float = field(default=30.0, metadata={"help": "days to keep them; 0: for ever", "range": Range(0, 36500)})
    keep_mb: float = field(
        default=1000.0, metadata={"help": "megabytes to keep of all together; 0: any size", "range": Range(0, 10_000_000)}
    )

    def __post_init__(self) -> None:
        check_settings(self, "clips")


@dataclass(frozen=True, slots=True)
class _Shot:
    moment: float
    jpeg: bytes


@dataclass(eq=False)
class _Window:
    rule: str
    time: float
    start: float
    end: float
    film: bool
    shots: list[_Shot] | None = None


class ClipSink:
    """Remembers the last seconds of the outgoing picture as JPEG, and writes them to a video when an alert asks for it.

    As a sink it encodes each picture that it takes: it belongs behind a queue. Videos are written on another thread.

    Args:
        config: The section, with a folder.

    Attributes:
        on_state: Called on another thread with a sentence when a clip cannot be written, and with None when one can again.

    Raises:
        UsageError: The section makes no sense.
        OutputError: The folder cannot be written to.
    """

    name = "clips"

    def __init__(self, config: ClipsConfig) -> None:
        if config.folder is None:
            raise UsageError("an alert has the action 'clip': say where its videos go ([clips] folder).")
        if config.suffix not in CODECS:
            raise UsageError(f"[clips] suffix is one of {', '.join(CODECS)}.")
        if not 0 < config.before + config.after <= 600:
            raise UsageError("[clips] before and after are seconds: more than 0 and 600 at most, together.")
        self.on_state: Callable[[str | None], None] = lambda _: None
        self._config = config
        self._folder = MediaFolder(config.folder, config.suffix, Retention(config.keep, config.keep_days, config.keep_mb))
        self._shots: deque[_Shot] = deque()
        self._bytes = 0
        self._windows: list[_Window] = []
        self._lock = threading.Lock()
        self._writer: Worker[_Window] = Worker(
            "writing clips", self._write_window, lambda problem: self.on_state(problem), capacity=4
        )

    @property
    def held(self) -> int:
        """Bytes of the pictures that are remembered."""
        return self._bytes

    def write(self, answer: FrameResult) -> bool:
        """Remember the picture, unless the last one is too fresh."""
        moment = answer.frame.moment
        if self._shots and moment - self._shots[-1].moment < 0.95 / self._config.fps:
            return True
        shot = _Shot(moment, encode_jpeg(answer.picture, self._config.quality))
        with self._lock:
            self._shots.append(shot)
            self._bytes += len(shot.jpeg)
            oldest = min([moment - self._config.before, *(window.start for window in self._windows)])
            while self._shots[0].moment < oldest or (self._bytes > self._config.memory_mb * 1e6 and len(self._shots) > 1):
                self._bytes -= len(self._shots.popleft().jpeg)
        return True

    def handle_event(self, event: Event) -> None:
        """Nothing to remember."""

    def trigger(self, rule: str, seconds: float, film_s: float | None = None) -> None:
        """Ask for the clip of an alert; never waits.

        Args:
            rule: Name of the rule.
            seconds: When it began, in seconds since the epoch.
            film_s: The same in seconds of the film, where the source is a video file; for a camera it begins now.
        """
        moment = time.perf_counter() if film_s is None else film_s
        window = _Window(rule, seconds, moment - self._config.before, moment + self._config.after, film_s is not None)
        with self._lock:
            self._windows.append(window)
        if not self._writer.submit(window):
            self._take(window)

    def close(self) -> None:
        """Write what was asked for, as far as it goes."""
        self._writer.close()

    def _write_window(self, window: _Window) -> None:
        if window.shots is None:
            if window.film:
                while self._newest() < window.end and not self._writer.stopping.wait(_POLL):
                    pass
            else:
                self._writer.stopping.wait(max(0.0, window.end + _DELAY - time.perf_counter()))
            window.shots = self._take(window)
        write_video(self._folder.path(window.rule, window.time), window.shots)
        self._folder.tidy()

    def _newest(self) -> float:
        with self._lock:
            return self._shots[-1].moment if self._shots else float("-inf")

    def _take(self, window: _Window) -> list[_Shot]:
        """Give the pictures of a window, and let the memory forget them."""
        with self._lock:
            self._windows.remove(window)
            return [shot for shot in self._shots if window.start <= shot.moment <= window.end]


def write_video(path: Path, shots: Sequence[_Shot]) -> None:
    """Write pictures as a video beside its place and rename it. Shown at the times at which they were taken, as large as the first.

    Args:
        path: The file; its suffix chooses the container.
        shots: The pictures, oldest first; without any nothing is written.

    Raises:
        OutputError: It cannot be written.
    """
    if not shots:
        return
    beside = temporary_name(path, path.suffix)
    span = shots[-1].moment - shots[0].moment
    remedy = "free some space, or choose another [clips] folder"
    try:
        if shutil.disk_usage(path.parent).free < _LEAST_FREE + 2 * sum(len(shot.jpeg) for shot in shots):
            raise OutputError(f"{path} cannot be written (No space left on device): {remedy}.")
        # Whoever writes it keeps the permissions of what is there.
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        film = open_film(beside, (len(shots) - 1) / span if span > 0 else 1.0)
        try:
            for shot in shots:
                picture = np.asarray(cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
                film.write(picture, shot.moment)
        finally:
            film.close()
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): {remedy}.") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
