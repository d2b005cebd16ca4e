"""The context of a run: optional parts, request to stop, and result."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from maskedge.alerts.actions import Actions
from maskedge.alerts.engine import AlertEngine
from maskedge.errors import MaskedgeError
from maskedge.events import UNNAMED, Event
from maskedge.results import FrameResult
from maskedge.system.health import HealthWatcher
from maskedge.system.rate_limiter import RateLimiter
from maskedge.system.sd_notify import SystemdNotifier
from maskedge.tracking.lines import LineCounter
from maskedge.zones import Zones

from .state import RunState
from .summary import Summary


@dataclass
class StopRequest:
    """A request to end a run after the current frame, or to reload its configuration.

    Signal handlers and commands of a fleet set it.

    Attributes:
        signal: Number of the signal that ends the run; None to continue.
        reload: True to reload the configuration.
        restart: True to start the process again after its end.
    """

    signal: int | None = None
    reload: bool = False
    restart: bool = False
    _asking: list[Callable[[bool, str], None]] = field(default_factory=list, init=False, repr=False, compare=False)
    _answered: list[Callable[[bool, str], None]] = field(default_factory=list, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def ask_reload(self, reloaded: Callable[[bool, str], None]) -> None:
        """Ask for a reload, and for its outcome. Safe on any thread, but not in a signal handler.

        Args:
            reloaded: Called once after the reload, with True and what has changed, or with False and
                the reason why nothing has.
        """
        with self._lock:
            self._asking.append(reloaded)
            self.reload = True

    def take_reload(self) -> bool:
        """Return True if a reload is asked for, and begin it. Later requests are for the next one.

        If the outcome of an earlier one is not known yet, that of this one stands for both.
        """
        if not self.reload:
            return False
        with self._lock:
            self.reload = False
            self._answered += self._asking
            self._asking = []
        return True

    def reloaded(self, done: bool, sentence: str) -> None:
        """Report the outcome to everyone who had asked before the reload began.

        Args:
            done: True if the new configuration is in effect.
            sentence: What has changed, or the reason why nothing has.
        """
        answered, self._answered = self._answered, []
        for report in answered:
            report(done, sentence)


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        summary: Counts and timing of the run.
        failure: The error that ended the run; None if it ended regularly.
    """

    summary: Summary
    failure: MaskedgeError | None


@dataclass
class RunContext:
    """Optional parts of a run. Most of them may be replaced during the run.

    Attributes:
        state: Collects the state of the run for pages and metrics.
        zones: Parts of the picture in which faces count.
        lines: Counts the people who cross lines.
        alerts: Evaluates the alert rules.
        actions: Performs the actions of alerts. If it is None, every alert is published as an
            event.
        rate_limiter: Slows a live loop down.
        health: Watches the health of the host.
        systemd: Reports to systemd.
        event_queue: Events of other threads. The loop publishes them.
        anonymize: Pixelate faces in every picture that leaves the program.
        stats_only: Remove positions and identities from everything that leaves the program.
        camera: Name of the camera.
        device: Name of the device.
        reload: Reloads the configuration. The loop calls it between two frames.
        newest: The newest published result.
    """

    state: RunState | None = None
    zones: Zones = field(default_factory=Zones)
    lines: LineCounter = field(default_factory=LineCounter)
    alerts: AlertEngine | None = None
    actions: Actions | None = None
    rate_limiter: RateLimiter | None = None
    health: HealthWatcher | None = None
    systemd: SystemdNotifier | None = None
    event_queue: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    anonymize: bool = False
    stats_only: bool = False
    camera: str = UNNAMED
    device: str = ""
    reload: Callable[[], None] = lambda: None
    newest: FrameResult | None = None
