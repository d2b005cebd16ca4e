"""The state of a run: JSON's types alone, and a memory that does not grow."""

from __future__ import annotations

import json
import threading
import time

import pytest

from maskedge.runtime.state import RunState
from maskedge.types import Face

FACES = [Face((0, 0, 9, 9), label, 0.9, label, 0.9, 1) for label in ("with_mask", "with_mask", "odd")]


def test_snapshot_has_everything_and_is_json() -> None:
    state = RunState("rtsp://camera", labels=("with_mask", "without_mask"), settings={"detector": "haar"})
    state.set_source("open", fps=25.0)
    state.count(captured=12, dropped=2, reconnects=1)
    state.add_frame(FACES, {"total": 5.0, "detect": 3.0}, (640, 480), people={"with_mask": 4}, zones={"door": {"with_mask": 1}})
    state.set_alerts([{"rule": "lost", "since": 1_769_860_800.0, "details": {}}])
    state.set_health({"temperature_c": 50.0})
    state.set_rate_limits({"slowed_by": []})
    state.watch_sinks(lambda: {"events": {"written": 1, "dropped": 0, "state": "ok", "error": None}})
    snapshot = json.loads(json.dumps(state.snapshot()))
    assert snapshot["source"] | {"since": ""} == {
        "name": "rtsp://camera", "state": "open", "since": "", "retries": 0, "sentence": "", "size": [640, 480], "fps": 25.0,
    }  # fmt: skip
    assert snapshot["counters"] == {"captured": 12, "dropped": 2, "skipped": 0, "processed": 1, "reconnects": 1}
    assert snapshot["faces"] == {"with_mask": 2, "without_mask": 0, "odd": 1}
    assert snapshot["people"] == {"with_mask": 4, "without_mask": 0}
    assert snapshot["zones"] == {"door": {"with_mask": 1}}
    assert snapshot["rate"]["latency_ms"]["total"] == {"p50": 5.0, "p95": 5.0}
    assert snapshot["alerts"][0]["since"].startswith("2026-01-31T")
    assert snapshot["health"] == {"temperature_c": 50.0, "slowed_by": []}
    assert snapshot["sinks"]["events"]["written"] == 1
    (minute,) = snapshot["history"]
    assert minute["with_mask"] == 2
    assert minute["without_mask"] == 0


def test_nobody_is_in_the_picture_of_a_lost_source() -> None:
    state = RunState("0", labels=("with_mask",))
    state.add_frame(FACES, {}, (8, 8), people={"with_mask": 2}, zones={"door": {"with_mask": 2}})
    state.set_source("lost", "the cable.", 3)
    snapshot = state.snapshot()
    assert set(snapshot["faces"].values()) == {0}
    assert snapshot["zones"] == {"door": {"with_mask": 0}}
    assert snapshot["people"]["with_mask"] == 2
    assert (snapshot["source"]["state"], snapshot["source"]["retries"]) == ("lost", 3)


def test_minutes_and_latencies_are_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    state = RunState("0", labels=("with_mask",))
    start = time.time()
    for minute in range(200):
        monkeypatch.setattr(time, "time", lambda minute=minute: start + 60 * minute)
        for _ in range(20):
            state.add_frame(FACES[:1], {"total": float(minute)}, (8, 8))
    snapshot = state.snapshot()
    assert len(snapshot["history"]) == 60
    assert snapshot["history"][0]["time"] < snapshot["history"][-1]["time"]
    assert snapshot["rate"]["latency_ms"]["total"]["p50"] >= 180


def test_the_rate_of_a_minute_counts_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    state = RunState("0")
    for _ in range(6):
        state.add_frame((), {}, (8, 8))
        now += 10
    assert state.snapshot()["history"][0]["frames_per_second"] == 0.1


def test_threads_do_not_disturb_one_another() -> None:
    state = RunState("0", labels=("with_mask",))
    threads = [
        threading.Thread(target=lambda: [state.add_frame(FACES, {"total": 1.0}, (8, 8)) for _ in range(300)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        json.dumps(state.snapshot())
    assert state.snapshot()["counters"]["processed"] == 900
