"""`make try-wheel`: install and try the wheels on the oldest and newest Python.

The wheels are installed as on a device and as on a workstation.

Usage: python3 wheel.py [VERSION ...]

Each version gets a new virtual environment. Interpreters come from PATH and pyenv; a version that
is not found is reported and skipped. If none is found, the Python that runs this script is used.
The script needs only the standard library.
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
LARGEST = 1_800_000
"""Largest wheel of the device, in bytes."""
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
OTHERS = ("maskedge_train", "maskedge_export", "maskedge_bench", "maskedge_fleet")
"""Packages that a device does not need."""
COMMANDS = {
    "edge-train": ("classifier", "--data", "."),
    "edge-export": ("inspect", "x.onnx"),
    "edge-bench": ("demo",),
    "edge-fleet": ("serve",),
}


def find_python(version: str) -> Path | None:
    """Return the interpreter of a version such as `3.10`, or None."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(home.glob(f"versions/{version}.*/bin/python"))
    for candidate in [sys.executable, shutil.which(f"python{version}"), *found]:
        if candidate:
            script = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
            done = subprocess.run([str(candidate), "-c", script], capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                return Path(candidate)
    return None


def run(
    command: Sequence[str | Path],
    cwd: Path,
    *,
    code: int = 0,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its output; exit if it ends with another code or a traceback."""
    words = [*map(str, command)]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != code or "Traceback" in done.stderr:
        last = " ".join(f"{done.stdout} {done.stderr}".split())[-800:]
        sys.exit(f"error: {' '.join(words)} ended with {done.returncode}: {last}")
    return done.stdout + done.stderr


def check(*, true: bool, message: str) -> None:
    """Exit with the message unless the condition holds."""
    if not true:
        sys.exit(f"error: {message}")


def pip(commands: Path) -> list[str | Path]:
    """Return the start of a pip command of an environment."""
    return [commands / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]


def drive(commands: Path, folder: Path) -> None:
    """Use an installation as a device does: configuration, doctor, service, missing extras."""
    (folder / "edge.toml").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "events.jsonl").unlink(missing_ok=True)
    edge_run = commands / "edge-run"
    run([edge_run, "--config", "edge.toml", "--no-show"], folder)
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    count = sum("faces" in json.loads(line) for line in lines)
    check(true=count == 20, message=f"edge-run --config wrote {count} events for 20 frames")
    printed = run([edge_run, "--config", "edge.toml", "--print-config"], folder)
    found = re.search(r'^uri = "demo"', printed, re.MULTILINE)
    check(true=found is not None, message="--print-config lacks the source")
    run([commands / "edge-doctor"], folder)
    unit = run([edge_run, "--install-service"], folder)
    check(true=f"ExecStart={edge_run} --config" in unit, message="the unit starts another edge-run")
    verify_unit(unit, folder)
    check(
        true="[app]" in run([commands / "edge-app"], folder, code=2),
        message="edge-app does not name its extra",
    )
    script = f"from importlib.util import find_spec; print(*filter(find_spec, {OTHERS}))"
    found = run([commands / "python", "-c", script], folder).strip()
    check(true=not found, message=f"the device's wheel installs {found}")
    for command, arguments in COMMANDS.items():
        extra = command.removeprefix("edge-")
        output = run([commands / command, *arguments], folder, code=2)
        check(true=f"[{extra}]" in output, message=f"{command} does not name its extra: {output}")


def drive_workstation(commands: Path, folder: Path, wheel: Path) -> None:
    """Install the benchmarks as the device's own message says, and measure a model."""
    message = run([commands / "edge-bench", "--help"], folder, code=2)
    command = message.rpartition(": ")[2].strip()
    check(true=str(wheel) in command, message=f"edge-bench names no wheel: {message}")
    run(["sh", "-c", command], folder)
    models = run(
        [
            commands / "python",
            "-c",
            "from maskedge.modelfile.contract import MODELS; print(MODELS)",
        ],
        folder,
    )
    model = Path(models.strip()) / "edgenet.onnx"
    run([commands / "edge-bench", "nets", model, "--rounds", "1"], folder)
    run([commands / "edge-export", "verify", model], folder)
    output = run([commands / "edge-train", "classifier", "--data", "."], folder, code=2)
    check(true="[train]" in output, message=f"edge-train does not name its extra: {output}")


def verify_unit(unit: str, folder: Path) -> None:
    """Check the unit with systemd where it is installed."""
    if shutil.which("systemd-analyze") is None:
        return
    path = folder / "maskedge.service"
    path.write_text(unit, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    # systemd-analyze also reports faults of this machine's own units.
    wrong = [line for line in done.stderr.splitlines() if "maskedge" in line]
    check(true=not wrong, message=f"systemd-analyze verify: {' '.join(wrong)}")


def drive_headless(commands: Path, folder: Path) -> None:
    """Replace opencv-python with its headless build. Run with a display that cannot be opened."""
    run([*pip(commands), "uninstall", "--yes", "opencv-python"], folder)
    run([*pip(commands), "install", HEADLESS], folder)
    environment = {**os.environ, "DISPLAY": ":9"}
    doctor = run([commands / "edge-doctor"], folder, env=environment)
    check(
        true="without windows" in doctor,
        message=f"edge-doctor does not name the parts that headless OpenCV lacks: {doctor}",
    )
    done = run([commands / "edge-run", "--source", "demo", "--max-frames", "20"], folder, env=environment)
    check(true="without a window" in done, message="edge-run does not say why no window opens")


def build(python: Path, folder: Path) -> Path:
    """Build the wheels of the device, the workstation and the server into `folder`; return the device's."""
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps"]
    for project in (ROOT, ROOT / "workstation", ROOT / "fleet"):
        run([*command, "--wheel-dir", folder, project], folder)
    (wheel,) = folder.glob("maskedge-*.whl")
    size = wheel.stat().st_size
    check(true=size <= LARGEST, message=f"{wheel.name} has {size} bytes, more than {LARGEST}")
    return wheel


def main(versions: Sequence[str]) -> None:
    """Build the wheels once, and try them on each Python."""
    pythons = {version: find_python(version) for version in versions}
    for version in [version for version, python in pythons.items() if python is None]:
        print(f"Python {version}: not found here, skipped")
    found = {version: python for version, python in pythons.items() if python is not None}
    if not found:
        found = {f"{sys.version_info[0]}.{sys.version_info[1]}": Path(sys.executable)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        wheel = None
        for version, python in found.items():
            run([python, "-m", "venv", folder / version], folder)
            commands = folder / version / "bin"
            wheel = wheel or build(commands / "python", folder)
            constraints = ["--constraint", ROOT / "constraints.txt"]
            run([*pip(commands), "install", *constraints, wheel], folder)
            drive(commands, folder)
            size = wheel.stat().st_size / 1e6
            print(f"Python {version}: {wheel.name}, {size:.2f} MB: runs alone", flush=True)
            drive_workstation(commands, folder, wheel)
            print(f"Python {version}: with [bench]: edge-bench, edge-export verify", flush=True)
        drive_headless(commands, folder)
        print(f"Python {version}: {HEADLESS}: edge-doctor, edge-run with a display", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or VERSIONS)
