"""Cold start: from the start of the process to its first answer, and its memory, as `edge-run` does it for one picture."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2

from maskedge.errors import MaskedgeError
from maskedge.modelfile.contract import default_model
from maskedge.sources import demo
from maskedge_bench.report import START, Conditions, spread


def measure_start(rounds: int) -> dict[str, Any]:
    """Start `edge-run` on one picture of the built-in clip, again and again, after one start that is not counted.

    Returns:
        The report: seconds to the first answer, and the peak of the resident memory in megabytes.

    Raises:
        MaskedgeError: It does not run.
    """
    conditions = Conditions()
    seconds, megabytes = [], []
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "frame.png"
        cv2.imwrite(str(picture), demo.draw(150))
        for counted in range(-1, rounds):
            start = time.perf_counter()
            process = subprocess.Popen(  # noqa: S603  (our own command)
                [sys.executable, "-m", "maskedge.cli.run", "--source", str(picture), "--events", "-", "--no-show", "--quiet"],
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None  # noqa: S101  (asked for above)
            answered = bool(process.stdout.readline())
            own = time.perf_counter() - start
            process.stdout.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if not answered or process.returncode:
                raise MaskedgeError("edge-run did not answer for a picture: edge-doctor says what is wrong.")
            if counted >= 0:
                seconds.append(own)
                # Linux counts it in kilobytes.
                megabytes.append(usage.ru_maxrss / 1024)
    return {
        **conditions.head(START, "Cold start", [default_model()], {"the start": spread(seconds, 3)}),
        "rounds": rounds,
        "seconds_to_first_answer": spread(seconds, 3),
        "resident_megabytes": spread(megabytes, 1),
    }
