"""The detection thread alone: turns, newest frames, failures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from maskedge.errors import ModelError
from maskedge.support.log import NAME
from maskedge.support.timing import StageClock
from maskedge.vision.analysis import Analysis, AnalysisRequest
from maskedge.vision.scoring import ScoredBoxes
from maskedge.vision.worker import DetectionWorker, WorkerClient, pause_seconds

EMPTY = Analysis(ScoredBoxes([], np.empty((0, 2), np.float32), np.empty(0, np.float32)), 0, [], 0)


class Gate:
    """Analyses a frame when `go` is released; the frame's first pixel is its number."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.begun: list[int] = []
        self.fail: BaseException | None = None

    def __call__(self, request: AnalysisRequest, clock: StageClock) -> Analysis:
        self.begun.append(int(request.image[0, 0, 0]))
        assert self.go.acquire(timeout=60)
        if self.fail is not None:
            raise self.fail
        with clock("detect"):
            return EMPTY


def frame(number: int) -> AnalysisRequest:
    return AnalysisRequest(np.full((4, 4, 3), number, np.uint8))


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_newest_frame_of_a_client_replaces_the_older_one() -> None:
    gate = Gate()
    worker = DetectionWorker(gate)
    client = worker.client()
    assert client.is_idle
    assert client.submit(frame(1))
    wait(lambda: gate.begun == [1])
    assert not client.accepts
    assert not client.submit(frame(2)), "a frame is analysed"
    gate.go.release()
    wait(lambda: client.answer is not None)
    assert not client.submit(frame(3)), "a result waits to be taken"
    taken = client.take()
    assert taken is not None
    assert taken[0] is EMPTY
    assert set(taken[1]) == {"detect"}
    assert client.take() is None
    other = worker.client()
    assert other.submit(frame(4))
    wait(lambda: gate.begun == [1, 4])
    for number in (5, 6, 7):
        assert client.submit(frame(number)), "the frame waits, so a newer one replaces it"
    gate.go.release(2)
    wait(lambda: client.answer is not None)
    assert gate.begun == [1, 4, 7]
    worker.close()


def test_clients_take_turns() -> None:
    gate = Gate()
    worker = DetectionWorker(gate)
    clients = [worker.client() for _ in range(3)]
    busy = clients[0]
    busy.submit(frame(0))
    wait(lambda: gate.begun == [0])
    served: list[int] = []
    for _ in range(9):
        # The first client asks again at once, the others whenever they are idle.
        for number, client in enumerate(clients):
            if client.take() is not None or client.is_idle:
                client.submit(frame(number))
        before = len(gate.begun)
        gate.go.release()
        wait(lambda before=before: len(gate.begun) > before)
        served.append(gate.begun[-1])
    assert {served.count(number) for number in range(3)} == {3}
    gate.go.release(10)
    worker.close()


def test_a_cancelled_frame_has_no_result() -> None:
    gate = Gate()
    worker = DetectionWorker(gate)
    client, other = worker.client(), worker.client()
    client.submit(frame(1))
    wait(lambda: gate.begun == [1])
    client.cancel()
    assert client.is_idle
    client.submit(frame(2))
    other.submit(frame(3))
    other.cancel()
    gate.go.release(2)
    wait(lambda: client.answer is not None)
    assert gate.begun == [1, 2]
    assert other.is_idle
    worker.close()


def die_once(gate: Gate, client: WorkerClient) -> None:
    gate.fail = RuntimeError("no memory\nleft")
    client.submit(frame(1))
    gate.go.release()


def test_thread_that_dies_is_started_once_more(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    worker = DetectionWorker(gate)
    client = worker.client()
    die_once(gate, client)
    with caplog.at_level(logging.WARNING, logger=NAME):
        wait(lambda: client.take() is None and client.is_idle)
    assert [record.message for record in caplog.records] == [
        "the detection failed and was started again (RuntimeError('no memory\\nleft'))."
    ]
    gate.fail = None
    client.submit(frame(2))
    gate.go.release()
    wait(lambda: client.answer is not None)
    client.take()
    die_once(gate, client)

    def take_twice() -> None:
        wait(lambda: client.take() is not None)

    with pytest.raises(ModelError, match=r"^the detection failed twice \(RuntimeError.*\): run edge-doctor, or use another"):
        take_twice()
    worker.close()


def test_an_error_of_the_model_reaches_its_client_alone() -> None:
    gate = Gate()
    worker = DetectionWorker(gate)
    client, other = worker.client(), worker.client()
    gate.fail = ModelError("model.onnx opens but does not run: reason.")
    client.submit(frame(1))
    gate.go.release()
    wait(lambda: client.failure is not None)
    gate.fail = None
    other.submit(frame(2))
    gate.go.release()
    wait(lambda: other.answer is not None)
    assert other.take() is not None
    with pytest.raises(ModelError, match="does not run"):
        client.take()
    worker.close()


def test_a_detection_that_hangs_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    worker = DetectionWorker(gate)
    client = worker.client()
    client.submit(frame(1))
    wait(lambda: gate.begun == [1])
    assert client.take() is None
    now = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now + 61)
        with pytest.raises(ModelError, match="has not returned for 60 s: use another detector"):
            client.take()
    gate.go.release()
    worker.close()


def test_close_ends_the_thread_and_does_not_wait_for_a_hanging_one() -> None:
    gate = Gate()
    worker = DetectionWorker(gate)
    client = worker.client()
    client.submit(frame(1))
    wait(lambda: gate.begun == [1])
    worker.close(0.01)
    client.take()
    gate.go.release()
    worker.close(60)
    assert not any(thread.name == "detection" and thread.is_alive() for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("own", "others", "since", "budget", "pause"),
    [
        (0.02, 0.0, 0.02, None, 0.0),
        # A budget of half a core: 20 ms of work every 40 ms.
        (0.02, 0.0, 0.02, 50, 0.02),
        (0.02, 0.0, 0.10, 50, 0.0),
        # The other threads use 30 % of the core, so 20 % are left.
        (0.02, 0.3, 0.02, 50, 0.08),
        # They use more than the budget: a quarter of it is left.
        (0.02, 0.9, 0.02, 40, 0.18),
    ],
)
def test_pause_keeps_to_the_budget(own: float, others: float, since: float, budget: float | None, pause: float) -> None:
    assert pause_seconds(own, others, since, budget) == pytest.approx(pause)
