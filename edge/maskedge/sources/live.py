"""Live sources. They yield the newest frame and are opened again after a loss."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import numpy as np

from maskedge.errors import SourceError
from maskedge.types import Frame, Image

from .address import without_password
from .base import ENDED, LOST, OPEN, OPENING, BaseSource, stamp
from .config import SourceConfig
from .devices.capture import Opener

_SLICE = 0.1
"""Seconds between two checks of the clock while no frame arrives."""
_HANGING = 3
"""Maximum number of threads that hang in a device. While that many hang, no further attempts are
made."""


class _Grabber(threading.Thread):
    """Opens a device, reads it to its end and closes it.

    A driver may hang in any of these steps. The thread is then abandoned.

    Args:
        opener: Opens the device.
        name: Name of the source, without secrets.
        first: Number of the first frame.
        watch: True if a repetition of the previous picture does not count as a frame.
        sample: Pixels of the last picture of the source; None if there is none.
        changed: Lock of the data that both threads use. It is notified when the data change.
    """

    def __init__(
        self, opener: Opener, name: str, *, first: int, watch: bool, sample: Image | None, changed: threading.Condition
    ) -> None:
        super().__init__(name=f"grab {name}", daemon=True)
        self._opener = opener
        self._source = name
        self._first = first
        self._watch = watch
        self._changed = changed
        self.sample = sample
        self.started = self.read_at = self.fresh_at = time.monotonic()
        self.newest: Frame | None = None
        self.captured = self.dropped = self.damaged = 0
        self.fps = 0.0
        self.finite = False
        self.warnings: list[str] = []
        self.problem: SourceError | None = None
        self.ended = False
        self.abandoned = False

    def run(self) -> None:
        """Read until the device ends or this thread is abandoned."""
        problem: SourceError | None = None
        try:
            self._grab()
        except SourceError as error:
            problem = error
        except Exception as error:  # noqa: BLE001  (no failure of a driver may end the run)
            # The message of a library may contain the address.
            reason = without_password(" ".join(str(error).split())) or type(error).__name__
            problem = SourceError(f"{self._source} was lost: its driver failed ({reason}).")
        finally:
            with self._changed:
                self.problem = problem
                self.ended = True
                self._changed.notify_all()

    def _grab(self) -> None:
        device = self._opener()
        try:
            self.fps, self.finite, self.warnings = device.fps, device.finite, device.warnings
            skipped = 0
            while not self.abandoned:
                try:
                    image = device.read()
                finally:
                    self.damaged = device.damaged
                if image is None:
                    return
                repeated = self._watch and self._repeats(image)
                with self._changed:
                    self.read_at = time.monotonic()
                    self.captured += device.skipped - skipped
                    self.dropped += device.skipped - skipped
                    skipped = device.skipped
                    if not repeated:
                        self.fresh_at = self.read_at
                        self.dropped += self.newest is not None
                        self.newest = stamp(image, self._first + self.captured, self._source)
                        self.captured += 1
                        self._changed.notify_all()
        finally:
            device.close()

    def _repeats(self, image: Image) -> bool:
        """Return True for a repetition of the last picture.

        The noise of a sensor does not repeat, even in the dark.
        """
        height, width = image.shape[:2]
        sample = image[:: max(1, height // 48), :: max(1, width // 64)].copy()
        last, self.sample = self.sample, sample
        return last is not None and np.array_equal(sample, last)


class LiveSource(BaseSource):
    """A camera or a stream, read by a thread.

    The caller gets the newest frame. Older frames are dropped.

    The source is lost when it ends, delivers no frame for `stall_timeout`, or shows the same
    picture for `frozen_timeout`. Attempts to open it again follow, until one succeeds or
    `max_retries` consecutive attempts have failed. The wait between attempts doubles from
    `backoff_min` to `backoff_max`. Each wait is shortened at random by up to half, so that many
    devices do not reconnect at the same time. A damaged picture between intact pictures is not a
    loss. It is left out and counted in `skipped`.

    Args:
        name: Name of the source in events, without credentials.
        opener: Opens the device.
        config: Timeouts and waits.
    """

    def __init__(self, name: str, opener: Opener, config: SourceConfig) -> None:
        super().__init__(name, video=True, live=True, fps=config.fps or 30.0)
        self.state = OPENING
        self.message = ""
        self.retries = 0
        self._opener = opener
        self._config = config
        self._changed = threading.Condition()
        self._grabber: _Grabber | None = None
        self._abandoned: list[_Grabber] = []
        self._past = (0, 0, 0)
        self._sample: Image | None = None
        self._next_try = 0.0
        self._lost_at: float | None = None
        self._reported: tuple[str, str, int] | None = None

    def open(self) -> None:
        """Wait for the first frame.

        `frames` then yields it. Without this call, `frames` itself opens the device and tries again
        after failures.

        Raises:
            SourceError: No frame arrives.
        """
        try:
            self._try_to_open()
            while not self._stopping and self._grabber is not None:
                if self._wait(take=False) is not None:
                    self._note_frame()
                    return
                problem = self._diagnose(self._grabber)
                if problem is not None:
                    raise problem
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame at each step, until the source is stopped.

        Raises:
            SourceError: The source is lost, and `max_retries` attempts to open it again have
                failed.
        """
        self._reported = None
        self._report()
        while not self._stopping:
            frame = self._wait()
            if frame is not None:
                self._note_frame()
                yield frame
                continue
            grabber = self._grabber
            if grabber is None:
                self._try_to_open()
            elif grabber.ended and grabber.finite and grabber.problem is None:
                break
            else:
                problem = self._diagnose(grabber)
                if problem is not None:
                    self._note_loss(problem)
            self._report()
            self.on_wait()
        self.state, self.message = ENDED, ""
        self._report()

    def close(self) -> None:
        """Request the thread to release the device, and wait up to a second for its end."""
        self.stop()
        grabber = self._abandon()
        if grabber is not None:
            grabber.join(timeout=1)

    def _wait(self, *, take: bool = True) -> Frame | None:
        """Wait briefly for the newest frame, and update the counters."""
        with self._changed:
            # The wait is short, because a signal handler cannot notify. It may have interrupted
            # this block.
            self._changed.wait_for(lambda: self._grabber is not None and (self._grabber.newest or self._grabber.ended), _SLICE)
            self._count()
            if self._grabber is None:
                return None
            frame = self._grabber.newest
            if take:
                self._grabber.newest = None
            return frame

    def _count(self) -> None:
        captured, dropped, damaged = self._past
        if self._grabber is not None:
            captured += self._grabber.captured
            dropped += self._grabber.dropped
            damaged += self._grabber.damaged
        self.captured, self.dropped, self.skipped = captured, dropped, damaged

    def _try_to_open(self) -> None:
        """Start a thread that opens the device, if the wait is over."""
        if time.monotonic() < self._next_try:
            return
        self._abandoned = [grabber for grabber in self._abandoned if grabber.is_alive()]
        if len(self._abandoned) >= _HANGING:
            problem = f"{self.name} does not answer: {_HANGING} earlier attempts still hang in its driver; restart the device."
            self._note_loss(SourceError(problem))
            return
        watch = self._config.frozen_limit > 0
        self._grabber = _Grabber(
            self._opener, self.name, first=self.captured, watch=watch, sample=self._sample, changed=self._changed
        )
        self._grabber.start()

    def _diagnose(self, grabber: _Grabber) -> SourceError | None:
        """Return the error, or None while a frame may still arrive."""
        remedy = "check the cable or the network"
        if grabber.ended:
            return grabber.problem or SourceError(f"{self.name} ended or was lost: {remedy}.")
        now = time.monotonic()
        if grabber.read_at == grabber.started:
            # One second is added to the library's own timeout, because the library's message is
            # more precise.
            if now - grabber.started > self._config.open_timeout + 1:
                return SourceError(f"{self.name} did not answer within {self._config.open_timeout:g} s: {remedy}.")
        elif 0 < self._config.stall_timeout < now - grabber.read_at:
            return SourceError(f"{self.name} delivered no frame for {self._config.stall_timeout:g} s: {remedy}.")
        elif 0 < self._config.frozen_limit < now - grabber.fresh_at:
            return SourceError(
                f"{self.name} shows the same picture for {self._config.frozen_limit:g} s: restart the camera, or set "
                "frozen_timeout = 0 for a still scene."
            )
        return None

    def _note_frame(self) -> None:
        """Record that a frame arrived."""
        grabber = self._grabber
        if grabber is None or self.state == OPEN:
            return
        self.retries = 0
        self.message = ""
        if self._lost_at is not None:
            self.reconnects += 1
            self.message = f"{self.name} is back after {time.monotonic() - self._lost_at:.1f} s."
        if 0 < grabber.fps <= 1000:
            self.fps = grabber.fps
        self.warnings += [warning for warning in grabber.warnings if warning not in self.warnings]
        self.state = OPEN
        self._report()

    def _note_loss(self, problem: SourceError) -> None:
        """Record the loss or the failed attempt, and the time of the next attempt.

        Raises:
            SourceError: `max_retries` attempts have failed.
        """
        if self.state == OPEN:
            self._lost_at = time.monotonic()
        else:
            self.retries += 1
        self._abandon()
        self.message = str(problem)
        if self._config.max_retries is not None and self.retries >= self._config.max_retries:
            self.state = ENDED
            if self.retries:
                attempts = f"{self.retries} attempt{'s' if self.retries > 1 else ''}"
                self.message = f"given up after {attempts}: {problem}"
            self._report()
            raise SourceError(self.message)
        self.state = LOST
        wait = min(self._config.backoff_max, self._config.backoff_min * 2.0 ** min(self.retries, 30))
        self._next_try = time.monotonic() + wait * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)

    def _abandon(self) -> _Grabber | None:
        """Abandon the thread. It ends when its driver returns. Its further pictures are ignored."""
        with self._changed:
            self._count()
            grabber, self._grabber = self._grabber, None
            self._past = self.captured, self.dropped, self.skipped
            if grabber is None:
                return None
            grabber.abandoned = True
        self._sample = grabber.sample
        self._abandoned.append(grabber)
        return grabber

    def _report(self) -> None:
        """Call `on_state` when something has changed."""
        state = (self.state, self.message, self.retries)
        if state != self._reported:
            self._reported = state
            self.on_state(*state)
