"""The folder for state that outlives a run, and the identity of the installation that it holds."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from maskedge.errors import UsageError
from maskedge.support.files import make_folder, read_text, write_file

_INSTANCE = "instance"
_LONGEST_INSTANCE = 64


def state_folder() -> Path:
    """Return the folder of the service (`$STATE_DIRECTORY`), or else of the user.

    Raises:
        UsageError: The user has no home folder, as a number without an account in a container.
    """
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if service:
        return Path(service)
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "maskedge"
    except RuntimeError as error:
        raise UsageError("this user has no home folder for the state: set XDG_STATE_HOME to a folder.") from error


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
