"""Creates the key that signs commands."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from maskedge.errors import OutputError, UsageError
from maskedge.modelfile.signature import generate_key, key_id, load_private_key, load_public_key
from maskedge.support.text import displayable


def public_path(private: Path) -> Path:
    """Return the path of the public key beside a private key: the name with `.pub`."""
    return private.with_name(f"{private.name}.pub")


def create_key(path: Path) -> str:
    """Create a key pair. The private key is readable by this user only.

    Args:
        path: File of the private key (PEM, PKCS8). The public key is written beside it, with the
            suffix `.pub`.

    Returns:
        Id of the key.

    Raises:
        UsageError: A file exists. Keys are never overwritten.
        OutputError: A file cannot be written. Then no key is left.
    """
    public = public_path(path)
    for file in (path, public):
        if os.path.lexists(file):
            raise UsageError(f"{displayable(file)} exists, and a key is never overwritten: give another name.")
    parts = dict(zip((path, public), generate_key(), strict=True))
    written: list[Path] = []
    try:
        for file, content in parts.items():
            number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if file == path else 0o644)
            written.append(file)
            with os.fdopen(number, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as error:
        for file in written:
            with contextlib.suppress(OSError):
                file.unlink()
        raise OutputError(f"the key {displayable(path)} cannot be written ({error.strerror}): choose another folder.") from error
    return key_id(load_private_key(path).public_key())


def describe_key(path: Path) -> str:
    """Return the id of a key file, private or public.

    Raises:
        UsageError: The file is not a key.
    """
    try:
        return key_id(load_private_key(path).public_key())
    except UsageError as error:
        try:
            return key_id(load_public_key(path))
        except UsageError:
            raise error from None
