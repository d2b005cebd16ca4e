"""Puts the parts of a run together as its configuration asks for."""

from __future__ import annotations

import hashlib
import queue
from pathlib import Path
from typing import Any

from maskedge.alerts.actions import Actions
from maskedge.alerts.rules import AlertEngine, check_labels
from maskedge.config import EdgeConfig, changed_keys
from maskedge.errors import UsageError
from maskedge.events import Event
from maskedge.sinks import EventSink, Sink, open_picture_output
from maskedge.sinks.clips import ClipSink
from maskedge.sinks.mqtt.sink import MqttSink
from maskedge.sinks.queued import QueuedSink
from maskedge.sinks.snapshots import SnapshotStore
from maskedge.sources import Source
from maskedge.system.health import HealthWatcher
from maskedge.system.rate_limiter import RateLimiter
from maskedge.system.sd_notify import SystemdNotifier
from maskedge.vision.detectors import CascadeDetector
from maskedge.vision.pipeline import MaskDetector
from maskedge.zones import Zones

from .loop import RunContext
from .outputs import check_run_outputs, put_recording_aside, source_paths
from .state import RunState

_AT_ONCE = (
    *("alerts", "zones.roi", "limits.max_fps", "limits.cpu_budget", "privacy.anonymize", "privacy.stats_only"),
    *("detect.every", "detect.face_threshold", "log.format", "log.level"),
)
"""What changes without a restart."""


def open_detector(config: EdgeConfig, *, every_frame: bool = False, chosen: bool = True) -> MaskDetector:
    """Open the nets.

    Args:
        config: The configuration.
        every_frame: Look for faces in every frame, whatever the configuration says.
        chosen: Whether the user chose the detector; if not, it depends on the labels of the model.

    Raises:
        ModelError: A file is refused.
        UsageError: No detector has that name.
    """
    detect = config.detect
    return MaskDetector(
        config.model.file,
        CascadeDetector.trained(detect.cascade) if detect.cascade else detect.detector if chosen else None,
        detector_model=detect.detector_model,
        detect_every=1 if every_frame else detect.every,
        face_threshold=detect.face_threshold,
        min_face_size=detect.min_face_size,
        labels=config.model.labels,
        threads=config.limits.threads,
        reidentify=not config.privacy.no_reidentification,
    )


def _published_rules(config: EdgeConfig) -> list[str]:
    """Name the rules that have a topic of their own."""
    return [rule.name for rule in config.alerts if "mqtt" in rule.actions]


class Wiring:
    """The outputs and the controls of a run.

    Args:
        config: The configuration.
        source: The opened source.
        detector: The opened nets.
        sinks: Takes the outputs, each as soon as it is open, so that a failure of a later one can close them.
        file: The edge.toml, which no output may overwrite.

    Attributes:
        context: What the loop has besides source, detector and sinks.
        warnings: What the user should know, one sentence each.
        page: Where the status page is, None without one.

    Raises:
        UsageError: Settings do not go together.
        OutputError: An output cannot be written.
        ImportError: A library of an extra is missing.
    """

    def __init__(
        self, config: EdgeConfig, source: Source, detector: MaskDetector, sinks: list[Sink], *, file: Path | None = None
    ) -> None:
        self._config = config
        self._source = source
        self._detector = detector
        self._sinks = sinks
        self.warnings: list[str] = []
        self.page: str | None = None
        self._event_queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        labels = list(detector.labels)
        self._state = RunState(source.name, labels=labels, model=self._model(labels), settings=self._settings())
        self._clips: ClipSink | None = None
        self._mqtt: MqttSink | None = None
        # All that only checks comes before what overwrites or opens.
        zones = Zones.parse(config.zones.roi)
        check_run_outputs(config, source, inputs=[detector.classifier.path, *([file] if file else [])])
        if config.clips.folder is not None:
            self._clips = ClipSink(config.clips)
        if config.output.save:
            self._open_save(config.output.save)
        if config.events.file:
            self._add(EventSink(config.events.file, config.events, live=source.live), capacity=64)
        if self._clips is not None:
            self._add(self._clips)
        if config.mqtt.url:
            self._open_mqtt(labels, zones)
        alerts, actions = self._watch(config, zones)
        rate_limiter = RateLimiter(config.limits.max_fps, config.limits.cpu_budget) if source.live else None
        health = HealthWatcher(source.name, self._take_health, self._event_queue.put) if source.live or config.web.serve else None
        self.context = RunContext(
            state=self._state,
            zones=zones,
            alerts=alerts,
            actions=actions,
            rate_limiter=rate_limiter,
            health=health,
            systemd=SystemdNotifier(),
            event_queue=self._event_queue,
            anonymize=config.privacy.anonymize,
            stats_only=config.privacy.stats_only,
        )
        if config.web.serve:
            self._open_web()

    def change(self, config: EdgeConfig, *, every_frame: bool = False) -> tuple[list[str], list[str]]:
        """Take another configuration, as far as that goes without a restart.

        Args:
            config: The new one. What makes no sense changes nothing.
            every_frame: Look for faces in every frame, whatever it says.

        Returns:
            Keys that have changed, and those that need a restart.

        Raises:
            UsageError: It makes no sense.
        """
        changed = changed_keys(self._config, config)
        context = self.context
        if {"alerts", "zones.roi"} & set(changed):
            zones = Zones.parse(config.zones.roi)
            alerts, actions = self._watch(config, zones)
            if context.actions is not None:
                context.actions.close()
            self._state.set_alerts(())
            context.zones, context.alerts, context.actions = zones, alerts, actions
            if self._mqtt is not None:
                self._mqtt.describe(_published_rules(config), zones.names)
        if context.rate_limiter is not None:
            context.rate_limiter.max_fps, context.rate_limiter.cpu_budget = config.limits.max_fps, config.limits.cpu_budget
        context.anonymize, context.stats_only = config.privacy.anonymize, config.privacy.stats_only
        self._detector.detect_every = 1 if every_frame else config.detect.every
        self._detector.set_face_threshold(config.detect.face_threshold)
        self._config = config
        return [key for key in changed if key in _AT_ONCE], [key for key in changed if key not in _AT_ONCE]

    def _add(self, sink: Sink, capacity: int = 8) -> None:
        """Add an output: of a live source behind a queue, of a file directly, so that nothing is left out."""
        if self._source.live:
            sink = QueuedSink(sink, source=self._source.name, capacity=capacity, publish_event=self._event_queue.put)
        self._sinks.append(sink)

    def _open_save(self, target: str) -> None:
        source = self._source
        kept = put_recording_aside(self._config, source)
        if kept is not None:
            self.warnings.append(kept)
        pictures = source_paths(source)
        self._add(open_picture_output(target, video=source.video, fps=source.fps, length=source.length, sources=pictures))

    def _open_mqtt(self, labels: list[str], zones: Zones) -> None:
        config = self._config
        self._mqtt = MqttSink(
            config.mqtt,
            source=self._source.name,
            snapshot=self._state.snapshot,
            publish_event=self._event_queue.put,
            labels=labels,
            alerts=_published_rules(config),
            zones=zones.names,
        )
        self._add(self._mqtt, capacity=64)

    def _open_web(self) -> None:
        from maskedge.sinks.web import Names, WebSink

        web = WebSink(
            self._config.web,
            self._state.snapshot,
            names=lambda: Names([rule.name for rule in self._config.alerts], self.context.zones.names),
        )
        self.warnings += web.warnings
        self.page = web.url
        if self._mqtt is not None:
            self._mqtt.set_page(web.url)
        # Its own thread does what takes time.
        self._sinks.append(web)

    def _watch(self, config: EdgeConfig, zones: Zones) -> tuple[AlertEngine | None, Actions | None]:
        """Make what watches for alerts and what acts on them."""
        rules, source = config.alerts, self._source
        if not rules:
            return None, None
        if not source.video:
            raise UsageError("alert rules are for cameras, streams and videos: single pictures have no time.")
        check_labels(rules, self._detector.labels)
        wanted = {action for rule in rules for action in rule.actions}
        actions = Actions(
            rules,
            source.name,
            snapshots=SnapshotStore(config.snapshots) if "snapshot" in wanted else None,
            clips=self._clips,
            set_alert=self._mqtt.set_alert if self._mqtt is not None else None,
        )
        try:
            engine = AlertEngine(rules, zones, source.name, live=source.live)
        except UsageError:
            actions.close()
            raise
        return engine, actions

    def _take_health(self, health: dict[str, Any]) -> None:
        self._state.set_health(health)
        if self.context.rate_limiter is not None:
            self.context.rate_limiter.throttled = bool(health["throttled"])

    def _model(self, labels: list[str]) -> dict[str, Any]:
        path = self._detector.classifier.path
        return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "labels": labels}

    def _settings(self) -> dict[str, Any]:
        config = self._config
        files = config.detect.cascade or config.detect.detector_model
        return {
            "detector": files.name if files else self._detector.detector_name,
            "detect_every": self._detector.detect_every,
            "threads": config.limits.threads,
            "max_fps": config.limits.max_fps,
            "cpu_budget": config.limits.cpu_budget,
            "anonymize": config.privacy.anonymize,
            "stats_only": config.privacy.stats_only,
            "no_reidentification": config.privacy.no_reidentification,
        }
