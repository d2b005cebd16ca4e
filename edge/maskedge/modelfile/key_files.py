"""New key files for signatures of models and commands."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from maskedge.errors import OutputError, UsageError
from maskedge.support.text import displayable

from .signature import generate_key, key_id, load_public_key

PUBLIC = ".pub"
"""Suffix of the public key beside a private one."""


def write_key_pair(path: Path) -> tuple[Path, str]:
    """Write a new private key, readable by this user only, and its public key. No file is replaced.

    Args:
        path: File of the private key. The public key gets the suffix `.pub` as well.

    Returns:
        The path of the public key, and its id.

    Raises:
        UsageError: The path names no file, one of the files exists, or the library of the extra
            `remote` is missing.
        OutputError: A file cannot be written.
    """
    if not path.name:
        raise UsageError(f"{displayable(path)} is a folder: name a file in it.")
    public_path = path.with_name(path.name + PUBLIC)
    for one in (path, public_path):
        if os.path.lexists(one):
            raise UsageError(f"{displayable(one)} exists, and a key is never replaced: name another file.")
    private, public = generate_key()
    _write_new(path, private, 0o600)
    try:
        _write_new(public_path, public, 0o644)
    except OutputError:
        # Without its public half, the new key is of no use.
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return public_path, key_id(load_public_key(public_path))


def _write_new(path: Path, content: bytes, mode: int) -> None:
    created = False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        created = True
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise UsageError(f"{displayable(path)} exists, and a key is never replaced: name another file.") from error
    except OSError as error:
        if created:
            # A part of a key would be in the way of the next attempt.
            with contextlib.suppress(OSError):
                path.unlink()
        raise OutputError(f"{displayable(path)} cannot be written ({error.strerror}): check the folder.") from error
