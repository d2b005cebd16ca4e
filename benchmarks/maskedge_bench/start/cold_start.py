"""Cold start of `edge-run`: time and CPU time to the first result, peak memory, and `--version`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from maskedge.errors import MaskedgeError
from maskedge.modelfile.precision import bundled_classifier
from maskedge.sources import demo
from maskedge_bench.conditions import Conditions, spread
from maskedge_bench.report_schemas import COLD_START

_TIMED_START = Path(__file__).with_name("timed_start.py")


@dataclass(frozen=True)
class _Start:
    """One start: seconds to the first line, CPU seconds, and peak memory in megabytes."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def measure_cold_start(rounds: int) -> dict[str, Any]:
    """Start `edge-run` repeatedly on one picture of the built-in clip, in turn with `edge-run --version`.

    The starts use compiled modules, as those of an installed package do: the uncounted start
    compiles them into a temporary folder.

    Args:
        rounds: Counted starts. One uncounted start comes first.

    Returns:
        The report: seconds to the first result, CPU seconds of the process, peak resident memory in
        megabytes, and seconds to the line of `--version`.

    Raises:
        MaskedgeError: `edge-run` fails.
    """
    conditions = Conditions()
    runs: list[_Start] = []
    versions: list[_Start] = []
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "frame.png"
        cv2.imwrite(str(picture), demo.draw(150))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        for counted in range(-1, rounds):
            run = _start(["--source", str(picture), "--events", "-", "--no-show", "--quiet"], environment)
            version = _start(["--version"], environment)
            if counted >= 0:
                runs.append(run)
                versions.append(version)
    seconds = spread([run.seconds for run in runs], 3)
    return {
        **conditions.head(COLD_START, "Cold start", [bundled_classifier()], {"the cold start": seconds}),
        "rounds": rounds,
        "seconds_to_first_answer": seconds,
        "cpu_seconds": spread([run.cpu_seconds for run in runs], 3),
        "resident_megabytes": spread([run.megabytes for run in runs], 1),
        "version_seconds": spread([version.seconds for version in versions], 3),
    }


def _start(arguments: list[str], environment: Mapping[str, str]) -> _Start:
    command = [sys.executable, "-I", "-S", str(_TIMED_START), sys.executable, "-m", "maskedge.cli.run", *arguments]
    # A group of its own, because a signal to this process alone must end edge-run, too.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True)  # noqa: S603
    try:
        output, _ = process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):  # it may have ended in this moment
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        raise MaskedgeError("edge-run returned no result for a picture: run edge-doctor to find the cause.")
    return _Start(**json.loads(output))
