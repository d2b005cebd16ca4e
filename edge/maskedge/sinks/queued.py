"""A sink behind a queue, so that a slow or failing output does not stop the loop."""

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
"""Maximum time for the remaining items at the end, in seconds."""


class QueuedSink(Sink):
    """Passes results to another sink through a bounded queue, on a separate thread.

    When the queue is full, the oldest frame is dropped and counted. Its events are kept while there
    is room. When the inner sink fails, `output_lost` is published once. The failed result is then
    tried again after waits that double. `reopen()` precedes each attempt. The first success
    publishes `output_back`. `write` and `handle_event` never wait and never raise.

    Args:
        inner: The sink.
        source: Display name of the source, for the events.
        capacity: Maximum number of waiting results.
        publish_event: Receives `output_lost` and `output_back`; called on the separate thread.
        first_wait: Seconds before the first retry.
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
        """Return written, dropped, state and error, as in the state of the run."""
        delivered = self.inner.delivered
        return {
            "written": self.written if delivered is None else delivered,
            "dropped": self.dropped,
            "state": "ok" if self.error is None else "lost",
            "error": self.error,
        }

    def write(self, result: FrameResult) -> bool:
        """Queue the result of a frame.

        Return False if the inner sink has requested the end of the run.
        """
        self._put(result)
        return not self._enough

    def handle_event(self, event: Event) -> None:
        """Queue an event that occurred between two frames."""
        self._put(event)

    def retire(self) -> None:
        """Withdraw what others keep about the camera."""
        self.inner.retire()

    def begin_close(self) -> None:
        """Accept no more items and write the remaining items. `close` then waits for the thread."""
        with self._changed:
            if self._closing is None:
                self._closing = time.monotonic() + _CLOSING
            self._changed.notify()

    def close(self) -> None:
        """Write the remaining items for at most a second, and close the inner sink.

        Raises:
            OutputError: The inner sink cannot complete its output, or hangs.
        """
        self.begin_close()
        # This limit is longer than that of the thread, so that the inner sink has time to close.
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
        """Drop the oldest frame. Its events stay in the queue while there is room."""
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
                if self.error is not None:
                    self.inner.reopen()
                self._write(item)
            except Exception as error:  # noqa: BLE001  (no failure of a sink may stop the loop)
                message = str(error) if isinstance(error, OutputError) else f"the output {self.name} failed ({error!r})."
                with self._changed:
                    self._waiting.appendleft(item)
                if self.error is None:
                    self._publish(OUTPUT_LOST, {"error": message})
                self.error = message
                with self._changed:
                    self._changed.wait_for(lambda: self._closing is not None, wait)
                    # The run ends, and the remaining items would fail again.
                    if self._closing is not None:
                        self.dropped += len(self._waiting)
                        self._waiting.clear()
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                # Many sinks ignore events, so only a written frame proves that the sink works.
                if self.error is not None and isinstance(item, FrameResult):
                    self.error = None
                    self._publish(OUTPUT_BACK, {})
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
        """Wait for the next item. Return None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing is not None)
            if self._closing is not None and time.monotonic() > self._closing:
                self.dropped += len(self._waiting)
                self._waiting.clear()
            return self._waiting.popleft() if self._waiting else None

    def _write(self, item: FrameResult | Event) -> None:
        if isinstance(item, Event):
            self.inner.handle_event(item)
        elif not self.inner.write(item):
            self._enough = True
        else:
            self.written += 1

    def _publish(self, kind: str, details: dict[str, Any]) -> None:
        self._publish_event(Event(kind, time.time(), self._source, {"output": self.name, **details}))
