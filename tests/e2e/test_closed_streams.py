"""Commands without standard streams, or with full or limited ones."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from helpers.support import environment
from maskedge.types import Image

RUN = "-m maskedge.cli.run --no-show --source picture.jpg"


@pytest.fixture
def folder(tmp_path: Path, frames: list[Image]) -> Path:
    """A folder with a picture."""
    (tmp_path / "picture.jpg").write_bytes(cv2.imencode(".jpg", frames[0])[1].tobytes())
    return tmp_path


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    env = environment(variables)
    return subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} {line}"], cwd=folder, env=env, capture_output=True, timeout=60, check=False
    )


def test_closed_standard_error_changes_nothing(folder: Path) -> None:
    done = shell(f"{RUN} --events events.jsonl --save out.avi 2>&-", folder)
    assert done.returncode == 0
    assert b"wrote out.avi, events.jsonl" in done.stdout
    # No message of a library ended up in a file with the number of standard error.
    assert len([json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]) == 1
    assert (folder / "out.avi").read_bytes()[:4] == b"RIFF"


@pytest.mark.parametrize("end", [">&-", "> /dev/full"])
def test_output_that_cannot_be_printed_is_exit_code_5(folder: Path, end: str) -> None:
    done = shell(f"{RUN} --events - {end}", folder)
    assert done.returncode == 5, done.stderr
    assert b"standard output" in done.stderr
    assert b"Traceback" not in done.stderr
    # A summary that cannot be printed is no failure.
    done = shell(f"{RUN} --events events.jsonl {end}", folder)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "events.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize(
    "package", ["maskedge.cli.run", "maskedge.cli.doctor", "maskedge_train", "maskedge_export.cli", "maskedge_bench.cli.main"]
)
def test_help_of_every_command_without_streams(folder: Path, package: str) -> None:
    code = f"-c 'from {package} import main; main()'"
    if package == "maskedge_train":
        code = "-c 'from maskedge_train.cli import main; main()'"
    done = shell(f"{code} --help >&-", folder)
    assert done.returncode == 5
    assert done.stderr.startswith(b"error: standard output cannot be written")
    done = shell(f"{code} --help 2>&- <&-", folder)
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage:")
    assert shell(f"{code} --no-such-option >&- 2>&-", folder).returncode == 2


def test_terminal_without_unicode(folder: Path) -> None:
    (folder / "picture.jpg").rename(folder / "pictüre \U0001f600.jpg")
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    line = RUN.replace("picture.jpg", "'*.jpg'")
    done = shell(f"{line} --events - --log-format json", folder, **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode())["source"] == "pictüre \U0001f600.jpg"
    done = shell(f"{line} --save out.gif", folder, **variables)
    assert done.returncode == 5
    done.stderr.decode("ascii")
    done = shell("-c 'import maskedge.cli.common as c; c.prepare_streams(); print(chr(0x2192) + chr(0xe9))'", folder, **variables)
    assert done.stdout == rb"->\xe9" + b"\n"


@pytest.mark.parametrize(("end", "reason"), [(">&-", b"it is closed"), ("> /dev/full", b"No space left on device")])
def test_live_events_that_cannot_be_printed_are_not_said_to_work_again(folder: Path, end: str, reason: bytes) -> None:
    done = shell(f"-m maskedge.cli.run --no-show --source demo --live --max-frames 60 --events - --quiet {end}", folder)
    assert done.returncode == 5, done.stderr
    assert b"standard output cannot be written (" + reason in done.stderr
    assert b"works again" not in done.stderr
