"""A queue on disk for messages to a broker. It survives restarts of the program."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError
from maskedge.support.files import make_folder
from maskedge.support.text import to_bytes, to_json

from .topics import EVENTS

_log = logging.getLogger(__name__)
NAME = "spool.sqlite3"
"""Name of the file in the folder of a spool."""
# AUTOINCREMENT never reuses the number of a removed message.
_TABLES = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL, topic TEXT NOT NULL DEFAULT 'events'
);
CREATE TABLE IF NOT EXISTS spool (identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY);
"""
_ADD_TOPIC = "ALTER TABLE messages ADD COLUMN topic TEXT NOT NULL DEFAULT 'events'"
"""Converts the file of a version that stored only events."""


@dataclass(frozen=True, slots=True)
class Message:
    """A queued message.

    Attributes:
        number: Position in the order, from 1. It is never reused.
        payload: JSON, UTF-8.
        topic: Last level of its topic: `events` or `statistics`.
    """

    number: int
    payload: bytes
    topic: str = EVENTS


class Spool:
    """An ordered queue of messages in an SQLite file. Thread-safe.

    An added message is kept when the program ends, even by SIGKILL. A power cut may lose the last
    messages, but does not damage the file.

    Args:
        folder: Folder of the file, created if missing. Only one program at a time may use it.
        limit: Maximum total payload in bytes.

    Raises:
        OutputError: The file cannot be opened, or another program uses it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        make_folder(folder, private=True)
        self._path = folder / NAME
        self._limit = limit
        self._lock = threading.Lock()
        self._create()
        try:
            self._base = _connect(self._path)
            names = {name for (name,) in self._base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if names and "spool" not in names:
                self._base.close()
                raise OutputError(
                    f"{self._path} is the database of another program: give the spool a folder of its own ([mqtt] spool)."
                )
            _prepare(self._base)
            self._base.executescript(_TABLES)
            if all(column[1] != "topic" for column in self._base.execute("PRAGMA table_info(messages)")):
                self._base.execute(_ADD_TOPIC)
            if self._base.execute("SELECT count(*) FROM spool").fetchone() == (0,):
                self._base.execute("INSERT INTO spool VALUES (?)", (secrets.token_hex(4),))
            (self._identity,) = self._base.execute("SELECT identity FROM spool").fetchone()
            self._count, self._bytes = self._base.execute(
                "SELECT count(*), ifnull(sum(length(payload)), 0) FROM messages"
            ).fetchone()
            last = self._base.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
            self._last = last[0] if last else 0
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise OutputError(f"another edge-run uses the spool folder {folder}: give each its own ([mqtt] spool).") from error
            raise OutputError(f"the spool {self._path} cannot be opened ({error}): check the folder and the disk.") from error
        except sqlite3.DatabaseError as error:
            raise OutputError(f"{self._path} is damaged ({error}): move it away, then start again.") from error

    def _create(self) -> None:
        try:
            # Messages are about people, so only the user may read them. SQLite applies the
            # permissions of this file to its other files.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise OutputError(f"the spool {self._path} cannot be written ({error.strerror}): check the folder.") from error

    def _restore(self) -> None:
        """Write the file again if it was removed. SQLite goes on with the removed one, which the end of the program deletes."""
        try:
            self._path.stat()
            return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            # It may still be there. Opening and closing it would release the locks of this process.
            return
        # SQLite's log lies beside the file that a symbolic link leads to.
        path = Path(os.path.realpath(self._path))
        make_folder(path.parent, private=True)
        copied = path.with_name(f"{path.name}.new")
        try:
            # After a failure there must be no file, so that the next call tries again.
            with contextlib.ExitStack() as undo:
                _delete(copied)  # of a run that was killed here
                undo.callback(_delete, copied)
                os.close(os.open(copied, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                with contextlib.closing(_connect(copied)) as copy:
                    self._base.backup(copy)
                # SQLite would take the log of the removed file for that of the new one.
                _delete(path)
                copied.replace(path)
                undo.callback(_delete, path)
                base = _connect(self._path)
                undo.callback(base.close)
                _prepare(base)
                undo.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"the spool {self._path} was removed and cannot be written again ({error}): free some space."
            ) from error
        # SQLite leaves the new log alone, because the file of this connection is no longer there.
        self._base.close()
        self._base = base
        _log.warning("the spool %s was removed while it was in use, and is written again with its messages.", self._path)

    def __len__(self) -> int:
        return int(self._count)

    @property
    def identity(self) -> str:
        """Random identity of the file, 8 hexadecimal digits. It is the first part of each `id`."""
        return str(self._identity)

    def add(self, payloads: Iterable[Mapping[str, Any]], topic: str = EVENTS) -> None:
        """Append all messages or none. Each message gets a unique field `id`.

        Args:
            payloads: The messages, in JSON types.
            topic: Last level of their topic.

        Raises:
            OutputError: The disk or the spool is full. No message is added.
        """
        with self._lock:
            self._restore()
            rows = []
            for number, payload in enumerate(payloads, self._last + 1):
                rows.append((number, to_bytes(to_json({"id": f"{self._identity}-{number}", **payload})), topic))
            size = sum(len(payload) for _, payload, _ in rows)
            if self._bytes + size > self._limit:
                raise OutputError(
                    f"the spool {self._path.parent} is full ({self._count} messages in {self._limit / 1e6:g} MB): "
                    "new ones are lost until the broker is back; [mqtt] spool_mb raises the limit."
                )
            try:
                self._base.execute("BEGIN IMMEDIATE")
                self._base.executemany("INSERT INTO messages (number, payload, topic) VALUES (?, ?, ?)", rows)
                self._base.execute("COMMIT")
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    self._base.execute("ROLLBACK")
                raise OutputError(f"the spool {self._path.parent} cannot be written ({error}): free some space.") from error
            self._last += len(rows)
            self._count += len(rows)
            self._bytes += size

    def after(self, number: int, count: int) -> list[Message]:
        """Return the first messages after a number, in order.

        Args:
            number: Number of a message; 0 for the start.
            count: Maximum number of messages.
        """
        with self._lock, contextlib.suppress(sqlite3.Error):
            rows = self._base.execute(
                "SELECT number, payload, topic FROM messages WHERE number > ? ORDER BY number LIMIT ?", (number, count)
            )
            return [Message(*row) for row in rows]
        return []

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove delivered messages.

        Args:
            numbers: Their numbers.

        Raises:
            OutputError: The messages cannot be removed. They would be sent again after a restart.
        """
        removed = size = 0
        with self._lock:
            try:
                self._base.execute("BEGIN IMMEDIATE")
                for number in numbers:
                    found = self._base.execute("SELECT length(payload) FROM messages WHERE number = ?", (number,)).fetchone()
                    if found is not None:
                        self._base.execute("DELETE FROM messages WHERE number = ?", (number,))
                        removed, size = removed + 1, size + found[0]
                self._base.execute("COMMIT")
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    self._base.execute("ROLLBACK")
                raise OutputError(f"the spool {self._path.parent} cannot be written ({error}): free some space.") from error
            self._count -= removed
            self._bytes -= size

    def retained(self) -> set[str]:
        """Return the topics with retained messages that runs may have left at the broker."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            return {topic for (topic,) in self._base.execute("SELECT topic FROM retained")}
        return set()

    def note_retained(self, topics: Iterable[str]) -> None:
        """Store topics before a retained message is published there.

        Raises:
            OutputError: The disk is full.
        """
        with self._lock:
            try:
                self._base.executemany("INSERT OR IGNORE INTO retained VALUES (?)", [(topic,) for topic in topics])
            except sqlite3.Error as error:
                raise OutputError(f"the spool {self._path.parent} cannot be written ({error}): free some space.") from error

    def forget_retained(self, topic: str) -> None:
        """Remove a topic whose retained message the broker has removed.

        If that fails, the next run clears the topic again.
        """
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._base.execute("DELETE FROM retained WHERE topic = ?", (topic,))

    def close(self) -> None:
        """Close the file. It keeps the queued messages.

        Raises:
            OutputError: The file was removed and cannot be written again.
        """
        with self._lock:
            try:
                if self._count:
                    self._restore()
            finally:
                self._base.close()


def _connect(path: Path) -> sqlite3.Connection:
    # In autocommit mode, transactions are started explicitly.
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _delete(path: Path) -> None:
    """Delete a database and the files that SQLite keeps beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _prepare(base: sqlite3.Connection) -> None:
    for pragma in ("auto_vacuum=FULL", "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
        base.execute(f"PRAGMA {pragma}")
