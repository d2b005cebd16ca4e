"""A script that starts a command and prints, as JSON, the time and memory that it took.

It is a process of its own because Linux counts the memory of the parent at the start to the peak of
the command. It imports only the standard library, so its own memory is small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main() -> int:
    """Run `sys.argv[1:]`. Return 1 if the command fails or prints nothing."""
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)  # noqa: S603  (given by the caller)
    assert process.stdout is not None  # noqa: S101  (stdout=PIPE above)
    has_result = bool(process.stdout.readline())
    seconds = time.perf_counter() - start
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # Linux reports kilobytes.
    figures = {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024}
    print(json.dumps(figures))
    return int(not has_result or process.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
