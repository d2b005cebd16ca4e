"""Checks before `make` installs. One message names everything that is missing.

python3 preflight.py                         check 64 bit, venv and OpenCV's system libraries
.venv/bin/python preflight.py base|edge|dev  check the package index, print the download size

`dev` uses TORCH_INDEX. The script needs only the standard library, because nothing is installed
yet.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0"}
"""System libraries of opencv-python's wheel, and the Debian package of each."""
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's index of builds without CUDA."""
FETCHED = {"base": "about 0.1 GB", "edge": "about 0.1 GB", "dev": "about 0.5 GB"}
"""Size of the download, with the CPU build of PyTorch."""


def check_machine() -> str:
    """Return a message about missing parts of this machine; empty if it can run maskedge."""
    if sys.maxsize < 2**32:
        return "this Python is 32-bit, and onnxruntime has no 32-bit build: install a 64-bit system."
    missing, packages = [], []
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        own = Path("/usr/bin/python3").resolve() == Path(sys.executable).resolve()
        missing.append("Python's venv")
        packages.append("python3-venv" if own else f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    if sys.platform.startswith("linux"):
        for library, package in LIBRARIES.items():
            try:
                ctypes.CDLL(library)
            except OSError:
                missing.append(library)
                packages.append(package)
    if not missing:
        return ""
    return f"{', '.join(missing)} missing; on Debian, Ubuntu and Raspberry Pi OS: sudo apt install {' '.join(packages)}"


def check_index(what: str) -> str:
    """Print the size of the download, and check that the index responds.

    Args:
        what: Kind of install: `base`, `edge` or `dev`.

    Returns:
        A message if the index does not respond; otherwise an empty string.
    """
    print(f"Fetching {FETCHED[what]} into {Path(sys.prefix).name}, unless pip has it already.", flush=True)
    package = "torch" if what == "dev" else "click"
    index = os.environ.get("TORCH_INDEX")
    more = ["--extra-index-url", index] if index and what == "dev" else []
    command = [sys.executable, "-m", "pip", "--retries", "1", "--timeout", "20", "index", "versions", package, *more]
    # This uses pip's own settings and downloads only the list of versions.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return (
            f"pip finds no {package}: is there a network, and are pip's index and proxy right (pip config list)? "
            f"Last line of pip: {(done.stderr.strip().splitlines() or ['(none)'])[-1]}"
        )
    # Only on x86_64 is it certain that the default build brings CUDA.
    if what == "dev" and f"{_pinned('torch')}+cpu" not in done.stdout and platform.machine() == "x86_64":
        print(
            "PyTorch from this index brings CUDA: 3 GB and more on top. Its CPU build is enough: "
            f"make test TORCH_INDEX={TORCH_INDEX}; without PyTorch: make test-edge.",
            flush=True,
        )
    return ""


def _pinned(package: str) -> str:
    """Return the version of a package in constraints.txt."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if name == package:
            return version.strip()
    return ""


if __name__ == "__main__":
    problem = check_index(sys.argv[1]) if len(sys.argv) > 1 else check_machine()
    if problem:
        sys.exit(f"error: {problem}")
