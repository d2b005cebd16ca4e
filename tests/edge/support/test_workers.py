"""Worker threads: what a failing item costs the later ones."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from maskedge.errors import OutputError
from maskedge.support.workers import Worker, child_environment, python_command


def test_an_unexpected_error_is_reported_and_the_next_item_is_processed() -> None:
    states: queue.Queue[str | None] = queue.Queue()
    done: queue.Queue[str] = queue.Queue()

    def process(item: str) -> None:
        if item == "secret":
            raise UnicodeError(item)
        done.put(item)

    worker = Worker("webhook of door", process, states.put, waits=())
    worker.submit("secret")
    assert states.get(timeout=60) == "webhook of door failed unexpectedly (UnicodeError)."
    worker.submit("plain")
    assert (done.get(timeout=60), states.get(timeout=60)) == ("plain", None)
    worker.close()


def test_a_full_queue_is_reported_on_the_thread_that_submits() -> None:
    gate, entered = threading.Event(), threading.Event()
    states: list[tuple[str | None, str]] = []

    def process(item: int) -> None:
        entered.set()
        gate.wait(60)
        if item == 0:
            raise OutputError("the disk is full.")

    worker = Worker(
        "writing", process, lambda problem: states.append((problem, threading.current_thread().name)), capacity=1, waits=()
    )
    worker.submit(0)
    assert entered.wait(60)
    assert [worker.submit(number) for number in (1, 2, 3)] == [True, False, False]
    assert worker.dropped == 2
    gate.set()
    worker.close(10)
    (slow, caller), (back, thread) = states
    assert slow == "writing is too slow: 1 items wait already, and further ones are dropped."
    assert (caller, back, thread) == (threading.current_thread().name, None, "writing")


def test_a_worker_that_is_closed_while_its_queue_is_full_ends_after_what_waits() -> None:
    gate, entered = threading.Event(), threading.Event()
    done: list[int] = []

    def process(item: int) -> None:
        entered.set()
        gate.wait(60)
        done.append(item)

    worker = Worker("writing", process, lambda problem: None, capacity=1, waits=())
    worker.submit(0)
    assert entered.wait(60)
    worker.submit(1)
    worker.close(0)
    gate.set()
    (thread,) = worker._threads
    thread.join(60)
    assert (thread.is_alive(), done) == (False, [0, 1])


def test_the_environment_is_without_what_opencv_has_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_FONTDIR", "/venv/site-packages/cv2/qt/fonts")
    monkeypatch.setenv("QT_QPA_PLATFORM_PLUGIN_PATH", "/opt/own/plugins")
    for before, after in (
        ("/venv/site-packages/cv2/../../lib64:", None),
        ("/venv/site-packages/cv2/../../lib64:/opt/own", "/opt/own"),
        ("/opt/own:/opt/more", "/opt/own:/opt/more"),
    ):
        monkeypatch.setenv("LD_LIBRARY_PATH", before)
        environment = child_environment()
        assert environment.get("LD_LIBRARY_PATH") == after
        assert "QT_QPA_FONTDIR" not in environment
        assert environment["QT_QPA_PLATFORM_PLUGIN_PATH"] == "/opt/own/plugins"
        assert environment["PATH"] == os.environ["PATH"]


def test_a_program_loads_no_library_or_module_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libc.so.6").write_text("not a library")
    (tmp_path / "maskedge.py").write_text("raise SystemExit(7)")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/venv/site-packages/cv2/../../lib64:")
    command = python_command("import maskedge; print(sys.argv[1])", "told")
    assert command[0] == sys.executable
    done = subprocess.run(command, cwd=tmp_path, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr
