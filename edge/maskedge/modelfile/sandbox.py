"""Runs an unknown model file once in another process, with limits of memory and time.

ONNX Runtime does not limit the files that it opens: it computes constants of any size, and a
damaged graph may end the process by a signal. A file that passes is opened again in the process
that uses it.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskedge.support.workers import child_environment, python_command

SECONDS = 3.0
"""CPU seconds in which a file must open and run once."""
SECONDS_PER_MB = 0.1
"""Further CPU seconds per megabyte of the file."""
MEGABYTES = 300.0
"""Megabytes of memory for opening and running a file, in addition to multiples of the sizes of the
file and of its input."""
RUNTIME = "onnxruntime: "
"""Prefix of reasons that are errors of ONNX Runtime."""
_OF_FILE, _OF_PIXEL = 6, 200
"""Bytes of memory per byte of the file and per pixel of the input."""
_PATIENCE = 30.0
"""Seconds after which the process counts as hanging. The machine may be busy."""
_IDLE = 5.0
"""Seconds without work after which the process exits."""
_HEADER = "<Qd"
"""Layout of a header: size of the file in bytes, permitted CPU seconds."""
_BATCH = 2
_FREE = 64
"""Side of the input in pixels for a model that takes any size."""


class SandboxError(Exception):
    """A file failed. The text is a clause with the reason: `it needs ...`."""


class _IdleError(SandboxError):
    """The process exited by itself, before it read the file."""


_lock = threading.Lock()
_passed: set[bytes] = set()


def try_model(content: bytes) -> None:
    """Open a model and run it once in another process.

    A file that has passed before is not run again. If no process can be started, the model passes,
    since its graph was checked (`onnx_graph`).

    Args:
        content: Bytes of the .onnx file.

    Raises:
        SandboxError: The model takes too much memory or time, ends the process, or ONNX Runtime
            refuses it.
    """
    digest = hashlib.sha256(content).digest()
    with _lock:
        if digest in _passed:
            return
        global _process
        for last in (False, True):
            if _process is None or not _process.usable:
                try:
                    _process = _Process()
                except OSError:
                    return
            try:
                _process.ask(content)
                break
            except SandboxError as error:
                _process.end()
                # A process that exits because it was idle may do so in this moment.
                if last or not isinstance(error, _IdleError):
                    raise
        _passed.add(digest)


class _Process:
    """The sandbox process, as its parent process uses it."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603  (this Python, our own code)
            python_command("from maskedge.modelfile.sandbox import serve; serve()"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        # Reaps the process when it exits by itself.
        threading.Thread(target=self._process.wait, daemon=True).start()
        atexit.register(self.end)

    @property
    def usable(self) -> bool:
        """False if the sandbox has ended, or belongs to the parent of a forked process."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, content: bytes) -> None:
        """Run a model in the process.

        Raises:
            SandboxError: The model failed.
        """
        if self._process.stdin is None or self._process.stdout is None:
            return
        try:
            self._process.stdin.write(struct.pack(_HEADER, len(content), allowed_seconds(len(content))) + content)
            self._process.stdin.flush()
            answer = self._read_line(time.monotonic() + _PATIENCE)
        except OSError:
            answer = b""
        if answer:
            reason = json.loads(answer)
            if reason is not None:
                raise SandboxError(reason)
            return
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            raise SandboxError(f"it did not open within {_PATIENCE:g} s") from None
        if code == -signal.SIGXCPU:
            raise SandboxError(f"it takes more than {allowed_seconds(len(content)):.0f} s of computing to open and to answer once")
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise (SandboxError if code else _IdleError)(f"it ends onnxruntime ({name})")

    def _read_line(self, end: float) -> bytes:
        """Read the result; empty if the process ended or the time is over."""
        number = self._process.stdout.fileno() if self._process.stdout is not None else -1
        line = b""
        poll = select.poll()  # unlike select.select, it takes descriptors from 1024 on
        poll.register(number, select.POLLIN)
        while not line.endswith(b"\n"):
            ready = poll.poll(1000 * max(0.0, end - time.monotonic()))
            part = os.read(number, 65536) if ready else b""
            if not part:
                return b""
            line += part
        return line

    def end(self) -> None:
        """Kill the process and close its pipes."""
        atexit.unregister(self.end)
        if self._owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


_process: _Process | None = None


def allowed_seconds(size: int) -> float:
    """Return the CPU seconds for a file of `size` bytes."""
    return SECONDS + SECONDS_PER_MB * size / 1e6


def serve() -> None:
    """Run models from standard input; a header precedes each model.

    Each result is a line of JSON: null or a reason.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    # Imported here: only this process needs the module, and its import does not count as the time
    # of a model.
    from .onnx_session import create_session

    while select.select([source], [], [], _IDLE)[0]:
        header = source.read(struct.calcsize(_HEADER))
        if len(header) < struct.calcsize(_HEADER):
            return
        size, seconds = struct.unpack(_HEADER, header)
        content = source.read(size)
        answers.write(json.dumps(_attempt(content, seconds, create_session)).encode() + b"\n")
        answers.flush()


def _attempt(content: bytes, seconds: float, create_session: Callable[..., Any]) -> str | None:
    """Open and run a model. Return the reason if it fails, otherwise None."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, used.ru_utime + used.ru_stime + seconds)
    megabytes = MEGABYTES + _OF_FILE * len(content) / 1e6
    _limit(resource.RLIMIT_DATA, _data_bytes() + megabytes * 1e6)
    try:
        session = create_session(content, 1, ["CPUExecutionProvider"])
        inputs = session.get_inputs()
        if len(inputs) == 1 and inputs[0].type == "tensor(uint8)":
            frame = _input(inputs[0].shape)
            if frame is not None:
                megabytes += _OF_PIXEL * frame.size / 3e6
                _limit(resource.RLIMIT_DATA, _data_bytes() + megabytes * 1e6)
                session.run(None, {inputs[0].name: frame})
    except MemoryError:
        return f"it needs more than {megabytes:.0f} MB of memory to open and to answer once"
    except Exception as error:  # noqa: BLE001  (any error becomes a reason)
        text = " ".join(str(error).split())
        if "bad_alloc" in text or "llocate memory" in text:
            return f"it needs more than {megabytes:.0f} MB of memory to open and to answer once"
        return RUNTIME + text[:1000]
    finally:
        _limit(resource.RLIMIT_DATA, float("inf"))
        _limit(resource.RLIMIT_CPU, float("inf"))
    return None


def _input(shape: list[Any]) -> Any:
    """Return an input of zeros; None if the input would be huge."""
    import numpy as np

    sides = [side if isinstance(side, int) and side > 0 else (_BATCH if place == 0 else _FREE) for place, side in enumerate(shape)]
    size = 1
    for side in sides:
        size *= side
    return np.zeros(sides, np.uint8) if size <= 1 << 24 else None


def _limit(what: int, value: float) -> None:
    hard = resource.getrlimit(what)[1]
    soft = hard if value == float("inf") else int(value)
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _data_bytes() -> int:
    """Return the number of bytes that currently count for RLIMIT_DATA."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
