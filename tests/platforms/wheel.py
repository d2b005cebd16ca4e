"""`make try-wheel`: the wheel alone, as on a device, in a new environment of each Python.

python3 wheel.py [VERSION ...]    by default the oldest and the newest version that is supported

Each Python is searched on PATH and among pyenv's; what is not found is named and left out. Where none is found, the Python that
runs this has to do. Only the standard library.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("3.10", "3.13")
CONFIGURATION = """
[source]
uri = "demo"

[output]
max_frames = 20

[events]
file = "events.jsonl"

[zones]
roi = ["all=0,0 1,0 1,1 0,1"]
"""
HEADLESS = "opencv-python-headless>=4.10,<5"


def find_python(version: str) -> Path | None:
    """Give the interpreter of a version such as `3.10`, or None."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [sys.executable, shutil.which(f"python{version}"), *sorted(home.glob(f"versions/{version}.*/bin/python"))]
    for candidate in candidates:
        if candidate:
            asked = [str(candidate), "-c", "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"]
            answer = subprocess.run(asked, capture_output=True, text=True, check=False)
            if answer.stdout.strip() == version:
                return Path(candidate)
    return None


def run(command: Sequence[str | Path], cwd: Path, *, code: int = 0, env: Mapping[str, str] | None = None) -> str:
    """Run a command, and end with its last words when its exit code is another or it shows a traceback."""
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != code or "Traceback" in done.stderr:
        words = " ".join(f"{done.stdout} {done.stderr}".split())[-800:]
        sys.exit(f"error: {' '.join(map(str, command))} ended with {done.returncode}: {words}")
    return done.stdout + done.stderr


def check(*, true: bool, sentence: str) -> None:
    """End with a sentence unless it is so."""
    if not true:
        sys.exit(f"error: {sentence}")


def drive(commands: Path, folder: Path) -> None:
    """Use the commands of an installation as a device does: configuration, doctor, service, a missing extra."""
    (folder / "edge.toml").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "events.jsonl").unlink(missing_ok=True)
    edge_run = commands / "edge-run"
    run([edge_run, "--config", "edge.toml", "--no-show"], folder)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    check(true=sum("faces" in event for event in events) == 20, sentence="edge-run --config wrote not one event a frame")
    printed = run([edge_run, "--config", "edge.toml", "--print-config"], folder)
    check(true=re.search(r'^uri = "demo"', printed, re.MULTILINE) is not None, sentence="--print-config lacks the source")
    run([commands / "edge-doctor"], folder)
    unit = run([edge_run, "--install-service"], folder)
    check(true=f"ExecStart={edge_run} --config" in unit, sentence="the unit starts another edge-run")
    verify_unit(unit, folder)
    sentence = run([commands / "edge-app"], folder, code=2)
    check(true="[app]'" in sentence or "[app]" in sentence, sentence="edge-app names no extra")


def verify_unit(unit: str, folder: Path) -> None:
    """Let systemd judge the unit where systemd is installed."""
    if shutil.which("systemd-analyze") is None:
        return
    path = folder / "maskedge.service"
    path.write_text(unit, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    # It also names what is wrong with the units of this machine.
    wrong = [line for line in done.stderr.splitlines() if "maskedge" in line]
    check(true=not wrong, sentence=f"systemd-analyze verify: {' '.join(wrong)}")


def drive_headless(commands: Path, folder: Path) -> None:
    """Let OpenCV without windows take the place of opencv-python, as docs/device.md says, with a display that cannot be opened."""
    pip = [commands / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "uninstall", "--yes", "opencv-python"], folder)
    run([*pip, "install", HEADLESS], folder)
    environment = {**os.environ, "DISPLAY": ":9"}
    doctor = run([commands / "edge-doctor"], folder, env=environment)
    check(true="without windows" in doctor, sentence=f"edge-doctor does not name what headless OpenCV lacks: {doctor}")
    done = run([commands / "edge-run", "--source", "demo", "--max-frames", "20"], folder, env=environment)
    check(true="without a window" in done, sentence="edge-run names no reason why there is no window")


def main(versions: Sequence[str]) -> None:
    """Build the wheel once, and try it on each Python."""
    pythons = {version: find_python(version) for version in versions}
    for version in [version for version, python in pythons.items() if python is None]:
        print(f"Python {version}: not found here, left out")
    found = {version: python for version, python in pythons.items() if python is not None}
    if not found:
        found = {f"{sys.version_info[0]}.{sys.version_info[1]}": Path(sys.executable)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        for number, (version, python) in enumerate(found.items()):
            run([python, "-m", "venv", folder / version], folder)
            commands = folder / version / "bin"
            pip = [commands / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
            if number == 0:
                run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], folder)
            (wheel,) = folder.glob("maskedge-*.whl")
            run([*pip, "install", "--constraint", ROOT / "constraints.txt", wheel], folder)
            drive(commands, folder)
            print(f"Python {version}: {wheel.name} alone: edge-run --config, edge-doctor, --install-service", flush=True)
        drive_headless(commands, folder)
        print(f"Python {version}: {HEADLESS} instead of opencv-python: edge-doctor, edge-run with a display", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or VERSIONS)
