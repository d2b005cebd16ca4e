"""Cold start of `edge-run`: time from process start to the first result, and peak memory."""

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
from maskedge_bench.conditions import Conditions, spread
from maskedge_bench.report_schemas import COLD_START


def measure_cold_start(rounds: int) -> dict[str, Any]:
    """Start `edge-run` repeatedly on one picture of the built-in clip.

    Args:
        rounds: Counted starts. One uncounted start comes first.

    Returns:
        The report: seconds to the first result, and peak resident memory in megabytes.

    Raises:
        MaskedgeError: `edge-run` fails.
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
            assert process.stdout is not None  # noqa: S101  (stdout=PIPE above)
            has_result = bool(process.stdout.readline())
            own = time.perf_counter() - start
            process.stdout.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if not has_result or process.returncode:
                raise MaskedgeError("edge-run returned no result for a picture: run edge-doctor to find the cause.")
            if counted >= 0:
                seconds.append(own)
                # Linux reports kilobytes.
                megabytes.append(usage.ru_maxrss / 1024)
    return {
        **conditions.head(COLD_START, "Cold start", [default_model()], {"the cold start": spread(seconds, 3)}),
        "rounds": rounds,
        "seconds_to_first_answer": spread(seconds, 3),
        "resident_megabytes": spread(megabytes, 1),
    }
