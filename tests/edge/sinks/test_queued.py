"""Sinks behind a queue: slow, failing and hanging ones hold up nobody."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.brokers import wait_for
from maskedge.errors import OutputError
from maskedge.events import ALERT, Event
from maskedge.results import FrameResult
from maskedge.sinks.base import Sink
from maskedge.sinks.events import EventSink
from maskedge.sinks.queued import QueuedSink
from maskedge.types import Frame


def answer(index: int, *events: Event) -> FrameResult:
    return FrameResult(Frame(np.zeros((8, 8, 3), np.uint8), index, 1.0, 0.0, "0", index / 30), [], {"total": 1.0}, events=events)


class Recorder(Sink):
    """Keeps what it is given; waits and fails when told to."""

    name = "recorder"

    def __init__(self) -> None:
        self.taken: list[int | str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.reopened = self.closed = 0

    def _take(self, what: int | str) -> None:
        self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.taken.append(what)

    def write(self, answer: FrameResult) -> bool:
        self._take(answer.frame.index)
        return answer.frame.index < 1000

    def handle_event(self, event: Event) -> None:
        self._take(event.kind)

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed += 1


def test_what_is_written_comes_in_order_and_the_rest_at_the_end() -> None:
    inner = Recorder()
    sink = QueuedSink(inner, capacity=100)
    for index in range(50):
        assert sink.write(answer(index))
    sink.handle_event(Event(ALERT, 1.0, "0"))
    sink.close()
    sink.close()
    assert inner.taken == [*range(50), ALERT]
    assert inner.closed == 1
    assert sink.status() == {"written": 50, "dropped": 0, "state": "ok", "error": None}


def test_a_slow_sink_loses_old_frames_and_no_event() -> None:
    inner = Recorder()
    inner.gate.clear()
    sink = QueuedSink(inner, capacity=4)
    started = time.monotonic()
    for index in range(200):
        sink.write(answer(index, Event(f"seen {index}", 1.0, "0")) if index % 50 == 10 else answer(index))
    assert time.monotonic() - started < 30, "it never waits"
    inner.gate.set()
    sink.close()
    assert [what for what in inner.taken if isinstance(what, str)] == ["seen 10", "seen 60", "seen 110", "seen 160"]
    assert inner.taken[-1] == 199, "the newest frame is there"
    assert sink.dropped + sink.written == 200


def test_a_failure_is_published_once_and_retried() -> None:
    inner, published = Recorder(), []
    inner.failure = OutputError("the disk is full.")
    sink = QueuedSink(inner, source="0", publish_event=published.append, first_wait=0.02)
    sink.write(answer(0))
    wait_for(lambda: inner.reopened > 2, "tries")
    assert sink.status()["state"] == "lost"
    inner.failure = None
    wait_for(lambda: sink.written == 1, "success")
    wait_for(lambda: len(published) == 2, "the word that it works again")
    sink.close()
    assert inner.taken == [0], "nothing is lost and nothing comes twice"
    assert [(event.kind, dict(event.details)) for event in published] == [
        ("output_lost", {"output": "recorder", "error": "the disk is full."}),
        ("output_back", {"output": "recorder"}),
    ]


def test_a_sink_that_only_listens_is_not_back(tmp_path: Path) -> None:
    """A video takes an event without writing anything: its disk is as full as before."""
    published: list[Event] = []

    class Full(Recorder):
        def write(self, answer: FrameResult) -> bool:
            raise OutputError("the disk is full.")

    inner = Full()
    sink = QueuedSink(inner, capacity=1, publish_event=published.append, first_wait=0.01)
    sink.write(answer(0))
    wait_for(lambda: published, "the word")
    sink.handle_event(Event(ALERT, 1.0, "0"))
    sink.handle_event(Event(ALERT, 2.0, "0"))
    wait_for(lambda: len(inner.taken) == 2, "the events")
    assert sink.status()["state"] == "lost"
    assert [event.kind for event in published] == ["output_lost"]
    with pytest.raises(OutputError, match="full"):
        sink.close()


def test_any_failure_of_a_sink_is_survived() -> None:
    inner, published = Recorder(), []
    inner.failure = ZeroDivisionError("oh")
    sink = QueuedSink(inner, publish_event=published.append, first_wait=0.01)
    sink.write(answer(0))
    wait_for(lambda: published, "the word")
    with pytest.raises(OutputError, match="recorder failed"):
        sink.close()
    assert inner.closed == 1


def test_a_sink_that_hangs_is_left_alone_at_the_end() -> None:
    inner = Recorder()
    inner.gate.clear()
    sink = QueuedSink(inner)
    sink.write(answer(0))
    started = time.monotonic()
    with pytest.raises(OutputError, match="hangs"):
        sink.close()
    assert time.monotonic() - started < 20
    inner.gate.set()


def test_a_sink_that_wants_the_end_is_heard() -> None:
    sink = QueuedSink(Recorder())
    sink.write(answer(1000))
    wait_for(lambda: not sink.write(answer(1)), "the end")
    sink.close()


def test_a_full_disk_under_events(tmp_path: Path) -> None:
    published: list[Event] = []
    sink = QueuedSink(EventSink("/dev/full"), publish_event=published.append, first_wait=0.01)
    for index in range(20):
        assert sink.write(answer(index))
    wait_for(lambda: published, "the word")
    assert "No space left" in published[0].details["error"]
    with pytest.raises(OutputError, match="No space left"):
        sink.close()
    assert len(published) == 1


def test_what_has_only_been_handed_on_is_not_written() -> None:
    """An output that hands on to a server counts what has arrived there."""

    class Sender(Recorder):
        delivered = 0

    inner = Sender()
    sink = QueuedSink(inner)
    for index in range(5):
        sink.write(answer(index))
    wait_for(lambda: len(inner.taken) == 5, "five answers")
    assert sink.status()["written"] == 0
    inner.delivered = 3
    assert sink.status()["written"] == 3
    sink.close()
