"""Load, crashes and growth: simulated devices against broker, database and ingest."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError
from maskedge.system.host import host_state

from .check import compare, delays, row_sizes
from .parts import Usage
from .stack import PARTS, Stack, kill_and_restart

Progress = Callable[[str], None]
_WARM_S = 10.0
_DRAIN_S = 240.0
_AWAY_S, _PAUSE_S = 2.0, 6.0


@dataclass(frozen=True)
class LoadPlan:
    """A load.

    Attributes:
        devices: Number of devices.
        seconds: Seconds in which they publish, after all are connected.
        events_per_s: Events a second, of all devices together.
        interval: Seconds between two statistics of a device.
        kills: How often each part is killed.
    """

    devices: int = 1000
    seconds: float = 600.0
    events_per_s: float = 200.0
    interval: float = 10.0
    kills: int = 0


def measure_load(plan: LoadPlan, keep: Path | None, progress: Progress) -> dict[str, Any]:
    """Run simulated devices, and compare every message with the database.

    Args:
        plan: The load.
        keep: Folder in which files and logs are kept; None for a temporary one.
        progress: Called with the name of each step.

    Returns:
        Numbers of messages, delays in seconds, CPU seconds and memory of each part.
    """
    before = host_state()
    with Stack(keep) as stack:
        stack.start_ingest()
        record = stack.folder / "record.json"
        simulator = stack.simulate(plan.devices, record, events_per_s=plan.events_per_s, interval=plan.interval, drain_s=_DRAIN_S)
        simulator.start()
        progress(f"{plan.devices} devices connect")
        stack.await_devices(plan.devices, 120 + plan.devices / 20)
        time.sleep(min(_WARM_S, plan.seconds))
        first, used, stored = time.time(), stack.usage(), _stored(stack)
        progress(f"{plan.devices} devices publish")
        killed = _kill(stack, plan.kills, progress)
        while time.time() < first + plan.seconds and simulator.is_running:
            time.sleep(0.5)
        last, now, done = time.time(), stack.usage(), _stored(stack) - stored
        progress(f"{plan.devices} devices end")
        simulator.request_end()
        simulator.wait(_DRAIN_S + 600)
        with stack.connect() as connection:
            compared = compare(connection, record)
            taken = delays(connection, first, last)
            sizes = row_sizes(connection)
    return {
        "devices": plan.devices,
        "seconds": round(last - first, 1),
        "events_per_s": plan.events_per_s,
        "interval_s": plan.interval,
        "messages_per_s": round(done / (last - first), 1),
        "kills": killed,
        "load_before": before.get("load"),
        **compared,
        "bytes_a_row": sizes,
        "delay_s": taken,
        "parts": {name: _cost(used[name], now[name], done, last - first) for name in now},
    }


def _stored(stack: Stack) -> int:
    with stack.connect() as connection:
        row = connection.execute("SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM statistics)").fetchone()
    assert row is not None  # noqa: S101  (a count)
    return int(row[0])


def _cost(before: Usage, after: Usage, messages: int, seconds: float) -> dict[str, float]:
    cpu = after.cpu_s - before.cpu_s
    return {
        "cpu_share": round(cpu / seconds, 4),
        "cpu_ms_a_message": round(1000 * cpu / max(messages, 1), 4),
        "memory_mb": round(after.memory_mb, 1),
    }


def _kill(stack: Stack, times: int, progress: Progress) -> dict[str, int]:
    """Kill each part so often, in random order, and start it again."""
    order = [name for name in PARTS for _ in range(times)]
    random.Random(0).shuffle(order)  # noqa: S311  (no secret)
    for number, name in enumerate(order, 1):
        progress(f"kill {number} of {len(order)}: {name}")
        part = {"broker": stack.broker, "database": stack.database, "ingest": stack.ingest}[name]
        kill_and_restart(part, away_s=_AWAY_S)
        time.sleep(_PAUSE_S)
        if not stack.ingest.is_running:
            raise OutputError("the ingest ended by itself: see its log with --keep.")
    return {name: order.count(name) for name in PARTS if times}
