from __future__ import annotations

import time

import pytest

from maskedge.support import timing
from maskedge.support.timing import StageClock


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


def test_a_stage_inside_another_counts_as_itself() -> None:
    clock = StageClock()
    with timing.inner_stage("resize"):
        pass  # without a clock, nothing is measured
    arrival = time.perf_counter()
    with clock("detect"):
        time.sleep(0.004)
        with timing.inner_stage("resize"), timing.inner_stage("draw"):
            time.sleep(0.008)
        time.sleep(0.004)
    with timing.inner_stage("after"):
        pass
    stages = clock.close_frame(arrival)
    assert set(stages) == {"detect", "resize", "draw", "total"}
    assert stages["draw"] >= 8
    assert stages["detect"] >= 8
    assert stages["detect"] + stages["resize"] + stages["draw"] <= stages["total"]


def test_a_failing_stage_gives_way_to_the_outer_one() -> None:
    clock, other = StageClock(), StageClock()
    with clock("save"):
        with pytest.raises(ValueError, match="broken"), other("inner"):
            raise ValueError("broken")
        with timing.inner_stage("draw"):
            pass
    assert set(clock.last) == {"save", "draw"}
    assert set(other.last) == {"inner"}


def test_figures_of_a_stage() -> None:
    figures = timing.summarise([float(value) for value in range(101)])
    assert figures == {"mean": 50.0, "p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
