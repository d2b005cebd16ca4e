"""Work beside the loop: worker threads with a bounded queue and retries, and other programs."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from maskedge.errors import OutputError

_LIBRARIES = "LD_LIBRARY_PATH"
_QT = ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR")
_OPENCV = f"{os.sep}cv2{os.sep}"

T = TypeVar("T")
WAITS = (2.0, 10.0, 30.0)
"""Seconds between two attempts at a failing item."""


class PermanentError(OutputError):
    """A permanent failure, after which the item is not attempted again."""


class Worker(Generic[T]):
    """Processes work items in order, on its own threads.

    Args:
        name: Name of the worker, for messages about dropped items.
        do: Processes an item. It is called again after an `OutputError` that is not a
            `PermanentError`.
        on_state: Called with a message when items begin to fail or to be dropped, and with None when
            an item succeeds again. Called on a worker's thread, and on the thread that calls
            `submit` when the queue is full.
        capacity: Maximum number of waiting items. Further items are dropped.
        threads: Number of items processed at the same time.
        waits: Seconds between attempts.
        problem: What has failed before, and is over when an item succeeds; None for nothing. It may be
            set later, too.
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
        problem: str | None = None,
    ) -> None:
        self.stopping = threading.Event()
        self.dropped = 0
        self._name = name
        self._do = do
        self._on_state = on_state
        self._waits = waits
        self.problem = problem
        self._state_lock = threading.Lock()
        self._queue: queue.Queue[T | None] = queue.Queue(capacity)
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, item: T) -> bool:
        """Queue an item without waiting.

        Return False if the queue is full. The item is then dropped.
        """
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1
            self._set_state(f"{self._name} is too slow: {self._queue.maxsize} items wait already, and further ones are dropped.")
            return False
        return True

    def close(self, seconds: float = 1.0) -> None:
        """Stop. Waiting items are processed for up to `seconds`, with one attempt each."""
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
        while (item := self._next()) is not None:
            for wait in (*self._waits, None):
                try:
                    self._do(item)
                except OutputError as error:
                    self._set_state(str(error))
                    if isinstance(error, PermanentError) or wait is None or self.stopping.wait(wait):
                        break
                except Exception as error:  # noqa: BLE001  (a dead thread would process no later item, and report nothing)
                    # The text of the error is left out, because it may contain a URL with a secret.
                    self._set_state(f"{self._name} failed unexpectedly ({type(error).__name__}).")
                    break
                else:
                    self._set_state(None)
                    break

    def _next(self) -> T | None:
        """Wait for an item. Return None if the thread must end."""
        try:
            # If the queue was full when it was closed, no None follows.
            return self._queue.get(block=not self.stopping.is_set())
        except queue.Empty:
            return None

    def _set_state(self, problem: str | None) -> None:
        with self._state_lock:
            # One report per failure period: the next attempt may fail with another message.
            if (problem is None) == (self.problem is None):
                return
            self.problem = problem
        self._on_state(problem)


def child_environment() -> dict[str, str]:
    """Return the environment variables, without what OpenCV has added to them.

    OpenCV adds its folders for its own libraries. Behind them it leaves an empty entry, which stands
    for the working folder: a program would load libraries from there.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _QT or _OPENCV not in value}
    libraries = environment.pop(_LIBRARIES, "").split(os.pathsep)
    kept = [folder for folder in libraries if folder and _OPENCV not in folder]
    return environment | ({_LIBRARIES: os.pathsep.join(kept)} if kept else {})


def python_command(code: str, *arguments: str) -> list[str]:
    """Return the command that runs code in this Python, which imports nothing from the working folder."""
    # With -c, the search path would begin with the working folder.
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}", *arguments]
