"""Monitoring of the host's health, on a separate thread."""

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
"""Name and lower bound of each temperature band, in degrees Celsius. A Raspberry Pi throttles at 80
degrees and above."""
_BACK = 3.0
"""Hysteresis in degrees Celsius. A band is left downwards this far below its lower bound."""


def read_health(root: Path = ROOT) -> dict[str, Any]:
    """Return the current health of the host, in JSON types.

    Values that the host does not report are None.

    Args:
        root: `/`, or a folder with the same layout.
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
    """Reads the health of the host periodically and publishes changes.

    An event is published when throttling or the temperature band changes.

    Args:
        source: Name of the source, for the events.
        on_health: Receives each reading, on the watcher's thread.
        publish_event: Receives the `health` events, on the watcher's thread.
        interval: Seconds between two readings.
        root: `/`, or a folder with the same layout.
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
        """Start the thread.

        The first reading is made before this method returns, so that the state always has a
        reading.
        """
        self.check()
        self._thread.start()

    def check(self) -> None:
        """Read the health once, and publish an event if it has changed."""
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
        """End the thread without waiting for a reading in progress."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.check()


def next_band(band: str, temperature: float) -> str:
    """Return the band of a temperature, with hysteresis at the lower bound of the present band.

    Args:
        band: The band of the previous reading.
        temperature: Degrees Celsius.
    """
    bounds = dict(BANDS)
    found = [name for name, bound in BANDS if temperature >= bound][-1:] or [BANDS[0][0]]
    if bounds[found[0]] < bounds[band] and temperature > bounds[band] - _BACK:
        return band
    return found[0]
