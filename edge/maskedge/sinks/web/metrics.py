"""The metrics for Prometheus, formatted by prometheus_client (extra `metrics`)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskedge.events import KINDS
from maskedge.sinks.base import RunNames
from maskedge.tracking.lines import DIRECTIONS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
_STATES = ("opening", "open", "lost", "ended")
# Key in the health of the status, metric, factor to the base unit, help.
_HEALTH = (
    ("temperature_c", "maskedge_temperature_celsius", 1, "Temperature of the processor."),
    ("frequency_mhz", "maskedge_cpu_frequency_hertz", 1e6, "Frequency of the processor."),
    ("memory_mb", "maskedge_resident_memory_bytes", 1e6, "Resident memory of the process."),
    ("load", "maskedge_load1", 1, "Load of the machine over one minute."),
)
_OF_THE_PROCESS = (
    *("maskedge_build_info", "maskedge_web_requests", "maskedge_web_slow_clients", "maskedge_throttled"),
    *(name for _, name, _, _ in _HEALTH),
)
"""Metrics of the process or the machine. They have no label `camera`."""
Samples = Iterable[tuple[Mapping[str, object], float | int | None]]


class LatencyHistogram:
    """A histogram of the time of each stage.

    The loop's thread writes the histogram, and the web thread reads it without a lock. This is
    safe, because each observation is one addition to a list.
    """

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, stages: Mapping[str, float]) -> None:
        """Add the stages of a frame, in milliseconds."""
        for stage, milliseconds in stages.items():
            counts = self._counts.get(stage)
            if counts is None:
                self._sums[stage] = 0.0
                counts = self._counts[stage] = [0] * (len(_BOUNDS) + 1)
            counts[bisect_left(_BOUNDS, milliseconds / 1000)] += 1
            self._sums[stage] += milliseconds / 1000

    def samples(self) -> Iterator[tuple[str, list[tuple[str, float]], float]]:
        """Yield stage, cumulative buckets (upper bound in seconds, count) and sum in seconds."""
        for stage in list(self._counts):
            buckets, total = [], 0
            for bound, count in zip((*(f"{bound:g}" for bound in _BOUNDS), "+Inf"), list(self._counts[stage]), strict=True):
                total += count
                buckets.append((bound, float(total)))
            yield stage, buckets, round(self._sums[stage], 6)


@dataclass(frozen=True)
class Facts:
    """The values behind the metrics.

    Attributes:
        status: The state of the run (`RunState.snapshot`). Missing keys have no metrics.
        latency: Times of the stages.
        names: Rules, zones and lines. Their metrics are 0 before the first event.
        events: Number of events by kind.
        frame_age: Seconds since the last frame; None before the first one.
        answered: Number of requests by status code.
        watchers: Number of clients of the live picture and of the events.
        slow: Number of clients that were disconnected because they read nothing.
        encoded: Number of pictures encoded for clients.
        ended: The camera does not run. Its state is then its only metric.
    """

    status: Mapping[str, Any]
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    names: RunNames = field(default_factory=RunNames)
    events: Mapping[str, int] = field(default_factory=dict)
    frame_age: float | None = None
    answered: Mapping[int, int] = field(default_factory=dict)
    watchers: Mapping[str, int] = field(default_factory=dict)
    slow: int = 0
    encoded: int = 0
    ended: bool = False


class Exposition:
    """Formats the metrics.

    Args:
        facts: Returns the values behind the metrics by name of the camera; an empty name for a
            camera that has none. The metrics of a named camera have the label `camera`.

    Raises:
        ImportError: prometheus_client is missing (extra `metrics`).
    """

    def __init__(self, facts: Callable[[], Mapping[str, Facts]]) -> None:
        # The global registry is not used, because it would add metrics of the Python process.
        from prometheus_client.registry import CollectorRegistry

        self._facts = facts
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. Part of the collector interface of prometheus_client."""
        return _metrics_by_camera(self._facts())

    def describe(self) -> Iterable[Metric]:
        """Return no descriptions, because this registry has no other collector."""
        return ()

    def write(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their media type.

        Args:
            accept: Media types that the client accepts. If OpenMetrics is one of them, the metrics
                have that format, otherwise Prometheus' text format 0.0.4.
        """
        from prometheus_client import exposition
        from prometheus_client.openmetrics import exposition as openmetrics

        if "application/openmetrics-text" in accept.lower():
            return openmetrics.generate_latest(self._registry), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
        return exposition.generate_latest(self._registry), CONTENT_TYPE


def _metrics_by_camera(facts: Mapping[str, Facts]) -> Iterator[Metric]:
    """Yield the metrics of all cameras. Each family has the samples of every camera."""
    families: dict[str, Metric] = {}
    for camera, own in facts.items():
        for family in _source_state("ended") if own.ended else _metrics(own):
            known = families.setdefault(family.name, family)
            if camera and not family.name.startswith(_OF_THE_PROCESS):
                samples = [sample._replace(labels={"camera": camera, **sample.labels}) for sample in family.samples]
                known.samples = samples if known is family else [*known.samples, *samples]
    yield from families.values()


def _metrics(facts: Facts) -> Iterator[Metric]:
    status = facts.status
    source, counters, model = status.get("source", {}), status.get("counters", {}), status.get("model", {})
    about = {
        "version": status.get("version", ""),
        "device": status.get("device", ""),
        "model": model.get("name") or "",
        "model_sha256": model.get("sha256") or "",
        "detector": status.get("settings", {}).get("detector") or "",
    }
    yield from _gauge("maskedge_build_info", "What runs here; always 1.", [(about, 1)])
    yield from _gauge("maskedge_uptime_seconds", "Seconds since the start of the run.", status.get("uptime_s"))
    yield from _source_state(source.get("state"))
    for what, words in (
        ("captured", "Frames captured from the camera."),
        ("dropped", "Frames dropped because newer ones had arrived."),
        ("skipped", "Frames skipped because they were damaged."),
        ("processed", "Frames processed."),
    ):
        yield from _counter(f"maskedge_frames_{what}_total", words, counters.get(what))
    words = "Times that the camera was opened again after a loss."
    yield from _counter("maskedge_source_reconnects_total", words, counters.get("reconnects"))
    rate = status.get("rate", {}).get("frames_per_second")
    yield from _gauge("maskedge_frames_per_second", "Frames processed per second.", rate)
    words = "Highest rate that limits or the state of the machine allow; missing without a limit."
    yield from _gauge("maskedge_rate_limit_frames_per_second", words, status.get("health", {}).get("rate_limit_fps"))
    age = None if facts.frame_age is None else round(facts.frame_age, 3)
    yield from _gauge("maskedge_last_frame_age_seconds", "Seconds since the last frame.", age)
    yield from _people(facts)
    yield from _counter("maskedge_happenings_total", "Events by kind.", _by("kind", {**dict.fromkeys(KINDS, 0), **facts.events}))
    yield from _outputs(status.get("sinks", {}))
    yield from _latency(facts.latency)
    yield from _health(status.get("health", {}))
    yield from _counter("maskedge_web_requests_total", "Requests by status code.", _by("code", {200: 0, **facts.answered}))
    yield from _gauge("maskedge_web_watchers", "Connected clients by feed.", _by("feed", facts.watchers))
    yield from _counter("maskedge_web_slow_clients_total", "Clients disconnected because they read nothing.", facts.slow)
    yield from _counter("maskedge_web_pictures_encoded_total", "Pictures encoded for clients.", facts.encoded)


def _source_state(current: str | None) -> Iterator[Metric]:
    states: Samples = [({"state": state}, int(current == state)) for state in _STATES]
    yield from _gauge("maskedge_source_state", "1 for the current state of the camera.", states)


def _people(facts: Facts) -> Iterator[Metric]:
    """Yield faces, people, zones, lines and alerts."""
    status = facts.status
    yield from _gauge("maskedge_faces", "Faces in the newest frame.", _by("label", status.get("faces", {})))
    words = "Distinct people since the start of the run, by their last label."
    yield from _gauge("maskedge_people", words, _by("label", status.get("people", {})))
    zones: dict[str, Mapping[str, int]] = {zone: {} for zone in facts.names.zones} | status.get("zones", {})
    labels = status.get("faces", {})
    in_zones: Samples = [
        ({"zone": zone, "label": label}, counts.get(label, 0))
        for zone, counts in zones.items()
        for label in dict.fromkeys((*labels, *counts))
    ]
    yield from _gauge("maskedge_zone_faces", "Faces in the newest frame by zone.", in_zones)
    lines: dict[str, Mapping[str, Any]] = {line: {} for line in facts.names.lines} | status.get("lines", {})
    crossings: Samples = [
        ({"line": line, "direction": direction, "label": label}, counts.get(direction, {}).get(label, 0))
        for line, counts in lines.items()
        for direction in DIRECTIONS
        for label in dict.fromkeys((*labels, *counts.get(direction, {})))
    ]
    yield from _counter("maskedge_line_crossings_total", "People who crossed a line.", crossings)
    active = {alert.get("rule", ""): 1 for alert in status.get("alerts", ())}
    rules = dict.fromkeys(facts.names.rules, 0) | active
    yield from _gauge("maskedge_alert_active", "1 while the alert of a rule is active.", _by("rule", rules))
    yield from _gauge("maskedge_alerts", "Number of active alerts.", len(active))


def _outputs(sinks: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for what, words in (
        ("written", "Items that an output delivered."),
        ("dropped", "Items that an output dropped because it was too slow."),
    ):
        samples: Samples = [({"sink": name}, sink.get(what)) for name, sink in sinks.items()]
        yield from _counter(f"maskedge_sink_{what}_total", words, samples)
    working: Samples = [({"sink": name}, int(sink.get("state") == "ok")) for name, sink in sinks.items()]
    yield from _gauge("maskedge_sink_up", "1 while an output works.", working)


def _latency(latency: LatencyHistogram) -> Iterator[Metric]:
    from prometheus_client.metrics_core import HistogramMetricFamily

    words = "Time of a frame by stage; total is from its arrival to its result."
    family = HistogramMetricFamily("maskedge_latency_seconds", words, labels=("stage",))
    for stage, buckets, total in latency.samples():
        family.add_metric((_text(stage),), buckets, total)
    yield family


def _health(health: Mapping[str, Any]) -> Iterator[Metric]:
    for key, name, factor, words in _HEALTH:
        value = health.get(key)
        yield from _gauge(name, words, value * factor if isinstance(value, int | float) else None)
    throttled = health.get("throttled")
    yield from _gauge(
        "maskedge_throttled", "1 while the machine throttles itself.", None if throttled is None else int(bool(throttled))
    )


def _gauge(name: str, words: str, samples: Samples | float | None) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    return _family(GaugeMetricFamily, name, words, samples)


def _counter(name: str, words: str, samples: Samples | float | None) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily

    return _family(CounterMetricFamily, name, words, samples)


def _family(kind: Any, name: str, words: str, samples: Samples | float | None) -> Iterator[Metric]:
    """Yield a family of metrics, unless it has no samples."""
    if samples is None or isinstance(samples, int | float):
        samples = [({}, samples)]
    known = [(labels, value) for labels, value in samples if value is not None]
    if known:
        family = kind(name, words, labels=tuple(known[0][0]))
        for labels, value in known:
            family.add_metric([_text(text) for text in labels.values()], value)
        yield family


def _by(label: str, counts: Mapping[Any, int]) -> Samples:
    return [({label: value}, count) for value, count in counts.items()]


def _text(value: object) -> str:
    """Return a label value without undecodable bytes. A command line may contain such bytes."""
    return str(value).encode("utf-8", "replace").decode()
