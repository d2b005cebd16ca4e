"""The metrics, in Prometheus' text exposition format 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
_STATES = ("opening", "open", "lost", "ended")
# Key of the status' health, name, factor to the base unit, help.
_HEALTH = (
    ("temperature_c", "maskedge_temperature_celsius", 1, "Temperature of the processor."),
    ("frequency_mhz", "maskedge_cpu_frequency_hertz", 1e6, "Frequency of the processor."),
    ("memory_mb", "maskedge_resident_memory_bytes", 1e6, "Memory that the program holds."),
    ("load", "maskedge_load1", 1, "Load of the machine over one minute."),
)
Samples = Iterable[tuple[Mapping[str, object], float | int | None]]


class LatencyHistogram:
    """How long each stage takes. Written by the pipeline's thread, read by another: each observation is one addition to a list."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, stages: Mapping[str, float]) -> None:
        """Add the stages of a frame, in milliseconds."""
        for stage, milliseconds in stages.items():
            counts = self._counts.get(stage)
            if counts is None:
                counts = self._counts[stage] = [0] * (len(_BOUNDS) + 1)
                self._sums[stage] = 0.0
            counts[bisect_left(_BOUNDS, milliseconds / 1000)] += 1
            self._sums[stage] += milliseconds / 1000

    def lines(self, name: str) -> list[str]:
        """Give the samples of the histogram `name`."""
        lines = []
        for stage in list(self._counts):
            counts = list(self._counts[stage])
            label, total = f'stage="{_escape(stage)}"', 0
            for bound, count in zip((*(f"{bound:g}" for bound in _BOUNDS), "+Inf"), counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{{label},le="{bound}"}} {total}')
            lines.append(f"{name}_sum{{{label}}} {self._sums[stage]:.6f}")
            lines.append(f"{name}_count{{{label}}} {total}")
        return lines


class _Exposition:
    """Collects families; one without samples is left out."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def head(self, name: str, kind: str, words: str) -> None:
        self.lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]

    def family(self, name: str, kind: str, words: str, samples: Samples) -> None:
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            self.head(name, kind, words)
        for labels, value in known:
            inside = ",".join(f'{label}="{_escape(str(text))}"' for label, text in labels.items())
            number = int(value) if isinstance(value, bool | int) else float(value)
            self.lines.append(f"{name}{{{inside}}} {number}" if inside else f"{name} {number}")

    def gauge(self, name: str, words: str, value: float | None) -> None:
        self.family(name, "gauge", words, [({}, value)])

    def counter(self, name: str, words: str, value: float | None) -> None:
        self.family(name, "counter", words, [({}, value)])


def expose(
    status: Mapping[str, Any],
    latency: LatencyHistogram,
    *,
    happened: Mapping[str, int],
    frame_age: float | None,
    answered: Mapping[int, int],
    watchers: Mapping[str, int],
    slow: int,
    encoded: int,
) -> bytes:
    """Give the metrics.

    Args:
        status: What `RunState.snapshot` gives. What it lacks is left out.
        latency: Of the stages.
        happened: Happenings by kind.
        frame_age: Seconds since the last frame, None before the first.
        answered: Requests by status code.
        watchers: Clients of the live picture and of the events.
        slow: Clients that were cut off.
        encoded: Pictures encoded for watchers.
    """
    out = _Exposition()
    source, counters = status.get("source", {}), status.get("counters", {})
    model, settings = status.get("model", {}), status.get("settings", {})
    about = {"version": status.get("version", ""), "model": model.get("name") or "", "model_sha256": model.get("sha256") or ""}
    out.family(
        "maskedge_build_info", "gauge", "What runs here; always 1.", [({**about, "detector": settings.get("detector") or ""}, 1)]
    )
    out.gauge("maskedge_uptime_seconds", "Since the start of the run.", status.get("uptime_s"))
    states = [({"state": state}, int(source.get("state") == state)) for state in _STATES]
    out.family("maskedge_source_state", "gauge", "1 for the state that the camera is in.", states)
    for what, words in (
        ("captured", "Frames that the camera gave."),
        ("dropped", "Frames that were left out, because newer ones were there."),
        ("processed", "Frames that were looked at."),
    ):
        out.counter(f"maskedge_frames_{what}_total", words, counters.get(what))
    out.counter("maskedge_source_reconnects_total", "How often the camera was lost and found again.", counters.get("reconnects"))
    out.gauge(
        "maskedge_frames_per_second", "Frames that are looked at in a second.", status.get("rate", {}).get("frames_per_second")
    )
    out.gauge("maskedge_last_frame_age_seconds", "Since the last frame.", None if frame_age is None else round(frame_age, 3))
    out.family("maskedge_faces", "gauge", "Faces in the newest frame.", _by("label", status.get("faces", {})))
    out.family(
        "maskedge_people",
        "gauge",
        "People since the start, each counted once under the label that it has or had last.",
        _by("label", status.get("people", {})),
    )
    zones = status.get("zones", {}).items()
    in_zones = [({"zone": zone, "label": label}, count) for zone, counts in zones for label, count in counts.items()]
    out.family("maskedge_zone_faces", "gauge", "Faces in the newest frame by zone.", in_zones)
    alerts = {alert.get("rule", ""): 1 for alert in status.get("alerts", ())}
    out.family("maskedge_alert_active", "gauge", "1 for each alert that stands.", _by("rule", alerts))
    out.gauge("maskedge_alerts", "How many alerts stand.", len(alerts))
    out.family("maskedge_happenings_total", "counter", "What happened, by kind.", _by("kind", happened))
    sinks = status.get("sinks", {})
    for what, words in (("written", "What an output took."), ("dropped", "What an output could not take in time.")):
        samples = [({"sink": name}, sink.get(what)) for name, sink in sinks.items()]
        out.family(f"maskedge_sink_{what}_total", "counter", words, samples)
    working = [({"sink": name}, int(sink.get("state") == "ok")) for name, sink in sinks.items()]
    out.family("maskedge_sink_up", "gauge", "1 while an output works.", working)
    out.head("maskedge_latency_seconds", "histogram", "Time of a frame by stage; total is from its arrival to the answer.")
    out.lines += latency.lines("maskedge_latency_seconds")
    health = status.get("health", {})
    for key, name, factor, words in _HEALTH:
        value = health.get(key)
        out.gauge(name, words, value * factor if isinstance(value, int | float) else None)
    throttled = health.get("throttled")
    out.gauge("maskedge_throttled", "1 while the machine slows itself down.", None if throttled is None else int(bool(throttled)))
    out.family("maskedge_web_requests_total", "counter", "Requests by status code.", _by("code", answered))
    out.family("maskedge_web_watchers", "gauge", "Who watches now.", _by("feed", watchers))
    out.counter("maskedge_web_slow_clients_total", "Clients that were cut off because they took nothing.", slow)
    out.counter("maskedge_web_pictures_encoded_total", "Pictures encoded for those who watch.", encoded)
    return ("\n".join(out.lines) + "\n").encode()


def _by(label: str, counts: Mapping[Any, int]) -> Samples:
    return [({label: value}, count) for value, count in counts.items()]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
