"""Clips: videos of the seconds before and after an alert."""

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
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.settings import Range, check_settings
from maskedge.sinks.recording.writer import CODECS, open_video_file
from maskedge.support.files import temporary_name
from maskedge.support.workers import Worker

from .base import Sink, SinkContext
from .retention import MediaFolder, Retention

_LEAST_FREE = 8 * 1024 * 1024
_DELAY = 0.5  # seconds; a frame that arrived in time may still be in a queue
_POLL = 0.05


@dataclass(frozen=True)
class ClipsConfig:
    """The section `[clips]`. Without a folder, no clips are stored."""

    folder: Path | None = field(
        default=None, metadata={"help": "folder for the videos of alerts with the action 'clip'", "camera": "folder"}
    )
    before: float = field(
        default=10.0, metadata={"help": "seconds of a clip before the start of the alert", "range": Range(0, 600)}
    )
    after: float = field(default=5.0, metadata={"help": "seconds of a clip after the start of the alert", "range": Range(0, 600)})
    fps: float = field(default=10.0, metadata={"help": "maximum number of frames per second", "range": Range(0.1, 120)})
    suffix: str = field(default=".mp4", metadata={"help": f"container: {', '.join(CODECS)}"})
    quality: int = field(default=80, metadata={"help": "JPEG quality in memory", "range": Range(1, 100)})
    memory_mb: float = field(
        default=64.0,
        metadata={
            "help": "memory in megabytes for the seconds before an alert; a small value shortens them",
            "range": Range(0.001, 65536),
        },
    )
    keep: int = field(default=50, metadata={"help": "number of clips to keep; 0: no limit", "range": Range(0, 1_000_000)})
    keep_days: float = field(default=30.0, metadata={"help": "days to keep a clip; 0: no limit", "range": Range(0, 36500)})
    keep_mb: float = field(
        default=1000.0, metadata={"help": "megabytes to keep in total; 0: no limit", "range": Range(0, 10_000_000)}
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
    by_frames: bool
    shots: list[_Shot] | None = None


class ClipSink(Sink):
    """Keeps the last seconds in memory, and writes them to a video at an alert.

    Published pictures are kept as JPEG. Encoding takes time, so a live source needs a queue in
    front of this sink. Videos are written on a separate thread.

    Args:
        config: The section, with a folder.

    Attributes:
        on_state: Called on another thread: with a message when a clip cannot be written, and with
            None when writing works again.

    Raises:
        UsageError: The section is invalid.
        OutputError: The folder cannot be written to.
    """

    name = "clips"
    section = "clips"
    settings_class = ClipsConfig

    def __init__(self, config: ClipsConfig) -> None:
        self.on_state: Callable[[str | None], None] = lambda _: None
        self._config = config
        self._folder = _open_folder(config)
        self._shots: deque[_Shot] = deque()
        self._bytes = 0
        self._forgotten = 0.0
        self._windows: list[_Window] = []
        self._lock = threading.Lock()
        self._writer: Worker[_Window] = Worker(
            "writing clips", self._write_window, lambda problem: self.on_state(problem), capacity=4
        )

    @classmethod
    def is_wanted(cls, settings: ClipsConfig) -> bool:
        """Return True if a folder is set."""
        return settings.folder is not None

    @classmethod
    def validate(cls, settings: ClipsConfig) -> None:
        """Refuse an unknown container and wrong seconds."""
        if settings.suffix not in CODECS:
            raise UsageError(f"[clips] suffix is one of {', '.join(CODECS)}.")
        if not 0 < settings.before + settings.after <= 600:
            raise UsageError("[clips] before and after are seconds: more than 0 and at most 600 together.")

    @classmethod
    def check(cls, settings: ClipsConfig) -> None:
        """Refuse invalid settings, and a folder that cannot be written to."""
        _open_folder(settings)

    @classmethod
    def open(cls, settings: ClipsConfig, context: SinkContext) -> Sink | None:
        """Create the sink."""
        return cls(settings)

    @property
    def held(self) -> int:
        """Size of the pictures in memory, in bytes."""
        return self._bytes

    def write(self, result: FrameResult) -> bool:
        """Keep the picture, unless the previous one is too recent."""
        moment = result.frame.moment
        if self._shots and moment - self._shots[-1].moment < 0.95 / self._config.fps:
            return True
        shot = _Shot(moment, encode_jpeg(result.picture, self._config.quality))
        with self._lock:
            if result.frame.arrival < self._forgotten:
                return True
            self._shots.append(shot)
            self._bytes += len(shot.jpeg)
            oldest = min([moment - self._config.before, *(window.start for window in self._windows)])
            while self._shots[0].moment < oldest or (self._bytes > self._config.memory_mb * 1e6 and len(self._shots) > 1):
                self._bytes -= len(self._shots.popleft().jpeg)
        return True

    def trigger(self, rule: str, seconds: float, film_s: float | None = None) -> None:
        """Start the clip of an alert, and return at once.

        Args:
            rule: Name of the rule.
            seconds: Start of the alert, in seconds since the epoch.
            film_s: Start of the alert in seconds of the video file; None for a camera. The alert of
                a camera starts now.
        """
        moment = time.perf_counter() if film_s is None else film_s
        window = _Window(rule, seconds, moment - self._config.before, moment + self._config.after, film_s is not None)
        with self._lock:
            self._windows.append(window)
        if not self._writer.submit(window):
            self._take(window)

    def forget_pictures(self) -> None:
        """Discard the last seconds. A clip that has begun then starts with the next picture."""
        with self._lock:
            self._shots.clear()
            self._bytes, self._forgotten = 0, time.perf_counter()

    def close(self) -> None:
        """Write the started clips, within a second."""
        self._writer.close()

    def _write_window(self, window: _Window) -> None:
        if window.shots is None:
            if window.by_frames:
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
        """Return the pictures of a time window and release them."""
        with self._lock:
            self._windows.remove(window)
            return [shot for shot in self._shots if window.start <= shot.moment <= window.end]


def _open_folder(config: ClipsConfig) -> MediaFolder:
    if config.folder is None:
        raise UsageError("an alert has the action 'clip': set the folder for its videos ([clips] folder).")
    ClipSink.validate(config)
    return MediaFolder(config.folder, config.suffix, Retention(config.keep, config.keep_days, config.keep_mb))


def write_video(path: Path, shots: Sequence[_Shot]) -> None:
    """Write pictures to a temporary video file, and rename the file.

    The video shows each picture at its time, in the size of the first picture.

    Args:
        path: The file; its suffix selects the container.
        shots: The pictures, oldest first. Without pictures, no file is written.

    Raises:
        OutputError: The file cannot be written.
    """
    if not shots:
        return
    beside = temporary_name(path, path.suffix)
    span = shots[-1].moment - shots[0].moment
    remedy = "free some space, or choose another [clips] folder"
    try:
        if shutil.disk_usage(path.parent).free < _LEAST_FREE + 2 * sum(len(shot.jpeg) for shot in shots):
            raise OutputError(f"{path} cannot be written (No space left on device): {remedy}.")
        # The video writer keeps the permissions of an existing file.
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        video = open_video_file(beside, (len(shots) - 1) / span if span > 0 else 1.0)
        try:
            for shot in shots:
                picture = np.asarray(cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
                video.write(picture, shot.moment)
        finally:
            video.close()
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): {remedy}.") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
