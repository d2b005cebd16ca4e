"""The actions that store pictures: `snapshot` and `clip`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from maskedge.errors import UsageError
from maskedge.events import ALERT, Event
from maskedge.results import FrameResult
from maskedge.sinks.clips import ClipSink
from maskedge.sinks.snapshots import SnapshotsConfig, SnapshotStore

from .action import Action, ActionContext
from .rules import AlertRule


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
        self._worker = self.context.threads.open("snapshots", "writing snapshots", target=self._settings.folder, capacity=4)
        self.workers = [self._worker]

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Queue the newest picture."""
        if event.kind == ALERT and result is not None:
            self._worker.submit(partial(self._save, rule.name, event.time, result))
        return []

    def _save(self, rule: str, seconds: float, result: FrameResult) -> None:
        if self.context.threads.may_use(result):
            self._store.save(rule, seconds, result)


class ClipAction(Action):
    """Stores a video of the seconds before and after the start of an alert."""

    name = "clip"

    def __init__(self, rules: Sequence[AlertRule], context: ActionContext) -> None:
        super().__init__(rules, context)
        self._clips: ClipSink = context.sink("clips", "folder", self.name, rules[0])

    def start(self) -> None:
        """Publish failures of the output as events."""
        self._clips.on_state = self.context.threads.report("clips")

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Start a clip."""
        if event.kind == ALERT:
            self._clips.trigger(rule.name, event.time, event.film_s)
        return []
