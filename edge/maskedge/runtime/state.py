"""The state of a run, used by the status page, the metrics and the statistics."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maskedge.counts import count_labels
from maskedge.events import UNNAMED
from maskedge.support.text import utc
from maskedge.types import Face
from maskedge.version import VERSION

_RECENT = 5.0
"""Seconds over which the rate is measured."""
_LATENCIES = 300
"""Number of frames whose stages are kept for the percentiles."""
_MINUTES = 60


class RunState:
    """Collects the state of a run. Every method is safe on any thread. Memory is bounded.

    Args:
        name: Display name of the source, without user name and password.
        labels: Labels that are counted.
        models: Name, checksum and release of the classifier (`model`, with its labels) and of the
            detector (`detector_model`).
        camera: Name of the camera.
        device: Name of the device.
        settings: Settings that explain the figures, in JSON types and without secrets.
    """

    def __init__(
        self,
        name: str,
        *,
        labels: Sequence[str] = (),
        models: Mapping[str, Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
        camera: str = UNNAMED,
        device: str = "",
    ) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._started_at = time.time()
        self._labels = tuple(labels)
        self._names = {"camera": camera, "device": device}
        self._source: dict[str, Any] = {
            "name": name, "state": "opening", "since": time.time(), "retries": 0, "sentence": "", "size": None, "fps": None,
        }  # fmt: skip
        self._counters = {"captured": 0, "dropped": 0, "skipped": 0, "processed": 0, "reconnects": 0}
        self._moments: deque[float] = deque(maxlen=1000)
        self._stages: dict[str, deque[float]] = {}
        self._faces: dict[str, int] = dict.fromkeys(self._labels, 0)
        self._people: dict[str, int] = dict.fromkeys(self._labels, 0)
        self._zones: dict[str, dict[str, int]] = {}
        self._lines: dict[str, dict[str, dict[str, int]]] = {}
        self._alerts: list[dict[str, Any]] = []
        self._health: dict[str, Any] = {}
        self._rate_limits: dict[str, Any] = {}
        self._history: deque[_Minute] = deque(maxlen=_MINUTES)
        none = {"name": None, "sha256": None, "release": None}
        self._models = {"model": none | {"labels": list(labels)}, "detector_model": none, **(models or {})}
        self._settings = dict(settings or {})
        self._sinks: Callable[[], dict[str, dict[str, Any]]] = dict

    def set_source(
        self, state: str, sentence: str = "", retries: int = 0, *, fps: float | None = None, size: Sequence[int] | None = None
    ) -> None:
        """Set the state of the source.

        Args:
            state: `opening`, `open`, `lost` or `ended`.
            sentence: The reason, for people.
            retries: Number of consecutive failed attempts.
            fps: Frames per second; None for no change.
            size: Width and height in pixels; None for no change.
        """
        with self._lock:
            if state != self._source["state"]:
                self._source["since"] = time.time()
            self._source |= {"state": state, "sentence": sentence, "retries": retries}
            if fps is not None:
                self._source["fps"] = fps
            if size is not None:
                self._source["size"] = list(size)
            if state != "open":
                self._faces = dict.fromkeys(self._faces, 0)
                self._zones = {zone: dict.fromkeys(counts, 0) for zone, counts in self._zones.items()}

    def count(self, *, captured: int, dropped: int, reconnects: int = 0, skipped: int = 0) -> None:
        """Set the counters of the source."""
        with self._lock:
            self._counters |= {"captured": captured, "dropped": dropped, "skipped": skipped, "reconnects": reconnects}

    def add_frame(
        self,
        faces: Sequence[Face],
        stages: Mapping[str, float],
        size: Sequence[int],
        *,
        people: Mapping[str, int] | None = None,
        zones: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Add a processed frame.

        Args:
            faces: Its faces.
            stages: Milliseconds of each stage.
            size: Width and height in pixels.
            people: Distinct people so far, by label; None for no change.
            zones: Faces of this frame, by zone and label; None for no change.
        """
        now = time.monotonic()
        found = count_labels(faces)
        with self._lock:
            self._counters["processed"] += 1
            self._moments.append(now)
            self._source["size"] = list(size)
            for stage, milliseconds in stages.items():
                self._stages.setdefault(stage, deque(maxlen=_LATENCIES)).append(milliseconds)
            self._faces = dict.fromkeys(self._labels, 0) | dict(found)
            if people is not None:
                self._people = dict.fromkeys(self._labels, 0) | dict(people)
            if zones is not None:
                self._zones = {zone: dict(counts) for zone, counts in zones.items()}
            minute = int(time.time() // 60)
            if not self._history or self._history[-1].minute != minute:
                self._history.append(_Minute(minute, now))
            self._history[-1].add(found, now)

    def set_lines(self, lines: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """Set the number of crossings by line, direction and label."""
        with self._lock:
            self._lines = {
                line: {direction: dict(counts) for direction, counts in directions.items()} for line, directions in lines.items()
            }

    def set_alerts(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Set the active alerts, each as rule, since (seconds since the epoch) and details."""
        with self._lock:
            self._alerts = [dict(alert) for alert in alerts]

    def set_health(self, health: Mapping[str, Any]) -> None:
        """Set the health of the host."""
        with self._lock:
            self._health = dict(health)

    def set_rate_limits(self, limits: Mapping[str, Any]) -> None:
        """Set the reasons and the rate of a limited loop. They are part of `health`."""
        with self._lock:
            self._rate_limits = dict(limits)

    def update_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace some of the settings, after a reload."""
        with self._lock:
            self._settings |= settings

    def set_models(self, models: Mapping[str, Mapping[str, Any]]) -> None:
        """Set the facts about the models, after an update. See `models` of the constructor."""
        with self._lock:
            self._models = dict(models)

    def frames(self) -> tuple[int, int]:
        """Return the numbers of captured and of dropped frames."""
        with self._lock:
            return self._counters["captured"], self._counters["dropped"]

    def watch_sinks(self, sinks: Callable[[], dict[str, dict[str, Any]]]) -> None:
        """Set the function that returns written, dropped, state and error of each sink."""
        self._sinks = sinks

    def rate(self) -> float:
        """Return the frames processed per second over the last seconds."""
        with self._lock:
            return self._rate()

    def _rate(self) -> float:
        now = time.monotonic()
        # At the start of a run, one frame in a few milliseconds does not give a rate.
        span = min(_RECENT, max(now - self._started, 0.5))
        recent = sum(moment > now - span for moment in self._moments)
        full = len(self._moments) == self._moments.maxlen and recent == len(self._moments)
        return recent / (now - self._moments[0]) if full else recent / span

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state in JSON types (docs/contracts.md)."""
        sinks = self._sinks()
        with self._lock:
            return {
                "version": VERSION,
                **self._names,
                "source": self._source | {"since": utc(self._source["since"])},
                "started": utc(self._started_at),
                "uptime_s": round(time.monotonic() - self._started, 1),
                "counters": dict(self._counters),
                "rate": {
                    "frames_per_second": round(self._rate(), 2),
                    "latency_ms": {stage: _percentiles(values) for stage, values in self._stages.items()},
                },
                "faces": dict(self._faces),
                "people": dict(self._people),
                "zones": {zone: dict(counts) for zone, counts in self._zones.items()},
                # `set_lines` replaces this mapping as a whole and never changes it.
                "lines": self._lines,
                "alerts": [
                    alert | {"since": utc(alert["since"]) if isinstance(alert["since"], float | int) else alert["since"]}
                    for alert in self._alerts
                ],
                "sinks": sinks,
                "health": self._health | self._rate_limits,
                "history": [minute.to_json(self._labels) for minute in self._history],
                **self._models,
                "settings": dict(self._settings),
            }


class _Minute:
    """Counts of one minute of the clock."""

    def __init__(self, minute: int, now: float) -> None:
        self.minute = minute
        self.faces: Counter[str] = Counter()
        self.frames = 0
        self.first = self.last = now

    def add(self, faces: Mapping[str, int], now: float) -> None:
        self.faces.update(faces)
        self.frames += 1
        self.last = now

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the mean number of faces per frame by label, and the frames per second."""
        # A rate counts the intervals between frames, one fewer than the frames.
        rate = (self.frames - 1) / max(self.last - self.first, 1.0) if self.frames > 1 else 1.0
        means = {label: round(self.faces[label] / self.frames, 3) for label in dict.fromkeys((*labels, *self.faces))}
        return {"time": utc(self.minute * 60.0), **means, "frames_per_second": round(rate, 2)}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"p50": round(ordered[round(0.5 * last)], 2), "p95": round(ordered[round(0.95 * last)], 2)}
