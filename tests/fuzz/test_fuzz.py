"""A short run of the fuzzing: a few inputs of each kind, of a fixed seed. `make fuzz` runs many."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.harness import Figures, generators
from fuzz.targets import TARGETS, Target

COUNTS = {"configs": 60, "pictures": 50, "models": 12, "cascades": 12, "videos": 10, "requests": 80}
TESTS = Path(__file__).parent.parent


def fuzz(kind: str, count: int, folder: Path) -> str:
    """Run in a process of its own, because a process with threads must not be forked."""
    command = [sys.executable, "-m", "fuzz", "--kind", kind, "--count", str(count), "--seconds", "60", "--keep", str(folder)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("kind", list(TARGETS))
def test_odd_inputs_end_with_an_exit_code_and_a_message(kind: str, tmp_path: Path) -> None:
    if kind not in generators():
        pytest.skip(f"there is no generator of {kind} (tests/fuzz/{kind}.py)")
    line = fuzz(kind, COUNTS[kind], tmp_path)
    assert f"{kind}: {COUNTS[kind]} inputs, 0 tracebacks, 0 signals" in line
    # Some inputs must be accepted, because inputs that are refused early test little.
    assert " x 0" in line.partition("exit codes")[2]


@pytest.mark.parametrize("kind", [kind for kind in TARGETS if kind in generators()])
def test_a_seed_gives_the_same_inputs(kind: str) -> None:
    if kind in ("videos", "models"):
        pytest.skip("its files contain times, or take long to make")
    cases = generators()[kind]
    assert list(cases(7, 12)) == list(cases(7, 12)) != list(cases(8, 12))


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from fuzz import harness
from fuzz.targets import Target

class Bad(Target):
    def prepare(self, folder): pass
    def run(self, number, path):
        match number:
            case 0: return 0
            case 1: raise ValueError("lost")
            case 2: os.kill(os.getpid(), signal.SIGSEGV)
            case 3: time.sleep(60)
            case 4:
                held = bytearray(500_000_000)
                held[::4096] = b"x" * len(held[::4096])
            case 5: return 9
            case 6: return 4
            case 7: raise AssertionError("wrong answer")
        print("error: a message", file=sys.stderr)
        return 4 if number == 8 else 0

harness.TARGETS["bad"] = Bad
harness.generators = lambda: {"bad": lambda seed, count: ((f"{n}.txt", b"x") for n in range(count))}
figures = harness.run_kind("bad", 1, 9, keep=Path(sys.argv[1]), seconds=2.0)
print([result.problem for result in figures.failures])
print(figures.tracebacks, figures.signals, figures.late, figures.large, figures.other)
"""


def test_harness_detects_each_kind_of_failure(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=TESTS, capture_output=True, text=True, check=False)
    problems, figures = done.stdout.strip().splitlines()
    for problem in (
        *("traceback: ValueError: lost", "signal SIGSEGV", "late: ended after", "memory: ", "exit code 9"),
        *("exit code 4 without a message", "wrong: wrong answer"),
    ):
        assert problem in problems, done.stderr
    assert figures == "1 1 1 1 3"
    assert len(list((tmp_path / "bad").glob("*.txt"))) >= 7
    assert issubclass(TARGETS["configs"], Target)
    assert "0 tracebacks" in Figures("x").line()
