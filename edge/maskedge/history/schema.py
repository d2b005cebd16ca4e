"""The file of the history: its tables, its versions, and how it is opened.

A quarter of an hour of a series is one row. It holds the totals of the quarter and a blob with the
counts of its 15 minutes, which takes a fifth of the space of 15 rows. Every time zone in use is
offset from UTC by whole quarters, so hours, days, weeks and months are sums of whole quarters.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from maskedge.errors import OutputError
from maskedge.support.files import is_file
from maskedge.support.text import displayable

QUARTER = 900
"""Seconds of a row."""
MINUTES = 15
"""Minutes of a row."""
_APPLICATION_ID = 0x6D654869
_FIRST_BYTES = b"SQLite format 3\0"
_LOCK_SECONDS = 1.0
_CHECK_SECONDS = 2.0
"""Maximum time of the check for damage at the start."""
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
        # A series counts the faces of a label. With an empty label, it counts the seconds observed.
        "CREATE TABLE series (id INTEGER PRIMARY KEY, camera INTEGER NOT NULL, zone INTEGER NOT NULL, line INTEGER NOT NULL, "
        "direction INTEGER NOT NULL, label INTEGER NOT NULL, UNIQUE (camera, zone, line, direction, label))",
        # The newest rows are neighbours, so that a transaction writes one or two pages.
        "CREATE TABLE quarter (quarter INTEGER NOT NULL, series INTEGER NOT NULL, tenths INTEGER NOT NULL, "
        "people INTEGER NOT NULL, minutes BLOB NOT NULL, PRIMARY KEY (quarter, series)) WITHOUT ROWID",
        "CREATE TABLE event (time INTEGER NOT NULL, number INTEGER NOT NULL, camera INTEGER NOT NULL, kind INTEGER NOT NULL, "
        "details TEXT NOT NULL, PRIMARY KEY (time, number)) WITHOUT ROWID",
    ),
)
"""Statements that lead from each version to the next one. The version is in `user_version`."""
VERSION = len(_MIGRATIONS)


def pack(minutes: Iterable[tuple[int, int]]) -> bytes:
    """Pack the counts of the minutes of a quarter.

    Args:
        minutes: Tenths of a second and people of each minute, both 0 or more.
    """
    content = bytearray()
    for value in (value for pair in minutes for value in pair):
        while value > 0x7F:
            content.append(value & 0x7F | 0x80)
            value >>= 7
        content.append(value)
    return bytes(content.rstrip(b"\0"))


def unpack(content: bytes) -> list[tuple[int, int]]:
    """Return tenths of a second and people of each of the 15 minutes of a quarter."""
    values, value, shift = [], 0, 0
    for byte in content:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value = shift = 0
    values += [0] * (2 * MINUTES - len(values))
    return list(zip(values[0 : 2 * MINUTES : 2], values[1 : 2 * MINUTES : 2], strict=True))


def is_in_use(path: Path) -> bool:
    """Return True if a writer has the file of a history open, or was killed while it had.

    Such a file is left to SQLite alone. If this process opened and closed it by itself, the locks of
    its own writer would be lost. The next program that closes the file would then remove the log of
    that writer, with all its later counts.

    Args:
        path: The file.
    """
    # SQLite's log lies beside the file that a symbolic link leads to.
    return is_file(path) and is_file(Path(f"{os.path.realpath(path)}-wal"))


def check_kind_of_file(path: Path) -> None:
    """Refuse a file that is certainly no history. Only a missing, an empty and an SQLite file can become one.

    SQLite would leave files beside it, and the message would call it damaged.

    Args:
        path: The file.

    Raises:
        OutputError: It is a device or a pipe, holds something else, or cannot be read.
    """
    if is_in_use(path):
        return
    try:
        mode, first = path.stat().st_mode, b""
        regular = stat.S_ISREG(mode)
        if regular:
            with path.open("rb") as file:
                first = file.read(len(_FIRST_BYTES))
    except FileNotFoundError:
        return
    except OSError as error:
        raise failure(path, error) from error
    if stat.S_ISDIR(mode):
        return  # opening it tells so
    if not regular or first not in (b"", _FIRST_BYTES):
        raise OutputError(f"{displayable(path)} is not a history: name another file ([history] file).")


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the file of a history for writing. Create it, or convert an earlier version.

    Args:
        path: The file.

    Raises:
        OutputError: The file is damaged, locked, of a newer version, of another program or no
            database, or cannot be written. It is not changed.
    """
    check_kind_of_file(path)
    try:
        # Counts are about people, so only the user may read them. SQLite applies the permissions of
        # this file to its other files.
        if not is_in_use(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        base = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise failure(path, error) from error
    try:
        _check(path, base)
        if base.execute("PRAGMA user_version").fetchone() == (0,):
            base.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=256", "journal_size_limit=1048576"):
            base.execute(f"PRAGMA {pragma}")
        _migrate(base)
    except sqlite3.Error as error:
        base.close()
        raise failure(path, error) from error
    except OutputError:
        base.close()
        raise
    return base


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the file of a history for reading only.

    Args:
        path: The file.

    Raises:
        OutputError: There is no such file, or it is damaged, locked, of another version or of
            another program.
    """
    if not is_file(path):
        raise OutputError(f"there is no history {displayable(path)}: set [history] file, and run edge-run with it.")
    check_kind_of_file(path)
    uri = f"{path.absolute().as_uri()}?mode=ro"
    if not is_in_use(path):
        # There is no writer. SQLite would leave files beside it that belong to the reader, which the
        # writer may not be able to use.
        uri += "&immutable=1"
    base = None
    try:
        base = sqlite3.connect(uri, uri=True, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        _check_kind(path, base)
        if base.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            raise OutputError(f"the history {displayable(path)} is empty or of another version: start edge-run with it once.")
    except sqlite3.Error as error:
        if base is not None:
            base.close()
        raise failure(path, error, "read") from error
    except OutputError:
        assert base is not None  # noqa: S101  (only the checks after the connection raise it)
        base.close()
        raise
    return base


def failure(path: Path, error: Exception, what: str = "written") -> OutputError:
    """Return the error for the user.

    Args:
        path: The file.
        error: An error of SQLite or of the operating system.
        what: What was attempted: `written` or `read`.
    """
    name = f"the history {displayable(path)}"
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    if "locked" in text:
        return OutputError(f"{name} is locked by another program: close that program, or name another file ([history] file).")
    if "malformed" in text or "not a database" in text:
        return OutputError(f"{name} is damaged ({text}): move it away, and a new one is begun.")
    if "full" in text or "No space" in text:
        return OutputError(f"{name} cannot be {what}, because its disk is full: free some space.")
    return OutputError(f"{name} cannot be {what} ({text}): check the folder, the permissions and the disk.")


def _check(path: Path, base: sqlite3.Connection) -> None:
    """Refuse a file that is not a sound history of this version or an earlier one."""
    _check_kind(path, base)
    end = time.monotonic() + _CHECK_SECONDS
    base.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        (found,) = base.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        found = "ok"  # a large file on a slow disk is checked in part
    finally:
        base.set_progress_handler(None, 0)
    if found != "ok":
        raise sqlite3.DatabaseError(f"malformed: {' '.join(found.split())}")


def _check_kind(path: Path, base: sqlite3.Connection) -> None:
    (version,) = base.execute("PRAGMA user_version").fetchone()
    (identity,) = base.execute("PRAGMA application_id").fetchone()
    if identity != _APPLICATION_ID and base.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise OutputError(f"{displayable(path)} is the database of another program: name another file ([history] file).")
    if version > VERSION:
        raise OutputError(
            f"the history {displayable(path)} is of version {version}, and this maskedge reads up to {VERSION}: "
            "install a newer maskedge, or name another file ([history] file)."
        )


def _migrate(base: sqlite3.Connection) -> None:
    """Convert the file to the newest version, in one transaction."""
    if base.execute("PRAGMA user_version").fetchone() == (VERSION,):
        return
    base.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have converted it in the meantime.
        (version,) = base.execute("PRAGMA user_version").fetchone()
        for statement in (statement for step in _MIGRATIONS[version:] for statement in step):
            base.execute(statement)
        base.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        base.execute(f"PRAGMA user_version={VERSION}")
        base.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            base.execute("ROLLBACK")
        raise
