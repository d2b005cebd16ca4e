"""Guards of a training's output folder: a lock against a second training, and the recipe that may be resumed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError, UsageError
from maskedge.support.files import make_folder
from maskedge.support.text import displayable

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""Name of the lock file. It holds the id of the training process."""
_LONGEST_SHOWN = 60
"""Length of the longest value in a message; digests and lists of corrections are longer."""


def is_helper() -> bool:
    """Return True in the helper processes of a distributed training, which the first process starts, or torchrun."""
    # torchrun and Lightning set these for every process except the one started by hand.
    return any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Lock a training's output folder against other trainings; create it if missing.

    The lock is an flock, which the operating system releases when the process ends for any reason.
    Helper processes of a distributed training share the lock of the first process. A folder that is
    still empty at the end is removed.

    Args:
        out: Folder of checkpoints and reports.

    Raises:
        UsageError: Another training holds the lock.
        OutputError: The folder or the lock file cannot be created.
    """
    if is_helper() or sys.platform == "win32":
        make_folder(out)
        yield
        return
    handle = _take(out)
    try:
        yield
    finally:
        # Remove the file before the lock is released. A process that has opened the file detects
        # the removal (`_take`).
        with contextlib.suppress(OSError):
            (out / LOCK).unlink()
            out.rmdir()
        os.close(handle)


def check_same_recipe(path: Path, begun: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Check that a training is resumed with the recipe and the data with which it began.

    Args:
        path: The file to resume from, for the message.
        begun: Recipe of the earlier run.
        recipe: Recipe of the new run.

    Raises:
        UsageError: They differ. The message names the differences.
    """
    differing = []
    for name, value in recipe.items():
        former = begun.get(name)
        if former != value:
            short = max(len(repr(former)), len(repr(value))) <= _LONGEST_SHOWN
            differing.append(f"{name} was {former!r}, now {value!r}" if short else f"{name} has changed")
    if differing:
        raise UsageError(
            f"{displayable(path)} cannot be resumed with another recipe or other data: {'; '.join(differing)}. Repeat the first "
            "command with the same data, or start a new training in another --out."
        )


def _take(out: Path) -> int:
    path = out / LOCK
    while True:
        make_folder(out)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # another process removed the folder in the meantime
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror}): choose another --out.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(handle, 20).decode("ascii", "replace").strip()
            os.close(handle)
            held = f" (process {owner})" if owner else ""
            raise UsageError(f"another training writes to {out}{held}: wait for its end, or choose another --out.") from error
        except OSError:
            return handle  # some network file systems have no locks
        if not _is_file(path, handle):
            os.close(handle)  # the file was removed between opening and locking: try again
            continue
        # On a full disk, the lock holds without the id.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
        return handle


def _is_file(path: Path, handle: int) -> bool:
    """Return True if a path still names an open file."""
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except OSError:
        return False
