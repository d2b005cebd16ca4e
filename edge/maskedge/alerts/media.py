"""The actions that store pictures: `snapshot` and `clip`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from maskedge.errors import UsageError
from maskedge.events import ALERT, Event
from maskedge.results import FrameResult
from maskedge.sinks.clips import ClipSink
from maskedge.sinks.snapshots import SnapshotsConfig, SnapshotStore
from maskedge.support.workers import Worker

from .action import Action, ActionContext
from .rules import AlertRule

_Picture: TypeAlias = tuple[str, float, FrameResult]


class SnapshotAction(Action):
    """Stores the picture at the start of an alert.

    A picture that cannot be written is tried again.
    """

    name = "snapshot"
    section = "snapshots"
    settings_class = SnapshotsConfig

    def __init__(self, rules: Sequence[AlertRule], context: ActionContext) -> None:
        super().__init__(rules, context)
        self._settings: SnapshotsConfig = context.settings.get(self.section, SnapshotsConfig())
        if self._settings.folder is None:
            raise UsageError(f"alert rule {rules[0].name!r} has the action 'snapshot': set [snapshots] folder.")

    def open(self) -> None:
        """Open the folder."""
        self._store = SnapshotStore(self._settings)

    def start(self) -> None:
        """Start the thread that writes pictures."""
        report = self.context.report("snapshots")
        self._worker: Worker[_Picture] = Worker("writing snapshots", self._save, report, capacity=4, waits=self.context.waits)
        self.workers = [self._worker]

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Queue the newest picture."""
        if event.kind == ALERT and result is not None:
            self._worker.submit((rule.name, event.time, result))
        return []

    def _save(self, picture: _Picture) -> None:
        if self.may_use(picture[2]):
            self._store.save(*picture)


class ClipAction(Action):
    """Stores a video of the seconds before and after the start of an alert."""

    name = "clip"

    def __init__(self, rules: Sequence[AlertRule], context: ActionContext) -> None:
        super().__init__(rules, context)
        self._clips: ClipSink = context.sink("clips", "folder", self.name, rules[0])

    def start(self) -> None:
        """Publish failures of the output as events."""
        self._clips.on_state = self.context.report("clips")

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Start a clip."""
        if event.kind == ALERT:
            self._clips.trigger(rule.name, event.time, event.film_s)
        return []
