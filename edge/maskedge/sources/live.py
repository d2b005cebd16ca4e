"""Cameras and network streams: the newest frame wins, and a loss is survived."""

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
from .devices import Opener

_SLICE = 0.1
"""Seconds between two looks at the clock while no frame comes."""
_HANGING = 3
"""Threads that may hang in a device that does not answer; no further attempts are made meanwhile."""


class _Grabber(threading.Thread):
    """Opens a device, reads it to its end and closes it. A driver may hang in any of it: then this thread is left alone.

    Args:
        opener: Opens the device.
        name: What the user called it.
        first: Number of its first frame.
        watch: True where a picture that stays the same counts as none.
        sample: Pixels of the last picture that the source gave, None where there was none.
        changed: Guards what both threads touch; notified when there is news.
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
        self.over = False
        self.leaving = False

    def run(self) -> None:
        """Work until the device gives no more, or until told to leave."""
        problem: SourceError | None = None
        try:
            self._work()
        except SourceError as error:
            problem = error
        except Exception as error:  # noqa: BLE001  (whatever a driver does, the run goes on)
            # Words of a library may hold the address.
            reason = without_password(" ".join(str(error).split())) or type(error).__name__
            problem = SourceError(f"{self._source} was lost: its driver failed ({reason}).")
        finally:
            with self._changed:
                self.problem = problem
                self.over = True
                self._changed.notify_all()

    def _work(self) -> None:
        device = self._opener()
        try:
            self.fps, self.finite, self.warnings = device.fps, device.finite, device.warnings
            skipped = 0
            while not self.leaving:
                image = device.read()
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
        """Tell whether `image` is the last one again: a sensor's noise never repeats, not even in the dark."""
        height, width = image.shape[:2]
        sample = image[:: max(1, height // 48), :: max(1, width // 64)].copy()
        last, self.sample = self.sample, sample
        return last is not None and np.array_equal(sample, last)


class LiveSource(BaseSource):
    """A camera or a stream. A thread of its own reads it; who asks gets the newest frame, and older ones are dropped.

    When it is lost (it ends, gives no frame for `stall_timeout`, or the same picture for `frozen_timeout`), it is opened again,
    after waits that double from `backoff_min` to `backoff_max`, each shortened at random by up to half, so that many devices do
    not come back at once; for ever, or until `max_retries` attempts in a row have failed. Damaged pictures between good ones are no
    loss: they are left out and counted in `skipped`.

    Args:
        name: What to call it in events, without name and password.
        opener: Opens the device.
        config: The times.
    """

    def __init__(self, name: str, opener: Opener, config: SourceConfig) -> None:
        super().__init__(name, video=True, live=True, fps=config.fps or 30.0)
        self.state = OPENING
        self.sentence = ""
        self.retries = 0
        self._opener = opener
        self._config = config
        self._changed = threading.Condition()
        self._grabber: _Grabber | None = None
        self._left: list[_Grabber] = []
        self._past = (0, 0, 0)
        self._sample: Image | None = None
        self._next_try = 0.0
        self._lost_at: float | None = None
        self._said: tuple[str, str, int] | None = None

    def open(self) -> None:
        """Wait for the first frame, which `frames` gives then. Without this, `frames` waits for it, and tries again.

        Raises:
            SourceError: There is none.
        """
        try:
            self._attempt()
            while not self._stopping and self._grabber is not None:
                if self._wait(take=False) is not None:
                    self._welcome()
                    return
                problem = self._trouble(self._grabber)
                if problem is not None:
                    raise problem
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[Frame]:
        """Give the newest frame each time, until the source is stopped.

        Raises:
            SourceError: It was lost, and `max_retries` attempts to open it again have failed.
        """
        self._said = None
        self._say()
        while not self._stopping:
            frame = self._wait()
            if frame is not None:
                self._welcome()
                yield frame
                continue
            grabber = self._grabber
            if grabber is None:
                self._attempt()
            elif grabber.over and grabber.finite and grabber.problem is None:
                break
            else:
                problem = self._trouble(grabber)
                if problem is not None:
                    self._lose(problem)
            self._say()
            self.on_wait()
        self.state, self.sentence = ENDED, ""
        self._say()

    def close(self) -> None:
        """Tell the thread to let go of the device, and give it a second."""
        self.stop()
        grabber = self._leave()
        if grabber is not None:
            grabber.join(timeout=1)

    def _wait(self, *, take: bool = True) -> Frame | None:
        """Wait a little for the newest frame. Keeps the counters."""
        with self._changed:
            # Short waits: a signal handler cannot notify, it may have interrupted this very block.
            self._changed.wait_for(lambda: self._grabber is not None and (self._grabber.newest or self._grabber.over), _SLICE)
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

    def _attempt(self) -> None:
        """Start a thread that opens the device, when it is time."""
        if time.monotonic() < self._next_try:
            return
        self._left = [grabber for grabber in self._left if grabber.is_alive()]
        if len(self._left) >= _HANGING:
            self._lose(SourceError(f"{self.name} does not answer: {_HANGING} earlier attempts still hang in its driver."))
            return
        watch = self._config.patience > 0
        self._grabber = _Grabber(
            self._opener, self.name, first=self.captured, watch=watch, sample=self._sample, changed=self._changed
        )
        self._grabber.start()

    def _trouble(self, grabber: _Grabber) -> SourceError | None:
        """Tell what is wrong; None while there is hope."""
        remedy = "check the cable or the network"
        if grabber.over:
            return grabber.problem or SourceError(f"{self.name} ended or was lost: {remedy}.")
        now = time.monotonic()
        if grabber.read_at == grabber.started:
            # A second more than the library has to give up by itself, with a better sentence.
            if now - grabber.started > self._config.open_timeout + 1:
                return SourceError(f"{self.name} did not answer within {self._config.open_timeout:g} s: {remedy}.")
        elif 0 < self._config.stall_timeout < now - grabber.read_at:
            return SourceError(f"{self.name} gave no frame for {self._config.stall_timeout:g} s: {remedy}.")
        elif 0 < self._config.patience < now - grabber.fresh_at:
            return SourceError(
                f"{self.name} gives the same picture for {self._config.patience:g} s: the camera hangs, or shows a still "
                "(frozen_timeout = 0 allows that)."
            )
        return None

    def _welcome(self) -> None:
        """Note that a frame came."""
        grabber = self._grabber
        if grabber is None or self.state == OPEN:
            return
        self.retries = 0
        self.sentence = ""
        if self._lost_at is not None:
            self.reconnects += 1
            self.sentence = f"{self.name} is back after {time.monotonic() - self._lost_at:.1f} s."
        if 0 < grabber.fps <= 1000:
            self.fps = grabber.fps
        self.warnings += [warning for warning in grabber.warnings if warning not in self.warnings]
        self.state = OPEN
        self._say()

    def _lose(self, problem: SourceError) -> None:
        """Note the loss or the failed attempt, and when to try again.

        Raises:
            SourceError: There were enough attempts.
        """
        if self.state == OPEN:
            self._lost_at = time.monotonic()
        else:
            self.retries += 1
        self._leave()
        self.sentence = str(problem)
        if self._config.max_retries is not None and self.retries >= self._config.max_retries:
            self.state = ENDED
            if self.retries:
                attempts = f"{self.retries} attempt{'s' if self.retries > 1 else ''}"
                self.sentence = f"given up after {attempts}: {problem}"
            self._say()
            raise SourceError(self.sentence)
        self.state = LOST
        wait = min(self._config.backoff_max, self._config.backoff_min * 2.0 ** min(self.retries, 30))
        self._next_try = time.monotonic() + wait * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)

    def _leave(self) -> _Grabber | None:
        """Leave the thread to itself: it ends when its driver returns, and what it still reads is ignored."""
        with self._changed:
            self._count()
            grabber, self._grabber = self._grabber, None
            self._past = self.captured, self.dropped, self.skipped
            if grabber is None:
                return None
            grabber.leaving = True
        self._sample = grabber.sample
        self._left.append(grabber)
        return grabber

    def _say(self) -> None:
        """Tell the listener, when there is news."""
        news = (self.state, self.sentence, self.retries)
        if news != self._said:
            self._said = news
            self.on_state(*news)
