"""Worker threads: what a failing item costs the later ones."""

from __future__ import annotations

import queue
import threading

from maskedge.errors import OutputError
from maskedge.support.workers import Worker


def test_an_unexpected_error_is_reported_and_the_next_item_is_processed() -> None:
    states: queue.Queue[str | None] = queue.Queue()
    done: queue.Queue[str] = queue.Queue()

    def process(item: str) -> None:
        if item == "secret":
            raise UnicodeError(item)
        done.put(item)

    worker = Worker("webhook of door", process, states.put, waits=())
    worker.submit("secret")
    assert states.get(timeout=10) == "webhook of door failed unexpectedly (UnicodeError)."
    worker.submit("plain")
    assert (done.get(timeout=10), states.get(timeout=10)) == ("plain", None)
    worker.close()


def test_a_full_queue_is_reported_on_the_thread_that_submits() -> None:
    gate, entered = threading.Event(), threading.Event()
    states: list[tuple[str | None, str]] = []

    def process(item: int) -> None:
        entered.set()
        gate.wait(10)
        if item == 0:
            raise OutputError("the disk is full.")

    worker = Worker(
        "writing", process, lambda problem: states.append((problem, threading.current_thread().name)), capacity=1, waits=()
    )
    worker.submit(0)
    assert entered.wait(10)
    assert [worker.submit(number) for number in (1, 2, 3)] == [True, False, False]
    assert worker.dropped == 2
    gate.set()
    worker.close(10)
    (slow, caller), (back, thread) = states
    assert slow == "writing is too slow: 1 items wait already, and further ones are dropped."
    assert (caller, back, thread) == (threading.current_thread().name, None, "writing")
