"""Construction of a run from its configuration."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge.alerts.actions import Actions
from maskedge.alerts.engine import AlertEngine
from maskedge.alerts.registry import ACTIONS, check_labels, check_rules, unused_settings
from maskedge.config import DetectConfig, EdgeConfig, PrivacyConfig, changed_keys
from maskedge.errors import ModelError, UsageError
from maskedge.events import UNNAMED, Event
from maskedge.modelfile.onnx_session import choose_provider
from maskedge.modelfile.precision import choose_precision
from maskedge.modelfile.signature import read_signature
from maskedge.modelfile.trusted import trust_keys
from maskedge.sinks import sink_classes
from maskedge.sinks.base import RunNames, Sink, SinkContext
from maskedge.sinks.queued import QueuedSink
from maskedge.sources import Source
from maskedge.system.health import HealthWatcher
from maskedge.system.rate_limiter import RateLimiter
from maskedge.system.sd_notify import SystemdNotifier
from maskedge.tracking.lines import LineCounter, parse_lines
from maskedge.vision.detectors import FaceDetector, load_detector
from maskedge.vision.pipeline import MaskDetector
from maskedge.vision.worker import DetectionWorker
from maskedge.zones import Zones

from .context import RunContext
from .outputs import check_run_outputs
from .state import RunState

if TYPE_CHECKING:
    from maskedge.remote.model_update import ModelUpdater

WITHOUT_RESTART = (
    *("alerts", "line", "zones.roi", "limits.max_fps", "limits.cpu_budget", "privacy.anonymize", "privacy.stats_only"),
    *("detect.every", "detect.face_threshold", "detect.operating_point", "detect.domain", "detect.sync", "detect.motion_gate"),
    *("log.format", "log.level", "fleet.commands", "fleet.trusted_keys"),
)
"""Keys that take effect on a reload."""


def open_detector(
    config: EdgeConfig, *, every_frame: bool = False, chosen: bool = True, updater: ModelUpdater | None = None
) -> MaskDetector:
    """Load the detector and the classifier.

    Args:
        config: The configuration.
        every_frame: Detect faces in every frame, regardless of the configuration.
        chosen: True if the user chose the detector. Otherwise the detector depends on the labels of
            the model.
        updater: Updates the models of the device. Its models replace the bundled ones.

    Raises:
        ModelError: A file is refused.
        UsageError: No detector has that name.
    """
    choose_precision(config.model.precision)
    choose_provider(config.model.provider)
    trust_keys(config.model.trusted_keys)
    if updater is None:
        return _open_detector(config, None, None, every_frame=every_frame, chosen=chosen)
    return updater.open(
        lambda classifier, detector: _open_detector(config, classifier, detector, every_frame=every_frame, chosen=chosen)
    )


def _open_detector(
    config: EdgeConfig, classifier: Path | None, network: Path | None, *, every_frame: bool, chosen: bool
) -> MaskDetector:
    """Load the detector and the classifier; `classifier` and `network` replace the bundled ones."""
    detect = config.detect
    return MaskDetector(
        config.model.file or classifier,
        _load_cascade(detect) or (detect.detector if chosen else None),
        detector_model=detect.detector_model or network,
        detect_every=1 if every_frame else detect.every,
        face_threshold=detect.face_threshold,
        operating_point=detect.operating_point,
        domain=detect.domain,
        min_face_size=detect.min_face_size,
        labels=config.model.labels,
        threads=config.limits.threads,
        reidentify=not config.privacy.no_reidentification,
    )


def share_detector(detector: MaskDetector, config: EdgeConfig, worker: DetectionWorker) -> MaskDetector:
    """Return a detector for a named camera, which uses the networks of `detector`.

    Args:
        detector: The detector of the process.
        config: The configuration of the camera.
        worker: The detection thread of the process.
    """
    shared = detector.share(worker, reidentify=not config.privacy.no_reidentification)
    shared.detect_every = 1 if detects_every_frame(config) else config.detect.every
    shared.min_face_size = config.detect.min_face_size
    detect = config.detect
    shared.set_face_threshold(detect.face_threshold, detect.operating_point, detect.domain)
    return shared


def detects_every_frame(config: EdgeConfig) -> bool:
    """Return True if faces must be detected in every frame.

    With `anonymize`, every frame is needed to hide a new face at once. A value of `every` set by
    the user takes precedence.
    """
    return config.privacy.anonymize and "detect.every" not in config.given


def check_rules_of(config: EdgeConfig, labels: Sequence[str]) -> None:
    """Check the zones, the lines and the alert rules of a configuration.

    Args:
        config: The configuration.
        labels: Labels that faces get.

    Raises:
        UsageError: A zone, a line or a rule is invalid.
    """
    zones = Zones.parse(config.zones.roi)
    parse_lines(config.lines)
    check_rules(config.alerts, zones)
    check_labels(config.alerts, labels)


def start_tracking(config: EdgeConfig, source: Source, detector: MaskDetector) -> None:
    """Start to track the faces of a video."""
    detector.start_tracking(**_tracking_mode(config, source))


def _tracking_mode(config: EdgeConfig, source: Source) -> dict[str, Any]:
    """Return the arguments of `MaskDetector.set_tracking_mode`.

    With `anonymize`, a new face must be hidden in the very frame in which it appears.
    """
    detect, anonymize = config.detect, config.privacy.anonymize
    waits = anonymize or (not source.live if detect.sync is None else detect.sync)
    return {
        "asynchronous": not waits,
        "motion_gate": detect.motion_gate and not anonymize,
        "cpu_budget": config.limits.cpu_budget if source.live else None,
    }


def _load_cascade(detect: DetectConfig) -> FaceDetector | None:
    if detect.cascade is None:
        return None
    return load_detector(detect.cascade, file_type=".xml", min_face_size=detect.min_face_size)


class Run:
    """The outputs and the context of a run. `build_run` creates it.

    Attributes:
        context: Parts of the run for the loop.
        sinks: The outputs, in the order of writing.
        warnings: Messages for the user, logged as warnings.
        notices: Messages for the user, logged as information.
        page: Address of the status page; None if there is none.
    """

    def __init__(
        self,
        config: EdgeConfig,
        source: Source,
        detector: MaskDetector,
        sinks: list[Sink],
        *,
        systemd: SystemdNotifier | None = None,
        shared: dict[str, Any] | None = None,
    ) -> None:
        self.sinks = sinks
        self.warnings: list[str] = []
        self.notices: list[str] = []
        self.page: str | None = None
        self._config = config
        self._source = source
        self._detector = detector
        self._shared = {} if shared is None else shared
        self._opened: dict[str, Sink] = {}
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        models = describe_models(detector)
        camera, device = config.camera or UNNAMED, config.device.shown_name
        settings = _describe_settings(config, detector)
        state = RunState(source.name, labels=detector.labels, models=models, settings=settings, camera=camera, device=device)
        self.context = RunContext(
            state=state,
            zones=Zones.parse(config.zones.roi),
            lines=LineCounter(parse_lines(config.lines), detector.labels),
            systemd=systemd or SystemdNotifier(),
            event_queue=self._events,
            anonymize=config.privacy.anonymize,
            stats_only=config.privacy.stats_only,
            camera=camera,
            device=device,
        )
        detector.on_replaced = self._take_up_models

    def open(self, *, file: Path | None, stopped: Callable[[], bool]) -> None:
        """Open the outputs, the alerts and the watchers. See `build_run`."""
        config, source, context = self._config, self._source, self.context
        # These checks come before anything that opens or overwrites. A sink or an action that can
        # only be checked by opening it (a port, a broker's certificate) is refused later.
        self._check_rules(config, context.zones)
        if context.lines and not source.video:
            raise UsageError("lines are for cameras, streams and videos: nobody moves in a single picture.")
        self._state.set_lines(context.lines.counts)
        check_run_outputs(config, source, inputs=[self._detector.classifier.path, *([file] if file else [])])
        wanted = [(sink, getattr(config, sink.section)) for sink in sink_classes() if sink.is_wanted(getattr(config, sink.section))]
        for sink, settings in wanted:
            sink.check(settings)
        facts = SinkContext(
            source=source,
            labels=list(self._detector.labels),
            snapshot=self._state.snapshot,
            publish_event=self._events.put,
            names=self._names,
            stopped=stopped,
            warnings=self.warnings,
            notices=self.notices,
            camera=context.camera,
            device=context.device,
            named=bool(config.camera),
            shared=self._shared,
            history=config.history.path,
            fleet=config.fleet.enabled,
        )
        for sink, settings in wanted:
            opened = sink.open(settings, facts)
            if opened is not None:
                self._add(sink, opened)
        for opened in self._opened.values():
            if self.page is not None:
                opened.set_page(self.page)
        context.alerts, context.actions = self._open_alerts(config, context.zones)
        self.warnings += [f"{problem}: {remedy}." for problem, remedy in unused_settings(config.alerts)]
        if source.live:
            context.rate_limiter = RateLimiter(config.limits.max_fps, config.limits.cpu_budget)
        if source.live or self.page is not None:
            context.health = HealthWatcher(source.name, self._take_health, self._events.put)

    def change(self, config: EdgeConfig, *, every_frame: bool = False) -> tuple[list[str], list[str]]:
        """Apply a new configuration as far as possible without a restart.

        Args:
            config: The new configuration. If it is invalid, nothing changes.
            every_frame: Detect faces in every frame, regardless of the configuration.

        Returns:
            The changed keys that are in effect, and the changed keys that need a restart.

        Raises:
            UsageError: The configuration is invalid.
        """
        changed = changed_keys(self._config, config)
        context, detect, lines = self.context, config.detect, parse_lines(config.lines)
        # First, because the model may lack the operating point.
        self._detector.choose_face_threshold(detect.face_threshold, detect.operating_point, detect.domain)
        at_once = list(WITHOUT_RESTART)
        anew = bool({"alerts", "zones.roi"} & set(changed))
        if anew:
            zones = Zones.parse(config.zones.roi)
            self._check_rules(config, zones)
            alerts, actions = self._open_alerts(config, zones)
        # Before the actions so far end, which may still have pictures to write and to send.
        self._tighten_privacy(config.privacy)
        if anew:
            self._end_alerts(alerts, actions)
            context.zones, context.alerts, context.actions = zones, alerts, actions
            # The new actions have the new settings.
            at_once += [key for key in changed if key.partition(".")[0] in {action.section for action in ACTIONS}]
        context.lines.change(lines)
        self._state.set_lines(context.lines.counts)
        if context.rate_limiter is not None:
            context.rate_limiter.max_fps, context.rate_limiter.cpu_budget = config.limits.max_fps, config.limits.cpu_budget
        self._detector.detect_every = 1 if every_frame else detect.every
        self._detector.set_face_threshold(detect.face_threshold, detect.operating_point, detect.domain)
        self._detector.set_tracking_mode(**_tracking_mode(config, self._source))
        self._config = config
        self._state.update_settings(_reloadable_settings(config, self._detector))
        if {"alerts", "line", "zones.roi", "fleet.commands"} & set(changed):
            for opened in self._opened.values():
                opened.update_names(self._names())
        return [key for key in changed if key in at_once], [key for key in changed if key not in at_once]

    def _tighten_privacy(self, privacy: PrivacyConfig) -> None:
        """Apply the section `[privacy]`. What it excludes now is not kept from before."""
        context = self.context
        hides, removes = privacy.anonymize and not context.anonymize, privacy.stats_only and not context.stats_only
        context.anonymize, context.stats_only = privacy.anonymize, privacy.stats_only
        if (hides or removes) and context.newest is not None:
            context.newest = context.newest.without_picture()
        for opened in self._opened.values():
            if hides or removes:
                opened.forget_pictures()
            if removes:
                opened.forget_identities()
        if (hides or removes) and context.actions is not None:
            context.actions.forget_pictures()
        if removes and context.actions is not None:
            context.actions.forget_identities()

    def _end_alerts(self, following: AlertEngine | None, actions: Actions | None) -> None:
        """End the alerts that the new rules do not continue, and the actions that the new rules do not have."""
        context = self.context
        if context.alerts is not None and context.actions is not None:
            for rule, ended in context.alerts.hand_over(following):
                event = replace(ended, camera=context.camera, device=context.device)
                for published in context.actions.perform(rule, event, None):
                    self._events.put(published)
            context.actions.close(actions)
        if following is None:
            self._state.set_alerts(())

    def _take_up_models(self) -> None:
        """Show the models that the detector has taken up."""
        self._state.set_models(describe_models(self._detector))
        self._state.update_settings(_describe_settings(self._config, self._detector))

    @property
    def _state(self) -> RunState:
        state = self.context.state
        assert state is not None  # noqa: S101  (set in the constructor)
        return state

    def _names(self) -> RunNames:
        return RunNames(
            {rule.name: rule.actions for rule in self._config.alerts},
            self.context.zones.names,
            self.context.lines.names,
            self._config.fleet.commands,
        )

    def _add(self, kind: type[Sink], opened: Sink) -> None:
        """Add an output.

        With a live source, the output gets a queue. A file waits for its outputs, so nothing is
        dropped.
        """
        self._opened[opened.name] = opened
        self.page = opened.url or self.page
        capacity = kind.queue_capacity
        if self._source.live and capacity is not None:
            opened = QueuedSink(opened, source=self._source.name, capacity=capacity, publish_event=self._events.put)
        self.sinks.append(opened)

    def _check_rules(self, config: EdgeConfig, zones: Zones) -> None:
        if not config.alerts:
            return
        if not self._source.video:
            raise UsageError("alert rules are for cameras, streams and videos: single pictures have no time.")
        check_rules(config.alerts, zones)
        check_labels(config.alerts, self._detector.labels)

    def _open_alerts(self, config: EdgeConfig, zones: Zones) -> tuple[AlertEngine | None, Actions | None]:
        """Open the alert engine and the actions of the rules."""
        rules, source = config.alerts, self._source
        if not rules:
            return None, None
        engine = AlertEngine(rules, zones, source.name, live=source.live)
        return engine, Actions(rules, source.name, sinks=self._opened, settings=config.sections, before=self.context.actions)

    def _take_health(self, health: dict[str, Any]) -> None:
        self._state.set_health(health)
        if self.context.rate_limiter is not None:
            self.context.rate_limiter.throttled = bool(health["throttled"])


def build_run(
    config: EdgeConfig,
    source: Source,
    detector: MaskDetector,
    sinks: list[Sink],
    *,
    file: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
    systemd: SystemdNotifier | None = None,
    shared: dict[str, Any] | None = None,
) -> Run:
    """Open every output that a configuration requests, and build the context of the loop.

    Args:
        config: The configuration.
        source: The opened source.
        detector: The loaded detector.
        sinks: List to which each opened output is added at once, so that the caller can close it if
            a later output fails.
        file: The edge.toml. No output may overwrite it.
        stopped: Returns True after a request to end the run.
        systemd: Reports to systemd; None for the service manager of this process.
        shared: Objects that the outputs of all cameras share; None for a single camera.

    Raises:
        UsageError: Settings are invalid or exclude each other.
        OutputError: An output cannot be written.
        ImportError: A library of an extra is missing.
    """
    run = Run(config, source, detector, sinks, systemd=systemd, shared=shared)
    run.open(file=file, stopped=stopped)
    return run


def describe_models(detector: MaskDetector) -> dict[str, dict[str, Any]]:
    """Return the keys `model` and `detector_model` of the state of a run (docs/contracts.md)."""
    path = getattr(detector.detector, "path", None)
    return {
        "model": _describe_file(detector.classifier.path) | {"labels": list(detector.labels), "provider": detector.provider},
        "detector_model": {"name": detector.detector_name} | (_describe_file(path) if isinstance(path, Path) else {}),
    }


def _describe_file(path: Path) -> dict[str, Any]:
    """Return name, checksum and release of a model file. The release is None without a signature."""
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        signature = read_signature(path)
    except ModelError:
        signature = None
    return {
        "name": path.name,
        "sha256": checksum,
        "release": signature.release if signature is not None and signature.sha256 == checksum else None,
    }


def _describe_settings(config: EdgeConfig, detector: MaskDetector) -> dict[str, Any]:
    cascade = config.detect.cascade
    return {
        "detector": cascade.name if cascade else detector.detector_name,
        "threads": config.limits.threads,
        "no_reidentification": config.privacy.no_reidentification,
        **_reloadable_settings(config, detector),
    }


def _reloadable_settings(config: EdgeConfig, detector: MaskDetector) -> dict[str, Any]:
    return {
        "detect_every": detector.detect_every,
        "face_threshold": round(detector.face_threshold, 4),
        "sync": not detector.is_asynchronous,
        "max_fps": config.limits.max_fps,
        "cpu_budget": config.limits.cpu_budget,
        "anonymize": config.privacy.anonymize,
        "stats_only": config.privacy.stats_only,
    }
