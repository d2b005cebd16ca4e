"""The folder for state that outlives a run, and the identity of the installation that it holds."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from maskedge.errors import OutputError
from maskedge.support.files import make_folder, read_text, write_file

_INSTANCE = "instance"
_LONGEST_INSTANCE = 64


def state_folder() -> Path:
    """Return the folder of the service (`$STATE_DIRECTORY`), or else of the user."""
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if service:
        return Path(service)
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "maskedge"


def instance_id(folder: Path) -> str:
    """Return the random identity of this installation. It is created by the first call.

    Args:
        folder: The state folder, created if missing.

    Raises:
        OutputError: The folder cannot be written.
    """
    path = folder / _INSTANCE
    try:
        known = read_text(path, _LONGEST_INSTANCE).strip()
    except (OSError, UnicodeDecodeError):
        known = ""
    if re.fullmatch(r"[0-9a-f]{16}", known):
        return known
    make_folder(folder, private=True)
    identity = secrets.token_hex(8)
    write_file(path, f"{identity}\n", remedy="check the state folder", private=True)
    return identity


def write_durably(path: Path, content: str) -> None:
    """Write a small file of the state folder atomically, and wait until it is on the disk.

    Args:
        path: The file. Its folder must exist.
        content: Its content.

    Raises:
        OutputError: The file cannot be written.
    """
    write_file(path, content, remedy="free some space in the state folder", private=True)
    try:
        for part, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
            number = os.open(part, flags | os.O_CLOEXEC)
            try:
                os.fsync(number)
            finally:
                os.close(number)
    except OSError as error:
        raise OutputError(f"{path} cannot be written to the disk ({error.strerror}): check the disk.") from error
