"""Size, query time and CPU time of the history, measured with a file of a month and with live sinks."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from maskedge.history.query import HistoryRequest, read_history
from maskedge.history.records import Count, Series, StoredEvent
from maskedge.history.store import Store
from maskedge.results import FrameResult
from maskedge.sinks.base import SinkContext
from maskedge.sinks.history import HistoryConfig, HistorySink
from maskedge.sources import DemoSource
from maskedge.types import Face, Frame
from maskedge_bench.conditions import Conditions
from maskedge_bench.report_schemas import HISTORY

LABELS = ("with_mask", "without_mask", "incorrect_mask")
SPANS = (("hour", 3600, "minute"), ("day", 86400, "hour"), ("week", 7 * 86400, "hour"), ("month", 30 * 86400, "day"))
"""The charts of the status page: name, seconds and bucket."""
_ROUNDS = 30
_RATE = 10.0
_END = datetime(2026, 3, 31, tzinfo=timezone.utc).timestamp()
_OPEN = (7, 22)
"""Hours of the day with people. A person passes now and then at night."""


def measure_history(cameras: int, days: int, seconds: float, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Fill a file as cameras of a shop do, query it as the status page does, and count live frames.

    Each camera has a zone and a line, three labels, and faces in every minute from 7 to 22 o'clock.

    Args:
        cameras: Number of cameras.
        days: Days of the file.
        seconds: Seconds in which live frames are counted.
        progress: Called after each day and each measurement, with its name.

    Returns:
        The report.
    """
    conditions = Conditions()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite3"
        for day in range(days):
            _write_day(path, cameras, _END - (days - day) * 86400, random.Random(day))  # noqa: S311  (no secret)
            progress(f"day {day + 1}")
        queries = []
        for name, span, bucket in SPANS:
            queries.append({"span": name, "bucket": bucket, **_time_queries(path, span, bucket)})
            progress(f"query {name}")
        size = path.stat().st_size / 1e6
        share = _cpu_share(Path(folder) / "live.sqlite3", cameras, seconds)
        progress("live")
    return {
        **conditions.head(HISTORY, "History"),
        "cameras": cameras,
        "days": days,
        "megabytes": round(size, 3),
        "megabytes_a_camera_month": round(size / cameras / days * 30, 3),
        "queries": queries,
        "rate": _RATE,
        "run_seconds": seconds,
        "cpu_share": round(share, 5),
    }


def _write_day(path: Path, cameras: int, start: float, chance: random.Random) -> None:
    store = Store(path, flush_seconds=3600)
    for minute in range(1440):
        moment = start + 60 * minute
        for camera in range(cameras):
            store.add(moment, _minute(f"camera {camera + 1}", minute, chance))
    for camera in range(cameras):
        for _ in range(20):
            details = {"rule": "no mask", "zone": "till", "labels": ["without_mask"], "longest_s": 12.5}
            store.add_event(StoredEvent(start + chance.uniform(0, 86400), f"camera {camera + 1}", "alert", details))
    store.close()


def _minute(camera: str, minute: int, chance: random.Random) -> Iterator[Count]:
    yield Count(Series(camera), 60.0)
    if not _OPEN[0] * 60 <= minute < _OPEN[1] * 60 and chance.random() > 0.02:
        return
    for label, weight in zip(LABELS, (60.0, 15.0, 5.0), strict=True):
        for zone in ("", "till"):
            yield Count(Series(camera, zone, label=label), chance.uniform(0, weight), chance.randrange(4))
        for direction in ("in", "out"):
            yield Count(Series(camera, "", "door", direction, label), people=chance.randrange(3))


def _time_queries(path: Path, span: int, bucket: str) -> dict[str, Any]:
    times, rows = [], 0
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        rows = len(read_history(path, HistoryRequest(_END - span, _END, bucket), timezone.utc)["rows"])
        times.append(1000 * (time.perf_counter() - started))
    p50, p95 = np.percentile(times, (50, 95))
    return {"rows": rows, "p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}


def _cpu_share(path: Path, cameras: int, seconds: float) -> float:
    """Return the CPU time, as a share of one core, that the sinks of live cameras take."""
    source = DemoSource()
    source.live = True
    sinks = [HistorySink.open(HistoryConfig(str(path)), SinkContext(source, camera=f"camera {one}")) for one in range(cameras)]
    image = np.zeros((48, 64, 3), np.uint8)
    faces = [Face((10, 10, 20, 20), label, 0.9, label, 0.9, track=number) for number, label in enumerate(LABELS)]
    zones = {"till": {"with_mask": 1, "without_mask": 1, "incorrect_mask": 0}}
    used, started = time.process_time(), time.perf_counter()
    for index in range(round(seconds * _RATE)):
        now = time.perf_counter()
        for sink in sinks:
            assert sink is not None  # noqa: S101  (the source is live)
            sink.write(FrameResult(Frame(image, index, time.time(), now, "demo", now), faces, {}, zones=zones))
        time.sleep(max(0.0, started + (index + 1) / _RATE - time.perf_counter()))
    share = (time.process_time() - used) / (time.perf_counter() - started)
    for sink in sinks:
        if sink is not None:
            sink.close()
    return share
