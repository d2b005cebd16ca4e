"""Work that must never hold up the loop: a bounded queue, a thread, and tries until it succeeds."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from maskedge.errors import OutputError

T = TypeVar("T")
WAITS = (2.0, 10.0, 30.0)
"""Seconds between the tries of a piece of work that fails."""


class PermanentError(OutputError):
    """It could not be done, and another try would not help."""


class Worker(Generic[T]):
    """Does pieces of work one after the other on threads of its own.

    Args:
        name: What it does, for the sentence about work that was left out.
        do: Does a piece. Raises `OutputError` when it fails: it is tried again, but for `PermanentError`.
        on_state: Called on a worker's thread with a sentence when work fails, and with None when it succeeds again; each once.
        capacity: Pieces that may wait; what comes then is left out.
        threads: Pieces that are done at the same time.
        waits: Seconds between tries.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[T], None],
        on_state: Callable[[str | None], None],
        *,
        capacity: int = 16,
        threads: int = 1,
        waits: Sequence[float] = WAITS,
    ) -> None:
        self.stopping = threading.Event()
        self.dropped = 0
        self._name = name
        self._do = do
        self._on_state = on_state
        self._waits = waits
        self._problem: str | None = None
        self._state_lock = threading.Lock()
        self._queue: queue.Queue[T | None] = queue.Queue(capacity)
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, piece: T) -> bool:
        """Hand over a piece of work; never waits. False when too many wait already, and it was left out."""
        try:
            self._queue.put_nowait(piece)
        except queue.Full:
            self.dropped += 1
            self._set_state(f"{self._name} is too slow: {self._queue.maxsize} wait already, and more are left out.")
            return False
        return True

    def close(self, seconds: float = 1.0) -> None:
        """End: what waits is done if it takes no longer than `seconds`, and nothing is tried again."""
        self.stopping.set()
        end = time.monotonic() + seconds
        for _ in self._threads:
            try:
                self._queue.put(None, timeout=max(0.0, end - time.monotonic()))
            except queue.Full:
                break
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            for wait in (*self._waits, None):
                try:
                    self._do(piece)
                except OutputError as error:
                    self._set_state(str(error))
                    if isinstance(error, PermanentError) or wait is None or self.stopping.wait(wait):
                        break
                else:
                    self._set_state(None)
                    break

    def _set_state(self, problem: str | None) -> None:
        with self._state_lock:
            # Said once, whatever the words: the next attempt may fail in another way.
            if (problem is None) == (self._problem is None):
                return
            self._problem = problem
        self._on_state(problem)
