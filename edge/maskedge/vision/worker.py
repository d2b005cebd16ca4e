"""A thread that detects and classifies faces, so that the loop of a live source never waits."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from maskedge.errors import MaskedgeError, ModelError
from maskedge.support.log import NAME
from maskedge.support.timing import StageClock

from .analysis import Analysis, AnalysisRequest

NICENESS = 5
"""Added niceness of the thread, where the system allows it. On one core, the loop goes first."""
_LONGEST = 60.0
"""Maximum seconds for one frame. After that the thread counts as hanging, which cannot be ended."""
_LEAST_SHARE = 0.25
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
            MaskedgeError: The analysis failed.
        """
        return self._worker.take(self)

    def cancel(self) -> None:
        """Drop the frame that waits, and the result of the frame that is analysed."""
        self._worker.cancel(self)


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
        self.cpu_budget = cpu_budget
        self._analyze = analyze
        self._changed = threading.Condition()
        self._turns: deque[WorkerClient] = deque()
        self._running: WorkerClient | None = None
        self._cancelled = False
        self._since = 0.0
        self._deaths = 0
        self._reason: BaseException | None = None
        self._closed = False
        self._thread = self._start()

    def client(self) -> WorkerClient:
        """Return access for one more video."""
        return WorkerClient(self)

    def close(self, seconds: float = 1.0) -> None:
        """Stop. Wait up to `seconds` for the frame that is analysed."""
        with self._changed:
            self._closed = True
            self._turns.clear()
            self._changed.notify_all()
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
                raise client.failure
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
        if self._thread.is_alive():
            if self._running is not None and time.monotonic() - self._since > _LONGEST:
                raise ModelError(f"the detection has not returned for {_LONGEST:.0f} s: use another detector, or run edge-doctor.")
            return
        self._deaths += 1
        self._running = None
        reason = " ".join(repr(self._reason).split())[:200]
        if self._deaths > 1:
            raise ModelError(f"the detection failed twice ({reason}): run edge-doctor, or use another detector.")
        _log.warning("the detection failed and was started again (%s).", reason)
        self._thread = self._start()

    def _run(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            # On Linux, this is the niceness of the thread alone.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        meter = _CpuMeter()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._turns or self._closed)
                if self._closed:
                    return
                client = self._turns.popleft()
                request, client.waiting = client.waiting, None
                self._running, self._cancelled, self._since = client, False, time.monotonic()
            if request is None:
                continue
            clock = StageClock()
            answer, failure = None, None
            try:
                answer = self._analyze(request, clock)
            except MaskedgeError as error:
                failure = error
            except BaseException as error:  # noqa: BLE001  (`take` reports it)
                self._reason = error
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
        seconds = pause_seconds(own, others, since, self.cpu_budget)
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)


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
    return max(0.0, own / max(_LEAST_SHARE * budget, budget - others) - since)


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
