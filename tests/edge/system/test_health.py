"""Health readings, their events, and the rate limiter."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskedge.events import Event
from maskedge.system.health import HealthWatcher, next_band, read_health
from maskedge.system.rate_limiter import RateLimiter


def pretend_board(root: Path, temperature: float, throttled: str = "0x0") -> Path:
    """Write the files in which a Raspberry Pi reports its state."""
    zone, firmware = root / "sys/class/thermal/thermal_zone0", root / "sys/devices/platform/soc/soc:firmware"
    for folder in (zone, firmware):
        folder.mkdir(parents=True, exist_ok=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text(f"{round(temperature * 1000)}\n")
    (firmware / "get_throttled").write_text(throttled + "\n")
    return root


def test_this_machine_can_be_read() -> None:
    health = read_health()
    assert health["memory_mb"] > 10
    assert health["machine_memory_mb"] > health["memory_mb"]


def test_changes_are_said_once(tmp_path: Path) -> None:
    events: list[Event] = []
    states: list[dict[str, object]] = []
    watcher = HealthWatcher("0", states.append, events.append, root=pretend_board(tmp_path, 50))
    watcher.check()
    assert events == []
    assert states[-1]["temperature_band"] == "ok"
    pretend_board(tmp_path, 82, "0x4")
    watcher.check()
    watcher.check()
    (hot,) = events
    assert hot.kind == "health"
    assert dict(hot.details) | {"frequency_mhz": 0} == {
        "temperature_c": 82.0, "temperature_band": "hot", "throttled": ["throttled"], "frequency_mhz": 0,
    }  # fmt: skip
    pretend_board(tmp_path, 78.5, "0x40000")
    watcher.check()
    assert events[-1].details["throttled"] == []
    assert events[-1].details["temperature_band"] == "hot", "78.5 is not well below the bound"
    pretend_board(tmp_path, 60, "0x40000")
    watcher.check()
    assert events[-1].details["temperature_band"] == "ok"
    assert len(events) == 3


@pytest.mark.parametrize(
    ("band", "temperature", "after"),
    [
        ("ok", 69, "ok"), ("ok", 70, "warm"), ("ok", 95, "hot"), ("warm", 68, "warm"), ("warm", 66, "ok"), ("hot", 78, "hot"),
        ("hot", 75, "warm"),
    ],
)  # fmt: skip
def test_bands_do_not_flicker(band: str, temperature: float, after: str) -> None:
    assert next_band(band, temperature) == after


class Bench:
    """A simulated loop with a frame rate and a CPU time per frame."""

    def __init__(self, rate: float, cost: float, **limits: float) -> None:
        self.now = self.used = 0.0
        self.rate, self.cost = rate, cost
        self.limiter = RateLimiter(**limits, processor_seconds=lambda: self.used, clock=lambda: self.now)  # type: ignore[arg-type]

    def run(self, seconds: float) -> float:
        """Return the frame rate over the second half."""
        start, half = self.now, 0
        while self.now < start + seconds:
            # The next frame comes after the camera's interval or the limiter's wait, whichever is
            # longer.
            self.now += max(1 / self.rate, self.limiter.wait())
            self.limiter.begin()
            self.used += self.cost
            half += self.now > start + seconds / 2
        return half / (seconds / 2)


def test_nothing_is_held_back_without_a_limit() -> None:
    bench = Bench(30, 0.01)
    assert bench.run(10) == pytest.approx(30, rel=0.05)
    assert bench.limiter.changed_state() is None
    assert bench.limiter.state()["cpu_percent"] == pytest.approx(30, rel=0.1)


def test_the_rate_that_was_asked_for() -> None:
    bench = Bench(1000, 0.0001, max_fps=12)
    assert bench.run(10) == pytest.approx(12, rel=0.02)
    assert bench.limiter.state()["slowed_by"] == []


def test_a_budget_is_kept_and_left_again() -> None:
    bench = Bench(30, 0.02, cpu_budget=20)
    assert bench.run(60) == pytest.approx(10, rel=0.2), "20 ms per frame in 20 % of a core"
    changed_state = bench.limiter.changed_state()
    assert changed_state is not None
    assert changed_state["slowed_by"] == ["cpu_budget"]
    assert bench.limiter.changed_state() is None, "reported once"
    bench.cost = 0.001
    assert bench.run(60) == pytest.approx(30, rel=0.1)
    again = bench.limiter.changed_state()
    assert again is not None
    assert again["slowed_by"] == []


def test_a_throttled_machine_gets_half_of_the_frames() -> None:
    bench = Bench(30, 0.01)
    bench.run(5)
    bench.limiter.throttled = True
    assert bench.run(20) == pytest.approx(15, rel=0.15)
    bench.limiter.throttled = False
    assert bench.run(20) == pytest.approx(30, rel=0.05)


def test_a_lost_camera_does_not_count_as_a_slow_loop() -> None:
    bench = Bench(25, 0.001)
    bench.run(3)
    bench.now += 60  # the camera is lost, and the host throttles as it comes back
    bench.limiter.throttled = True
    bench.run(5)
    assert bench.limiter.state() == {
        "slowed_by": ["throttled"],
        "rate_limit_fps": 12.5,
        "cpu_percent": pytest.approx(1.25, rel=0.1),
    }


def test_a_rate_of_a_frame_in_ten_seconds_is_measured() -> None:
    bench = Bench(1, 0.5, max_fps=0.1)
    bench.run(60)
    assert bench.limiter.state()["cpu_percent"] == pytest.approx(5, rel=0.1)
