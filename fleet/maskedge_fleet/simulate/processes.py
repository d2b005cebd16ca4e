"""The processes of a simulation. Each runs some of the devices."""

from __future__ import annotations

import heapq
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event as Signal
from types import FrameType

from maskedge.errors import MaskedgeError, OutputError

from .device import SimulatedDevice
from .plan import Plan

_STEP = 2.0
"""Seconds between two steps of a device."""
_CLOSING = 50
"""Number of devices that are closed at the same time."""
_READY_S = 300.0


@dataclass
class Totals:
    """Sums over devices.

    Attributes:
        events: Events that the outputs have taken, by kind.
        people: New people that the outputs have taken, by label.
        refused: Steps that the outputs refused because their spool was full.
        waiting: Messages that were not confirmed at the end.
        confirmed: Messages that were confirmed.
        problem: Reason why a device was not connected at the end; None if all were.
    """

    events: Counter[str] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    waiting: int = 0
    confirmed: int = 0
    problem: str | None = None

    def add(self, other: Totals) -> None:
        """Add other totals."""
        self.events.update(other.events)
        self.people.update(other.people)
        self.refused += other.refused
        self.waiting += other.waiting
        self.confirmed += other.confirmed
        self.problem = self.problem or other.problem


def simulate(plan: Plan, started: threading.Event | None = None) -> Totals:
    """Run all devices until the end of the plan, SIGINT or SIGTERM. Call it on the main thread.

    Args:
        plan: The simulation.
        started: Set when every device has been opened.

    Returns:
        The sums over all devices.

    Raises:
        UsageError: The address of the broker is invalid.
        OutputError: A spool cannot be opened, or a process has ended.
    """
    # The parent of the processes loads the libraries once, and the processes share its memory.
    context = get_context("forkserver")
    context.set_forkserver_preload(["maskedge_fleet.simulate.device"])
    stop = context.Event()
    ends: list[Connection] = []
    processes = []
    try:
        with _signals(stop):
            for part in plan.parts:
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_run_part, args=(plan, part, stop, theirs), daemon=True)
                process.start()
                theirs.close()
                ends.append(ours)
                processes.append(process)
            for end in ends:
                _receive(end, _READY_S)
            if started is not None:
                started.set()
            stop.wait(plan.seconds)
            stop.set()
            totals = Totals()
            for end in ends:
                received = _receive(end, plan.drain_s + _READY_S)
                assert isinstance(received, Totals)  # noqa: S101  (sent by `_run_part`)
                totals.add(received)
    finally:
        stop.set()
        for process in processes:
            process.join(plan.drain_s)
            if process.is_alive():
                process.kill()
    return totals


@contextmanager
def _signals(stop: Signal) -> Iterator[None]:
    """End the simulation cleanly at SIGINT and SIGTERM."""

    def handle(number: int, frame: FrameType | None) -> None:
        # The main thread waits inside `stop`, so it must not be set here.
        threading.Thread(target=stop.set, daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _receive(end: Connection, seconds: float) -> object:
    """Return the next message of a process.

    Raises:
        MaskedgeError: The error of the process.
    """
    received: object = None
    with suppress(EOFError):
        received = end.recv() if end.poll(seconds) else None
    if isinstance(received, MaskedgeError):
        raise received
    if received is None:
        raise OutputError("a process of the simulation has ended early: check memory and open files, or simulate fewer devices.")
    return received


def _run_part(plan: Plan, part: Sequence[int], stop: Signal, end: Connection) -> None:
    """Run devices in a process of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    devices: list[SimulatedDevice] = []
    try:
        for index in part:
            devices.append(SimulatedDevice(plan, index))  # noqa: PERF401  (those opened before an error are closed)
        end.send("ready")
        _run_devices(devices, stop)
        totals = Totals(waiting=_close(devices, plan.drain_s))
        for device in devices:
            sink = device.sink
            totals.add(Totals(device.handed, device.people, device.refused, confirmed=sink.delivered, problem=sink.problem))
        end.send(totals)
    except MaskedgeError as error:
        end.send(error)
        _close(devices)


def _run_devices(devices: Sequence[SimulatedDevice], stop: Signal) -> None:
    """Step the devices in turn until the end."""
    parent = parent_process()
    now = time.monotonic()
    due = [(now + _STEP * place / len(devices), place) for place in range(len(devices))]
    checked = now
    while not stop.is_set():
        moment, place = due[0]
        now = time.monotonic()
        if moment > now:
            stop.wait(min(moment - now, 0.5))
            if now > checked + 1 and parent is not None and not parent.is_alive():
                break
            continue
        devices[place].step()
        # A process that is late skips steps.
        heapq.heapreplace(due, (max(moment + _STEP, now), place))


def _close(devices: Sequence[SimulatedDevice], seconds: float = 0.0) -> int:
    """Close each device when its messages are confirmed, the others after `seconds`.

    Returns:
        The number of messages that are not confirmed. The last statistics of a device are added
        when it is closed.
    """
    left = list(devices)
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(_CLOSING) as pool:
        while left:
            late = time.monotonic() >= end
            ready = [device for device in left if late or device.sink.waiting == 0]
            left = [device for device in left if device not in ready]
            list(pool.map(lambda device: device.close(), ready))
            time.sleep(0.05)
    return sum(device.sink.waiting for device in devices)
