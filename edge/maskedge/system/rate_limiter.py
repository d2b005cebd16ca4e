"""Holds a live loop back: to a rate that was asked for, to a budget of the processor, and where the machine throttles."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_WINDOW = 1.0
"""Seconds over which the use of the processor is measured."""
_LONGEST = 2.0
"""Seconds between two frames at most: what looks at less is no camera."""
_EASE = 0.85
"""Share of the budget below which the loop goes faster again."""
_FASTER = 0.85


class RateLimiter:
    """Tells when the next frame may begin.

    Args:
        max_fps: Frames a second at most; None for as many as come.
        cpu_budget: Percent of one core that the process may use; None for all.
        processor_seconds: Clock of the processor's time that this process has used.
        clock: Clock of the time that goes by, in seconds.
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
        """True while the machine slows itself down (set from outside): then the loop takes half of the frames."""
        self.used: float | None = None
        """Percent of one core that was used over the last second."""
        self._processor = processor_seconds
        self._clock = clock
        self._budget_wait = 0.0
        self._throttle_wait = 0.0
        self._last = self._window = clock()
        self._frames = 0
        self._processor_at = processor_seconds()
        self._said: tuple[str, ...] = ()

    def wait(self) -> float:
        """Tell how many seconds to wait before the next frame."""
        interval = max(1 / self.max_fps if self.max_fps else 0.0, self._budget_wait, self._throttle_wait)
        return max(0.0, self._last + interval - self._clock())

    def begin(self) -> None:
        """Note that a frame begins."""
        now = self._clock()
        interval = 1 / self.max_fps if self.max_fps else 0.0
        # By the plan where it was kept, so that the rate is the one that was asked for.
        due = self._last + interval
        self._last = due if interval and 0 <= now - due < interval else now
        self._frames += 1
        if now - self._window >= _WINDOW:
            self._measure(now)

    def changed_state(self) -> dict[str, Any] | None:
        """Give the state when the reasons for holding back have changed since the last call, else None."""
        reasons = self.reasons
        if reasons == self._said:
            return None
        self._said = reasons
        return self.state()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the loop is slower than it could be, of `cpu_budget` and `throttled`; `max_fps` is what the user asked for."""
        budget = ("cpu_budget",) if self._budget_wait else ()
        return budget + (("throttled",) if self._throttle_wait else ())

    def state(self) -> dict[str, Any]:
        """Give reasons, the rate at most and the use of the processor, of JSON's types alone."""
        interval = max(1 / self.max_fps if self.max_fps else 0.0, self._budget_wait, self._throttle_wait)
        return {
            "slowed_by": list(self.reasons),
            "rate_limit_fps": round(1 / interval, 2) if interval else None,
            "cpu_percent": None if self.used is None else round(self.used, 1),
        }

    def _measure(self, now: float) -> None:
        seconds, frames = now - self._window, self._frames
        used_seconds = self._processor() - self._processor_at
        self._window, self._frames, self._processor_at = now, 0, self._processor()
        self.used = 100 * used_seconds / seconds
        interval = seconds / max(frames, 1)
        if self.cpu_budget is None:
            self._budget_wait = 0.0
        elif self.used > self.cpu_budget:
            self._budget_wait = min(max(interval, self._budget_wait) * self.used / self.cpu_budget, _LONGEST)
        elif self.used < _EASE * self.cpu_budget and self._budget_wait:
            self._budget_wait *= _FASTER
            # Below the rate at which frames come by themselves it holds nothing back.
            if self._budget_wait < 0.7 * interval:
                self._budget_wait = 0.0
        if self.throttled and not self._throttle_wait:
            self._throttle_wait = min(2 * interval, _LONGEST)
        elif not self.throttled:
            self._throttle_wait = 0.0
