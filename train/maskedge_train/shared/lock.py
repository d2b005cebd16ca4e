"""One training a folder: two that write the same checkpoints would spoil both."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskedge.errors import OutputError, UsageError
from maskedge.support.files import make_folder

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""Name of the locked file. It holds the number of the process that trains."""


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Keep other trainings out of a folder, which is made when missing.

    The lock is the system's (flock) and ends with the process, however it ends. The helper processes of a distributed training
    share that of the first. A folder that the training has left empty is removed again.

    Args:
        out: Folder of checkpoints and reports.

    Raises:
        UsageError: Another training holds it.
        OutputError: The folder or the lock cannot be made.
    """
    # Set by torchrun and by Lightning for all processes but the one that was started by hand.
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    if rank != "0" or os.environ.get("NODE_RANK", "0") != "0" or sys.platform == "win32":
        make_folder(out)
        yield
        return
    handle = _take(out)
    try:
        yield
    finally:
        # While it is still held: who opens the file now finds it gone (see _take).
        with contextlib.suppress(OSError):
            (out / LOCK).unlink()
            out.rmdir()
        os.close(handle)


def _take(out: Path) -> int:
    path = out / LOCK
    while True:
        make_folder(out)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # the folder was removed in between
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
            return handle  # a file system without locks (some network shares): there is nothing to hold
        with contextlib.suppress(OSError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        os.close(handle)  # the file was removed between opening and locking
