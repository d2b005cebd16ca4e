"""The lock: two trainings never write to one folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskedge import OutputError, UsageError
from maskedge_train.shared.lock import LOCK, lock_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no flock on Windows")

HOLD = "import sys; from pathlib import Path; from maskedge_train.shared.lock import lock_folder\n" + (
    "with lock_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
)


def test_second_training_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "edgenet"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    try:
        with (
            pytest.raises(UsageError, match=rf"another training writes to .*\(process {holder.pid}\).*another --out"),
            lock_folder(out),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    # The killed process could not remove its lock file, which does not matter.
    assert (out / LOCK).exists()
    with lock_folder(out):
        (out / "best.ckpt").write_text("")
    assert [path.name for path in out.iterdir()] == ["best.ckpt"]


def test_refused_training_leaves_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert not (tmp_path / "out").exists()


def test_helper_processes_share_the_lock_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock_folder(tmp_path):
        monkeypatch.setenv("LOCAL_RANK", "1")
        with lock_folder(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize(
    ("command", "data"),
    [("classifier", "--data"), ("detector", "--data"), ("cascade", "--data"), ("leakage", "--data")],
)
def test_commands_that_train_take_it(invoke, faces_folder: Path, tmp_path: Path, command: str, data: str) -> None:  # type: ignore[no-untyped-def]
    with lock_folder(tmp_path):
        done = invoke("edge-train", command, data, faces_folder, "--out", tmp_path)
    assert done.returncode == 2
    assert f"another training writes to {tmp_path} (process {os.getpid()})" in done.stderr


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(OutputError, match=r"\.lock cannot be written"), lock_folder(tmp_path):
        pass


def test_a_full_disk_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse)
        with lock_folder(tmp_path), pytest.raises(UsageError, match="another training"), lock_folder(tmp_path):
            pass
