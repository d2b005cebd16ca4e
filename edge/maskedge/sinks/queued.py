"""A sink on a thread of its own: whatever it does, the loop goes on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from maskedge.errors import OutputError
from maskedge.events import OUTPUT_BACK, OUTPUT_LOST, Event
from maskedge.results import FrameResult

from .base import Sink

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 30.0
_CLOSING = 1.0
"""Seconds for what still waits at the end."""


class QueuedSink:
    """Hands answers to another sink on its own thread, over a bounded queue.

    When the queue is full the oldest frame is dropped and counted; what happened in it stays as long as there is room. When the
    inner sink fails, that is announced once, and the same answer is tried again after a wait that doubles, `reopen()` first where
    the sink has it; success is announced too. `write` and `handle_event` never wait and never raise.

    Args:
        inner: The sink.
        source: What the user called the source, for the events.
        capacity: Answers that may wait.
        publish_event: Takes `output_lost` and `output_back`; called on the thread.
        first_wait: Seconds before the first further try.
    """

    def __init__(
        self,
        inner: Sink,
        *,
        source: str = "",
        capacity: int = 8,
        publish_event: Callable[[Event], None] = lambda _: None,
        first_wait: float = _FIRST_WAIT,
    ) -> None:
        self.name = inner.name
        self.inner = inner
        self.written = 0
        self.dropped = 0
        self.error: str | None = None
        self._source = source
        self._capacity = capacity
        self._publish_event = publish_event
        self._first_wait = first_wait
        self._waiting: deque[FrameResult | Event] = deque()
        self._changed = threading.Condition()
        self._enough = False
        self._closing: float | None = None
        self._failure: OutputError | None = None
        self._thread = threading.Thread(target=self._run, name=f"sink {self.name}", daemon=True)
        self._thread.start()

    def status(self) -> dict[str, Any]:
        """Give how it fares, as it stands in the state of the run."""
        return {
            # A sink that hands on to somebody else knows best what has arrived there.
            "written": getattr(self.inner, "delivered", self.written),
            "dropped": self.dropped,
            "state": "ok" if self.error is None else "lost",
            "error": self.error,
        }

    def write(self, answer: FrameResult) -> bool:
        """Queue the answer of a frame. False once the inner sink asked for the end of the run."""
        self._put(answer)
        return not self._enough

    def handle_event(self, event: Event) -> None:
        """Queue what happened between two frames."""
        self._put(event)

    def begin_close(self) -> None:
        """Take nothing more, and complete what waits: `close` then only waits for that."""
        with self._changed:
            if self._closing is None:
                self._closing = time.monotonic() + _CLOSING
            self._changed.notify()

    def close(self) -> None:
        """Complete what waits, for a second at most, and close the inner sink.

        Raises:
            OutputError: The inner sink could not complete its output, or still hangs.
        """
        self.begin_close()
        # A little longer than the thread gives itself, so that the inner sink has a moment to close.
        self._thread.join(max(0.0, (self._closing or 0.0) + 0.4 - time.monotonic()))
        if self._thread.is_alive():
            raise OutputError(f"the output {self.name} hangs and was left incomplete: check its disk or network.")
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _put(self, item: FrameResult | Event) -> None:
        with self._changed:
            if self._closing is not None:
                return
            self._waiting.append(item)
            if len(self._waiting) > self._capacity:
                self._shorten()
            self._changed.notify()

    def _shorten(self) -> None:
        """Drop the oldest frame; of one in which something happened keep that, while there is room for it."""
        for index, item in enumerate(self._waiting):
            if isinstance(item, FrameResult):
                del self._waiting[index]
                self.dropped += 1
                for event in reversed(item.events):
                    self._waiting.insert(index, event)
                break
        while len(self._waiting) > 16 * self._capacity:
            self._waiting.popleft()
            self.dropped += 1

    def _run(self) -> None:
        wait = self._first_wait
        while (item := self._next()) is not None:
            try:
                if self.error is not None and hasattr(self.inner, "reopen"):
                    self.inner.reopen()
                self._hand_over(item)
            except Exception as error:  # noqa: BLE001  (whatever a sink does, the loop goes on)
                sentence = str(error) if isinstance(error, OutputError) else f"the output {self.name} failed ({error!r})."
                with self._changed:
                    self._waiting.appendleft(item)
                if self.error is None:
                    self._say(OUTPUT_LOST, {"error": sentence})
                self.error = sentence
                with self._changed:
                    self._changed.wait_for(lambda: self._closing is not None, wait)
                    # There will be no better time: what waits would only fail again.
                    if self._closing is not None:
                        self.dropped += len(self._waiting)
                        self._waiting.clear()
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                # What many sinks do not write at all proves nothing: only a frame does.
                if self.error is not None and isinstance(item, FrameResult):
                    self.error = None
                    self._say(OUTPUT_BACK, {})
                if self.error is None:
                    wait = self._first_wait
        try:
            self.inner.close()
        except OutputError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001
            self._failure = OutputError(f"the output {self.name} could not be closed ({error!r}).")
        if self.error is not None and self._failure is None:
            self._failure = OutputError(self.error)

    def _next(self) -> FrameResult | Event | None:
        """Wait for what to do next; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing is not None)
            if self._closing is not None and time.monotonic() > self._closing:
                self.dropped += len(self._waiting)
                self._waiting.clear()
            return self._waiting.popleft() if self._waiting else None

    def _hand_over(self, item: FrameResult | Event) -> None:
        if isinstance(item, Event):
            self.inner.handle_event(item)
        elif not self.inner.write(item):
            self._enough = True
        else:
            self.written += 1

    def _say(self, kind: str, details: dict[str, Any]) -> None:
        self._publish_event(Event(kind, time.time(), self._source, {"output": self.name, **details}))
