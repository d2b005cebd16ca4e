"""A thread that detects and classifies faces, so that the loop of a live source never waits."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from maskedge.errors import MaskedgeError, ModelError
from maskedge.support.log import NAME
from maskedge.support.timing import StageClock

from .analysis import Analysis, AnalysisRequest

_LONGEST_PAUSE = 2.0
"""Maximum pause in seconds, whatever the CPU budget. Slower detections would not be live."""
NICENESS = 5
"""Added niceness of the thread, where the system allows it. On one core, the loop goes first."""
_HANGS_AFTER = 60.0
"""Maximum seconds for one frame. After that the thread counts as hanging, which cannot be ended."""
_GUARANTEED_SHARE = 0.25
"""Fraction of the CPU budget that the thread may always use."""
_WINDOW = 1.0
"""Seconds over which CPU use is measured."""
_log = logging.getLogger(NAME)


class WorkerClient:
    """Access of one video to a `DetectionWorker`. `DetectionWorker.client` creates it."""

    def __init__(self, worker: DetectionWorker) -> None:
        self._worker = worker
        self.waiting: AnalysisRequest | None = None
        """The request that waits for the thread. Only the worker's methods change it."""
        self.answer: tuple[Analysis, dict[str, float]] | None = None
        """The result that waits to be taken. Only the worker's methods change it."""
        self.failure: MaskedgeError | None = None
        """The error of this client's request. Only the worker's methods change it."""

    @property
    def accepts(self) -> bool:
        """True if a frame may be submitted: none is analysed, and no result waits to be taken."""
        return self._worker.accepts(self)

    @property
    def is_idle(self) -> bool:
        """True if no frame of this client waits, is analysed or is ready."""
        return self.waiting is None and self.accepts

    def submit(self, request: AnalysisRequest) -> bool:
        """Submit a frame for analysis. It replaces a frame of this client that still waits.

        Return False if a frame is already analysed, or its result is ready.
        """
        return self._worker.submit(self, request)

    def wait(self, seconds: float) -> bool:
        """Wait until the submitted frame is analysed. Return False if it is not after `seconds`."""
        return self._worker.wait(self, seconds)

    def take(self) -> tuple[Analysis, dict[str, float]] | None:
        """Return the result and the milliseconds of its stages once it is complete, otherwise None.

        Raises:
            MaskedgeError: The analysis failed. Each later call raises it again.
        """
        return self._worker.take(self)

    def cancel(self) -> None:
        """Drop the frame that waits, and the result of the frame that is analysed."""
        self._worker.cancel(self)

    def recover(self) -> None:
        """Forget an error, since the network that failed was replaced. A dead thread is started."""
        self._worker.recover(self)


class DetectionWorker:
    """A thread that analyses frames for several videos.

    Each client has one place in the queue. Its newest frame replaces an older one there and keeps
    the turn, so that no client waits longer than one frame of each other client.

    If the thread dies, it is started once more. The second time, the clients get an error.

    Args:
        analyze: Analyses a frame.
        cpu_budget: CPU budget of the process in percent of one core, None for no limit. The thread
            pauses between frames so that the process stays within it, and always gets a quarter of
            it.
    """

    def __init__(self, analyze: Callable[[AnalysisRequest, StageClock], Analysis], cpu_budget: float | None = None) -> None:
        self._cpu_budget = cpu_budget
        self._analyze = analyze
        self._changed = threading.Condition()
        self._turns: deque[WorkerClient] = deque()
        self._running: WorkerClient | None = None
        self._cancelled = False
        # Seconds that the running analysis has taken, up to the time `_checked`.
        self._busy = self._checked = 0.0
        self._deaths = 0
        # Why the thread has died. Only the text is kept: the exception would hold the picture.
        self._death: str | None = None
        self._closed = False
        self._thread = self._start()

    @property
    def cpu_budget(self) -> float | None:
        """CPU budget of the process in percent of one core, None for no limit."""
        return self._cpu_budget

    @cpu_budget.setter
    def cpu_budget(self, cpu_budget: float | None) -> None:
        with self._changed:
            self._cpu_budget = cpu_budget
            self._changed.notify_all()

    def client(self) -> WorkerClient:
        """Return access for one more video."""
        return WorkerClient(self)

    def close(self, seconds: float = 1.0) -> None:
        """Stop. Wait up to `seconds` for the frame that is analysed."""
        with self._changed:
            self._closed = True
            self._turns.clear()
            self._changed.notify_all()
        # Garbage collection may close a worker on its own thread.
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def accepts(self, client: WorkerClient) -> bool:
        """See `WorkerClient.accepts`."""
        with self._changed:
            return client.answer is None and (self._running is not client or self._cancelled)

    def submit(self, client: WorkerClient, request: AnalysisRequest) -> bool:
        """See `WorkerClient.submit`."""
        with self._changed:
            if not self.accepts(client):
                return False
            if client.waiting is None:
                self._turns.append(client)
            client.waiting = request
            self._changed.notify_all()
            return True

    def wait(self, client: WorkerClient, seconds: float) -> bool:
        """See `WorkerClient.wait`."""
        with self._changed:
            return self._changed.wait_for(lambda: client.waiting is None and self._running is not client, seconds)

    def take(self, client: WorkerClient) -> tuple[Analysis, dict[str, float]] | None:
        """See `WorkerClient.take`."""
        with self._changed:
            if client.failure is not None:
                raise client.failure.with_traceback(None)
            if client.answer is None:
                self._check_thread()
            answer, client.answer = client.answer, None
            return answer

    def cancel(self, client: WorkerClient) -> None:
        """See `WorkerClient.cancel`."""
        with self._changed:
            client.waiting = client.answer = None
            if client in self._turns:
                self._turns.remove(client)
            if self._running is client:
                self._cancelled = True

    def recover(self, client: WorkerClient) -> None:
        """See `WorkerClient.recover`."""
        with self._changed:
            client.failure = None
            if self._closed or (self._death is None and self._thread.is_alive()):
                return
            self._deaths, self._death, self._running = 0, None, None
            self._thread = self._start()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="detection", daemon=True)
        thread.start()
        return thread

    def _check_thread(self) -> None:
        """Start a thread that died once more.

        Raises:
            ModelError: It died for the second time, or hangs.
        """
        if self._closed:
            return
        if self._death is None and self._thread.is_alive():
            # Time in which the process was stopped does not count.
            now = time.monotonic()
            self._busy += min(now - self._checked, 1.0)
            self._checked = now
            if self._running is not None and self._busy > _HANGS_AFTER:
                raise ModelError(
                    f"the detection has not returned for {_HANGS_AFTER:.0f} s: use another detector, or run edge-doctor."
                )
            return
        self._deaths += 1
        self._running = None
        if self._deaths > 1:
            raise ModelError(f"the detection failed twice ({self._death}): run edge-doctor, or use another detector.")
        _log.warning("the detection failed and was started again (%s).", self._death)
        self._death = None
        self._thread = self._start()

    def _run(self) -> None:
        if sys.platform == "linux":
            # On Linux, this is the niceness of the thread alone.
            with contextlib.suppress(OSError):
                nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        meter = _CpuMeter()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._turns or self._closed)
                if self._closed:
                    return
                client = self._turns.popleft()
                request, client.waiting = client.waiting, None
                self._running, self._cancelled = client, False
                self._busy, self._checked = 0.0, time.monotonic()
            if request is None:
                continue
            clock = StageClock()
            answer, failure = None, None
            try:
                answer = self._analyze(request, clock)
            except MaskedgeError as error:
                failure = error
            except BaseException as error:  # noqa: BLE001  (`take` reports it)
                with self._changed:
                    self._death = " ".join(repr(error).split())[:200]
                    self._running = None
                    self._changed.notify_all()
                return
            with self._changed:
                self._running = None
                if not self._cancelled:
                    client.failure = failure
                    client.answer = None if answer is None else (answer, clock.last)
                self._changed.notify_all()
            del request
            self._pause(meter)

    def _pause(self, meter: _CpuMeter) -> None:
        """Wait as long as the CPU budget requires."""
        own, others, since = meter.measure()
        end = time.monotonic()
        with self._changed:
            while not self._closed:
                left = pause_seconds(own, others, since, self._cpu_budget) - (time.monotonic() - end)
                if left <= 0:
                    break
                self._changed.wait(left)


def pause_seconds(own: float, others: float, since: float, cpu_budget: float | None) -> float:
    """Return how long the thread must pause to keep the process within its CPU budget.

    Args:
        own: CPU seconds of the thread for its last frame.
        others: CPU use of the other threads, as a fraction of one core.
        since: Wall seconds since the end of the frame before.
        cpu_budget: CPU budget of the process in percent of one core, None for no limit.
    """
    if cpu_budget is None:
        return 0.0
    budget = cpu_budget / 100
    return min(max(0.0, own / max(_GUARANTEED_SHARE * budget, budget - others) - since), _LONGEST_PAUSE)


class _CpuMeter:
    """Measures the CPU time of this thread, and of the other threads of the process."""

    def __init__(self) -> None:
        self._window: deque[tuple[float, float, float]] = deque([self._read()])

    def measure(self) -> tuple[float, float, float]:
        """Return the CPU seconds of this thread, the share of the others, and the wall seconds.

        The seconds are those since the last call. The share is a fraction of one core over the last
        second.
        """
        now, own, total = self._read()
        used, since = own - self._window[-1][1], now - self._window[-1][0]
        self._window.append((now, own, total))
        while len(self._window) > 2 and now - self._window[1][0] > _WINDOW:
            self._window.popleft()
        first = self._window[0]
        span = max(now - first[0], 1e-6)
        return used, max(0.0, (total - first[2]) - (own - first[1])) / span, since

    @staticmethod
    def _read() -> tuple[float, float, float]:
        return time.perf_counter(), time.thread_time(), time.process_time()
