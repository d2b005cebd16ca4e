from __future__ import annotations

import time

import pytest

from maskedge import timing
from maskedge.timing import StageClock


def test_stages_add_up_and_come_in_order() -> None:
    clock = StageClock()
    for _ in range(3):
        arrival = time.perf_counter()
        with clock("classify"):
            pass
        for _ in range(2):
            with clock("detect"):
                time.sleep(0.002)
        stages = clock.close_frame(arrival)
        assert stages["total"] >= stages["detect"] >= 4
        with clock("events"):
            pass
        clock.next_frame()
    assert list(clock.percentiles()) == ["detect", "classify", "events", "total"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "HISTORY", 100)
    clock = StageClock()
    for frame in range(1000):
        clock.last = {"detect": float(frame)}
        clock.next_frame()
    assert clock.percentiles()["detect"][0] == pytest.approx(949.5)
