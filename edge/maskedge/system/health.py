"""How the machine fares, watched from a slow thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskedge.events import HEALTH, Event

from .host import ROOT, frequency_mhz, load_average, memory_mb, temperature_c, throttling, total_memory_mb

INTERVAL = 5.0
BANDS = (("ok", 0.0), ("warm", 70.0), ("hot", 80.0))
"""Name and lower bound in degrees Celsius. A Raspberry Pi slows down from 80."""
_BACK = 3.0
"""Degrees below a bound at which the band below it begins again."""


def read_health(root: Path = ROOT) -> dict[str, Any]:
    """Give how the machine fares now, of JSON's types alone. What it does not tell is None.

    Args:
        root: `/`, or a folder that looks like it.
    """
    slowed = throttling(root)
    temperature = temperature_c(root)
    return {
        "temperature_c": None if temperature is None else round(temperature, 1),
        "throttled": None if slowed is None else list(slowed.now),
        "throttled_since_start": None if slowed is None else list(slowed.since_start),
        "frequency_mhz": frequency_mhz(root),
        "memory_mb": memory_mb(root),
        "machine_memory_mb": total_memory_mb(root),
        "load": load_average(),
    }


class HealthWatcher:
    """Reads the health of the machine every few seconds, and says when it throttles or changes its band of temperature.

    Args:
        source: What the user called the source, for the events.
        on_health: Takes each reading; called on the watcher's thread.
        publish_event: Takes the events `health`; called on the watcher's thread.
        interval: Seconds between two readings.
        root: `/`, or a folder that looks like it.
    """

    def __init__(
        self,
        source: str,
        on_health: Callable[[dict[str, Any]], None],
        publish_event: Callable[[Event], None],
        *,
        interval: float = INTERVAL,
        root: Path = ROOT,
    ) -> None:
        self._source = source
        self._on_health = on_health
        self._publish_event = publish_event
        self._interval = interval
        self._root = root
        self._throttled: list[str] = []
        self._band = "ok"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Begin; the first reading is made at once, on the caller's thread, so that the state has one."""
        self.check()
        self._thread.start()

    def check(self) -> None:
        """Read once, and say what changed."""
        health = read_health(self._root)
        temperature = health["temperature_c"]
        band = self._band if temperature is None else next_band(self._band, temperature)
        throttled = health["throttled"] or []
        health["temperature_band"] = None if temperature is None else band
        self._on_health(health)
        if band != self._band or throttled != self._throttled:
            self._band, self._throttled = band, throttled
            details = {name: health[name] for name in ("temperature_c", "temperature_band", "throttled", "frequency_mhz")}
            self._publish_event(Event(HEALTH, time.time(), self._source, details))

    def close(self) -> None:
        """End the thread; it does not wait for a reading."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.check()


def next_band(band: str, temperature: float) -> str:
    """Give the band of a temperature; it is left downwards only when the temperature is well below its bound.

    Args:
        band: The band so far.
        temperature: Degrees Celsius.
    """
    bounds = dict(BANDS)
    found = [name for name, bound in BANDS if temperature >= bound][-1:] or [BANDS[0][0]]
    if bounds[found[0]] < bounds[band] and temperature > bounds[band] - _BACK:
        return band
    return found[0]
