"""Run inputs one by one, each in a forked process, and check how the process ends.

A fork need not load OpenCV and ONNX Runtime again. A signal, an endless loop or a lack of memory
ends only the child.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module, util
from pathlib import Path

from .targets import TARGETS, Target

SECONDS = 10.0
"""Longest time for an input, in seconds."""
MEGABYTES = 400.0
"""Largest memory of the process, or of one that it starts, in megabytes."""
GOOD = (0, 2, 3, 4, 5)
"""Documented exit codes of a run that no signal ends."""
_UNCAUGHT = 70
_FAULT = 71


@dataclass(frozen=True)
class CaseResult:
    """The result of one input.

    Attributes:
        name: Name of the input's file.
        code: Exit code; negative: number of the signal that ended the process.
        seconds: Time from start to end.
        megabytes: Largest memory of the process, or of one that it started.
        problem: The failure; None without a failure.
        text: Standard error of the process.
    """

    name: str
    code: int
    seconds: float
    megabytes: float
    problem: str | None
    text: str


@dataclass
class Figures:
    """Counts and extremes over the inputs of a kind."""

    kind: str
    inputs: int = 0
    tracebacks: int = 0
    signals: int = 0
    late: int = 0
    large: int = 0
    other: int = 0
    slowest: float = 0.0
    largest: float = 0.0
    codes: Counter[int] = field(default_factory=Counter)
    failures: list[CaseResult] = field(default_factory=list)

    def add(self, result: CaseResult) -> None:
        """Add the result of one input."""
        self.inputs += 1
        self.codes[result.code] += 1
        self.slowest = max(self.slowest, result.seconds)
        self.largest = max(self.largest, result.megabytes)
        if result.problem is None:
            return
        self.failures.append(result)
        self.tracebacks += result.problem.startswith("traceback")
        self.signals += result.problem.startswith("signal")
        self.late += result.problem.startswith("late")
        self.large += result.problem.startswith("memory")
        self.other = len(self.failures) - self.tracebacks - self.signals - self.late - self.large

    def line(self) -> str:
        """Return the figures as one line."""
        codes = ", ".join(f"{count} x {code}" for code, count in sorted(self.codes.items()))
        return (
            f"{self.kind}: {self.inputs} inputs, {self.tracebacks} tracebacks, {self.signals} signals, {self.late} later than "
            f"{SECONDS:g} s, {self.large} above {MEGABYTES:g} MB, {self.other} other failures; slowest {self.slowest:.1f} s, "
            f"largest {self.largest:.0f} MB; exit codes {codes}"
        )


def generators() -> dict[str, Callable[[int, int], Iterator[tuple[str, bytes] | bytes]]]:
    """Return the generator of each kind that has both a module and a target."""
    found = {}
    for kind in TARGETS:
        if util.find_spec(f"{__package__}.{kind}") is not None:
            found[kind] = import_module(f"{__package__}.{kind}").cases
    return found


def run_kind(
    kind: str,
    seed: int,
    count: int,
    *,
    first: int = 0,
    keep: Path | None = None,
    seconds: float = SECONDS,
    report: Callable[[Figures], None] = lambda _: None,
) -> Figures:
    """Run the inputs of a kind.

    Args:
        kind: Name of the kind.
        seed: Seed of the generator.
        count: Number of inputs.
        first: Number of the first input to run, to repeat a part.
        keep: Folder for failing inputs, each with a description of the failure.
        seconds: Longest time for an input; the process is killed after twice that time.
        report: Called after each input.
    """
    figures = Figures(kind)
    target = TARGETS[kind]()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.callback(target.close)
        target.prepare(Path(folder))
        for number, case in enumerate(generators()[kind](seed, count)):
            if number < first:
                continue
            name, content = case if isinstance(case, tuple) else (f"{number:05}", case)
            result = _run_one(target, number, name, content, Path(folder), seconds)
            figures.add(result)
            if result.problem is not None and keep is not None:
                _keep(keep / kind, seed, number, result, content)
            report(figures)
    return figures


def _keep(folder: Path, seed: int, number: int, result: CaseResult, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"seed{seed}-{number:05}"
    (folder / f"{stem}{Path(result.name).suffix}").write_bytes(content)
    facts = f"{result.problem}\nexit {result.code}, {result.seconds:.1f} s, {result.megabytes:.0f} MB, name {result.name!r}\n"
    (folder / f"{stem}.txt").write_text(facts + result.text, encoding="utf-8", errors="backslashreplace")


def _run_one(target: Target, number: int, name: str, content: bytes, folder: Path, seconds: float) -> CaseResult:
    own = folder / "case"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    path = own / name
    path.write_bytes(content)
    errors = folder / "errors"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(target, number, path, errors)
    handle = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([handle], [], [], 2 * seconds)
    finally:
        os.close(handle)
    if not ended:
        # Kill the whole group, with the processes that the child started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    took = time.monotonic() - started
    code = os.waitstatus_to_exitcode(status)
    text = errors.read_text(encoding="utf-8", errors="replace")[-4000:] if errors.exists() else ""
    megabytes = usage.ru_maxrss / 1024
    problem = _judge(code, text, ended=bool(ended), took=took, megabytes=megabytes, seconds=seconds)
    return CaseResult(name, code, took, megabytes, problem, text)


def _judge(code: int, text: str, *, ended: bool, took: float, megabytes: float, seconds: float) -> str | None:
    """Return the failure, or None."""
    if not ended:
        return f"late: ended after {took:.0f} s"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    if code == _UNCAUGHT or "Traceback (most recent call last)" in text:
        return f"traceback: {text.strip().splitlines()[-1][:200] if text.strip() else ''}"
    if code == _FAULT:
        return f"wrong: {text.strip().splitlines()[-1][:300]}"
    if code not in GOOD:
        return f"exit code {code}"
    if code and not text.strip():
        return f"exit code {code} without a message"
    if megabytes > MEGABYTES:
        return f"memory: {megabytes:.0f} MB"
    if took > seconds:
        return f"late: {took:.1f} s"
    return None


def _child(target: Target, number: int, path: Path, errors: Path) -> None:
    """Run one input, and end this process."""
    code = _UNCAUGHT
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        output = os.open(os.devnull, os.O_RDWR)
        error = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number_of, opened in ((0, output), (1, output), (2, error)):
            os.dup2(opened, number_of)
        # pytest has replaced the streams of this process.
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        faulthandler.disable()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        os.chdir(path.parent)
        code = target.run(number, path)
    except AssertionError as problem:
        print(problem, file=sys.stderr)
        code = _FAULT
    except BaseException:  # noqa: BLE001  (uncaught exceptions are the finding)
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
