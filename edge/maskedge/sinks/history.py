"""The history as an output: counts by minute and events, in one file for all cameras."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge.events import (
    FACE_APPEARED,
    FACE_LEFT,
    LABEL_CHANGED,
    LINE_CROSSED,
    OUTPUT_BACK,
    OUTPUT_LOST,
    PERSONAL_KEYS,
    SOURCE_LOST,
    Event,
)
from maskedge.history.counting import FrameCounter
from maskedge.history.records import StoredEvent
from maskedge.results import FrameResult
from maskedge.settings import Range, check_settings

from .base import Sink, SinkContext, check_writable

if TYPE_CHECKING:
    from maskedge.history.store import Store

_COUNTED = (FACE_APPEARED, FACE_LEFT, LABEL_CHANGED, LINE_CROSSED)
"""Events about single people. The history counts them and does not keep them."""


@dataclass(frozen=True)
class HistoryConfig:
    """The section `[history]`."""

    file: str = field(
        default="", metadata={"help": "SQLite file for counts by minute and events; empty: no history is kept", "free": True}
    )
    days: float = field(
        default=365.0, metadata={"help": "days that counts and events are kept; 0: for ever", "range": Range(1, 36500, zero=True)}
    )
    megabytes: float = field(
        default=100.0,
        metadata={
            "help": "maximum size of the file in megabytes, about 2 for a camera and month; the oldest days go first; 0: no limit",
            "range": Range(1, 1_000_000, zero=True),
        },
    )

    def __post_init__(self) -> None:
        check_settings(self, "history")

    @property
    def path(self) -> Path | None:
        """The file; None if no history is kept."""
        return Path(self.file).expanduser() if self.file else None


class HistorySink(Sink):
    """Counts the faces of a camera, and passes the counts to the store.

    `write` only adds to counters in memory. The store writes them every few seconds on its own
    thread, and reports its failures. No position, identity or picture is kept.

    Args:
        store: The shared store. The sink releases it.
        context: The run.
    """

    name = section = "history"
    settings_class = HistoryConfig
    queue_capacity = None

    def __init__(self, store: Store, context: SinkContext) -> None:
        self._store: Store | None = store
        self._source = context.source.name
        self._camera = context.camera
        self._publish_event = context.publish_event
        self._counter = FrameCounter(context.camera)
        store.listen(self._report)

    @classmethod
    def is_wanted(cls, settings: HistoryConfig) -> bool:
        """Return True if a file is set."""
        return bool(settings.file)

    @classmethod
    def validate(cls, settings: HistoryConfig) -> None:
        """Refuse a file that is no history."""
        from maskedge.history.schema import check_kind_of_file  # loads SQLite

        if settings.path is not None:
            check_kind_of_file(settings.path)

    @classmethod
    def check(cls, settings: HistoryConfig) -> None:
        """Refuse a file that is no history or cannot be written."""
        from maskedge.history.schema import check_kind_of_file, is_in_use  # loads SQLite

        if settings.path is not None and not is_in_use(settings.path):
            check_kind_of_file(settings.path)
            check_writable(settings.path)

    @classmethod
    def open(cls, settings: HistoryConfig, context: SinkContext) -> Sink | None:
        """Open the store, unless the source is not live: its frames do not have the time of the clock."""
        from maskedge.history.store import share_store  # loads SQLite

        if settings.path is None or not context.source.live:
            context.warnings.append("the history counts cameras and streams, and files with --live: this run adds nothing to it.")
            return None
        return cls(share_store(settings.path, days=settings.days, megabytes=settings.megabytes), context)

    def write(self, result: FrameResult) -> bool:
        """Count the faces of a frame for the time since the last one, its new people and its events."""
        counts = self._counter.count_frame(result.frame.arrival, result.faces, result.zones, result.people)
        if self._store is not None:
            self._store.add(result.frame.time, counts)
        for event in result.events:
            self.handle_event(event)
        return True

    def handle_event(self, event: Event) -> None:
        """Count people who cross a line. Keep an event that is not about a single person."""
        if event.kind == SOURCE_LOST:
            self._counter.forget_last()
        if self._store is None:
            return
        if event.kind == LINE_CROSSED:
            self._store.add(event.time, [self._counter.count_crossing(event.details)])
        elif event.kind not in _COUNTED:
            kept = {name: value for name, value in event.details.items() if name not in PERSONAL_KEYS}
            self._store.add_event(StoredEvent(event.time, self._camera, event.kind, kept))

    def status(self) -> dict[str, Any] | None:
        """Return written, dropped, state and error of the store."""
        store = self._store
        if store is None:
            return None
        state = "ok" if store.error is None else "lost"
        return {"written": store.written, "dropped": store.dropped, "state": state, "error": store.error}

    def close(self) -> None:
        """Release the store. The last camera writes what is left.

        Raises:
            OutputError: The file cannot be written.
        """
        from maskedge.history.store import release_store

        store, self._store = self._store, None
        if store is not None:
            store.unlisten(self._report)
            release_store(store)

    def _report(self, problem: str | None) -> None:
        kind, details = (OUTPUT_BACK, {}) if problem is None else (OUTPUT_LOST, {"error": problem})
        self._publish_event(Event(kind, time.time(), self._source, {"output": self.name, **details}))
