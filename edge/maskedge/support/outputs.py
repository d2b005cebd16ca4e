"""Checks of output files. An output must not be an input or replace a file without permission."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from maskedge.errors import UsageError

from .text import displayable, utc


@dataclass(frozen=True, slots=True)
class Named:
    """A file or folder and its name in messages.

    Attributes:
        name: An option or a description, as `--save` or `the model`.
        path: Its path.
    """

    name: str
    path: Path


def check_apart(outputs: Sequence[Named], inputs: Iterable[Named]) -> None:
    """Check that no output is an input or another output.

    Links to a file, other spellings of its path and its descriptors count as that file.

    Args:
        outputs: Files and folders to be written.
        inputs: Files and folders to be read, now or later.

    Raises:
        UsageError: Two of them are the same file.
    """
    known: dict[tuple[object, ...], Named] = {}
    for one in inputs:
        known.setdefault(_identity(one.path), one)
    read = set(known)
    for output in outputs:
        identity = _identity(output.path)
        other = known.setdefault(identity, output)
        if identity == () or other is output:
            continue
        if identity in read:
            raise UsageError(
                f"{output.name} {displayable(output.path)} is {other.name}, which would be overwritten: name another file."
            )
        raise UsageError(f"{other.name} and {output.name} are the same file, {displayable(output.path)}: name two files.")


def same_file(one: Path, other: Path) -> bool:
    """Return True if two paths lead to the same file or folder. It need not exist."""
    return _identity(one) == _identity(other) != ()


def check_new(outputs: Iterable[Named], *, overwrite: bool) -> None:
    """Check that no existing file is replaced without permission.

    Empty files, devices and pipes may be written.

    Args:
        outputs: Files that the command writes from their beginning.
        overwrite: True if the user allowed replacing them.

    Raises:
        UsageError: A file exists, and `overwrite` is False.
    """
    if overwrite:
        return
    taken = [output for output in outputs if is_taken(output.path)]
    if not taken:
        return
    first = f"{taken[0].name} {displayable(taken[0].path)}".strip()
    if len(taken) == 1:
        raise UsageError(f"{first} exists already: add --overwrite to replace it, or name another.")
    raise UsageError(f"{first} and {len(taken) - 1} more exist already: add --overwrite to replace them, or name another place.")


def is_taken(path: Path) -> bool:
    """Return True for a regular file that is not empty."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size > 0


def put_aside(path: Path) -> Path:
    """Rename a file to `NAME.20260131T120000.123Z.SUFFIX`, and return the new path.

    The time in the name is that of the file's last change.

    Raises:
        OSError: The file cannot be renamed.
    """
    finished_at = re.sub("[:-]", "", utc(path.stat().st_mtime))
    aside, number = path.with_name(f"{path.stem}.{finished_at}{path.suffix}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.stem}.{finished_at}-{number}{path.suffix}")
    path.rename(aside)
    return aside


def files_of(address: str) -> list[Path]:
    """Return the existing files and folders that a source address may refer to."""
    names = [address, re.sub(r"(?i)^file:(//(localhost)?)?", "", address.strip())]
    names += [unquote(names[-1]), *re.findall(r"location=\"?([^\s\"!]+)", address)]
    found = []
    for name in dict.fromkeys(names):
        try:
            path = Path(name).expanduser()
            if path.is_file() or path.is_dir():
                found.append(path)
        except (OSError, ValueError, RuntimeError):
            continue
    return found


def _identity(path: Path) -> tuple[object, ...]:
    """Return an identity of a file or folder, which need not exist.

    The identity is empty for devices, pipes and invalid paths.
    """
    try:
        facts = path.stat()
    except (OSError, ValueError):
        try:
            whole = os.path.realpath(path)
            folder = Path(whole).parent.stat()
        except (OSError, ValueError):
            return ()
        # Some file systems ignore the case of letters.
        return folder.st_dev, folder.st_ino, Path(whole).name.casefold()
    regular = stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)
    return (facts.st_dev, facts.st_ino) if regular else ()
