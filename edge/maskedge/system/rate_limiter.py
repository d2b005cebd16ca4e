"""Rate limits of a live loop: a maximum frame rate, a CPU budget, and throttling."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_WINDOW = 1.0
"""Seconds over which CPU use is measured."""
_LONGEST = 2.0
"""Maximum time between two frames, in seconds. A slower loop would not be live."""
_PAUSE = 2 * _LONGEST + _WINDOW
"""Seconds by which a frame is late if the source has paused, as a lost camera. A pause is not measured."""
_EASE = 0.85
"""Fraction of the budget below which the loop speeds up again."""
_FASTER = 0.85


class RateLimiter:
    """Computes how long to wait before the next frame.

    Args:
        max_fps: Maximum frames per second, None for no limit.
        cpu_budget: Maximum CPU use of this process in percent of one core, None for no limit.
        processor_seconds: Clock of the CPU time of this process, in seconds.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        max_fps: float | None = None,
        cpu_budget: float | None = None,
        *,
        processor_seconds: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.max_fps = max_fps
        self.cpu_budget = cpu_budget
        self.throttled = False
        """True while the host throttles (set by the caller). It halves the rate."""
        self.used: float | None = None
        """CPU use over the last second, in percent of one core."""
        self._processor = processor_seconds
        self._clock = clock
        self._budget_wait = 0.0
        self._throttle_wait = 0.0
        self._last = self._window = clock()
        self._frames = 0
        self._processor_at = processor_seconds()
        self._reported: tuple[str, ...] = ()

    def wait(self) -> float:
        """Return the seconds to wait before the next frame."""
        interval = max(1 / self.max_fps if self.max_fps else 0.0, self._budget_wait, self._throttle_wait)
        return max(0.0, self._last + interval - self._clock())

    def begin(self) -> None:
        """Record that a frame begins."""
        now = self._clock()
        interval = 1 / self.max_fps if self.max_fps else 0.0
        # The next time is counted from the planned time, to keep the average at the requested rate.
        due = self._last + interval
        if now - due > _PAUSE:
            self._window, self._frames, self._processor_at = now, -1, self._processor()
        self._last = due if interval and 0 <= now - due < interval else now
        self._frames += 1
        if now - self._window >= _WINDOW:
            self._measure(now)

    def changed_state(self) -> dict[str, Any] | None:
        """Return the state if the reasons for slowing down have changed, or else None."""
        reasons = self.reasons
        if reasons == self._reported:
            return None
        self._reported = reasons
        return self.state()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons why the loop is slowed down, of `cpu_budget` and `throttled`.

        `max_fps` is not a reason, because the user set it.
        """
        budget = ("cpu_budget",) if self._budget_wait else ()
        return budget + (("throttled",) if self._throttle_wait else ())

    def state(self) -> dict[str, Any]:
        """Return the reasons, the maximum rate and the CPU use, in JSON types."""
        interval = max(1 / self.max_fps if self.max_fps else 0.0, self._budget_wait, self._throttle_wait)
        return {
            "slowed_by": list(self.reasons),
            "rate_limit_fps": round(1 / interval, 2) if interval else None,
            "cpu_percent": None if self.used is None else round(self.used, 1),
        }

    def _measure(self, now: float) -> None:
        seconds, frames = now - self._window, self._frames
        used = self._processor()
        used_seconds = used - self._processor_at
        self._window, self._frames, self._processor_at = now, 0, used
        self.used = 100 * used_seconds / seconds
        interval = seconds / max(frames, 1)
        if self.cpu_budget is None:
            self._budget_wait = 0.0
        elif self.used > self.cpu_budget:
            self._budget_wait = min(max(interval, self._budget_wait) * self.used / self.cpu_budget, _LONGEST)
        elif self.used < _EASE * self.cpu_budget and self._budget_wait:
            self._budget_wait *= _FASTER
            # A wait shorter than the interval of the frames has no effect.
            if self._budget_wait < 0.7 * interval:
                self._budget_wait = 0.0
        if self.throttled and not self._throttle_wait:
            self._throttle_wait = min(2 * interval, _LONGEST)
        elif not self.throttled:
            self._throttle_wait = 0.0
