"""The writer of the history. All cameras of a process share one per file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from maskedge.errors import OutputError
from maskedge.support.text import to_bytes, to_json

from .records import Count, Series, StoredEvent
from .schema import MINUTES, QUARTER, failure, open_writer, pack, unpack

FLUSH_SECONDS = 10.0
"""Seconds between two transactions. A killed process loses the counts of this time at most."""
_MOST_PENDING = 100_000
"""Maximum number of counts that wait in memory while the file cannot be written."""
_MOST_EVENTS = 1000
_LONGEST_DETAILS = 2000
"""Maximum length of the details of an event, in characters."""
_DAY = 86400
_STEP_PAGES = 256
"""Maximum number of pages that a step of the vacuum returns to the file system (1 MB)."""
_JUMP = 3600.0
"""Jump of the clock, in seconds, after which old rows are kept for a while. A wrong clock must not
empty the history."""
_WAIT_AFTER_JUMP = 3600.0
_CLOSE_SECONDS = 1.4
_STEADY = 3
"""Number of successful transactions in a row after which a failure is over. On a disk that is almost
full, some succeed."""


class Store:
    """Collects counts in memory and writes them to the file every few seconds, on its own thread.

    Every method is safe on any thread, and none but `close` waits. If the file cannot be written,
    the counts stay in memory and are written later.

    Args:
        path: The file, created if missing.
        days: Days that rows are kept; 0 for ever.
        megabytes: Maximum size of the file in megabytes; the oldest rows go first. 0 for no limit.
        flush_seconds: Seconds between two transactions.
        clock: Returns the time in seconds since the epoch.

    Attributes:
        written: Number of rows written.
        dropped: Number of counts and events that were dropped because too many waited.
        error: Why the file cannot be written; None while it can.

    Raises:
        OutputError: The file cannot be opened (`maskedge.history.schema.open_writer`).
    """

    def __init__(
        self,
        path: Path,
        *,
        days: float = 0.0,
        megabytes: float = 0.0,
        flush_seconds: float = FLUSH_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.written = 0
        self.dropped = 0
        self.error: str | None = None
        self._path = path
        self._days = days
        self._megabytes = megabytes
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._pending: dict[tuple[int, Series], tuple[float, int]] = {}
        self._events: deque[StoredEvent] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._successes = 0
        self._listeners: list[Callable[[str | None], None]] = []
        self._names: dict[str, int] = {}
        self._series: dict[Series, int] = {}
        self._base: sqlite3.Connection | None = open_writer(path)
        self._inode = path.stat().st_ino
        self._offset = clock() - time.monotonic()
        self._prune_from = time.monotonic() + (_WAIT_AFTER_JUMP if self._is_implausible(self._base) else 0.0)
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def listen(self, on_state: Callable[[str | None], None]) -> None:
        """Report states to a function: a sentence when writing fails, None when it works again.

        Only the first function is called, so that several cameras report one failure once.
        """
        self._listeners.append(on_state)

    def unlisten(self, on_state: Callable[[str | None], None]) -> None:
        """Report no more states to a function."""
        self._listeners.remove(on_state)

    def add(self, seconds: float, counts: Iterable[Count]) -> None:
        """Add counts to a minute.

        Args:
            seconds: Time in seconds since the epoch.
            counts: The counts.
        """
        minute = int(seconds // 60)
        with self._changed:
            for series, faces, people in counts:
                key = minute, series
                old = self._pending.get(key)
                self._pending[key] = (faces, people) if old is None else (old[0] + faces, old[1] + people)

    def add_event(self, event: StoredEvent) -> None:
        """Add an event."""
        with self._changed:
            self._events.append(event)

    def close(self) -> None:
        """Write what is left, and close the file.

        Raises:
            OutputError: The file cannot be written.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            raise OutputError(f"the history {self._path} hangs: check its disk.")
        # After a success everything is written, even if the failure before it does not count as over yet.
        if self.error is not None and not self._successes:
            raise OutputError(self.error)

    # The methods below run on the thread.

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                closing = self._changed.wait_for(lambda: self._closing, self._flush_seconds)
            self._flush()
            if not closing and self.error is None:
                self._attempt(self._tidy)
        self._disconnect()

    def _flush(self) -> None:
        with self._changed:
            pending, self._pending = self._pending, {}
            events, self._events = self._events, deque()
        if not (pending or events) and self.error is None:
            return
        if self._attempt(lambda: self._write(pending, events)):
            return
        with self._changed:
            for key, (faces, people) in self._pending.items():
                old = pending.get(key, (0.0, 0))
                pending[key] = old[0] + faces, old[1] + people
            self._pending = pending
            for key in list(pending)[: max(0, len(pending) - _MOST_PENDING)]:
                del pending[key]
                self.dropped += 1
            self._events.extendleft(reversed(events))
            while len(self._events) > _MOST_EVENTS:
                self._events.popleft()
                self.dropped += 1

    def _attempt(self, work: Callable[[], None]) -> bool:
        """Do work on the file. Report the first failure, and the first success after it."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  (no failure may end the thread)
            self._disconnect()
            problem: str | None = str(error if isinstance(error, OutputError) else failure(self._path, error))
            self._successes = 0
        else:
            problem = None
            self._successes += 1
        if self.error is None or problem is not None or self._successes >= _STEADY:
            changed = (problem is None) != (self.error is None)
            self.error = problem
            for on_state in self._listeners[:1] if changed else ():
                on_state(problem)
        return problem is None

    def _connected(self) -> sqlite3.Connection:
        """Return the connection. Connect again after a failure, or if the file was removed or replaced."""
        if self._base is not None and not self._is_there():
            self._disconnect()
        if self._base is None:
            self._base = open_writer(self._path)
            self._inode = self._path.stat().st_ino
        return self._base

    def _is_there(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _disconnect(self) -> None:
        base, self._base = self._base, None
        self._names, self._series = {}, {}
        if base is not None:
            with contextlib.suppress(sqlite3.Error):
                base.close()

    def _write(self, pending: Mapping[tuple[int, Series], tuple[float, int]], events: Iterable[StoredEvent]) -> None:
        """Write everything in one transaction, or nothing."""
        rows: dict[tuple[int, Series], dict[int, tuple[float, int]]] = {}
        for (minute, series), amount in pending.items():
            quarter, place = divmod(minute, MINUTES)
            rows.setdefault((quarter, series), {})[place] = amount
        with self._transaction() as base:
            for (quarter, series), added in sorted(rows.items()):
                number = self._series_number(base, series)
                old = base.execute("SELECT minutes FROM quarter WHERE quarter = ? AND series = ?", (quarter, number)).fetchone()
                minutes = unpack(old[0] if old else b"")
                for place, (seconds, people) in added.items():
                    minutes[place] = minutes[place][0] + round(10 * seconds), minutes[place][1] + people
                totals = sum(faces for faces, _ in minutes), sum(people for _, people in minutes)
                base.execute("INSERT OR REPLACE INTO quarter VALUES (?, ?, ?, ?, ?)", (quarter, number, *totals, pack(minutes)))
            for event in events:
                moment = round(1000 * event.time)
                (last,) = base.execute("SELECT ifnull(max(number), -1) FROM event WHERE time = ?", (moment,)).fetchone()
                details = to_bytes(to_json(dict(event.details))).decode()
                base.execute(
                    "INSERT INTO event VALUES (?, ?, ?, ?, ?)",
                    (
                        *(moment, last + 1, self._name_number(base, event.camera), self._name_number(base, event.kind)),
                        details if len(details) <= _LONGEST_DETAILS else "{}",
                    ),
                )
        self.written += len(rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        base = self._connected()
        base.execute("BEGIN IMMEDIATE")
        try:
            yield base
            base.execute("COMMIT")
        except BaseException:
            # The numbers of new names are lost with the transaction.
            self._names, self._series = {}, {}
            with contextlib.suppress(sqlite3.Error):
                base.execute("ROLLBACK")
            raise

    def _name_number(self, base: sqlite3.Connection, name: str) -> int:
        number = self._names.get(name)
        if number is None:
            # A lone surrogate, from a file name that is not UTF-8, cannot be stored.
            text = name.encode(errors="replace").decode()
            base.execute("INSERT OR IGNORE INTO name (text) VALUES (?)", (text,))
            (number,) = base.execute("SELECT id FROM name WHERE text = ?", (text,)).fetchone()
            self._names[name] = number
        return int(number)

    def _series_number(self, base: sqlite3.Connection, series: Series) -> int:
        number = self._series.get(series)
        if number is None:
            names = tuple(self._name_number(base, name) for name in series)
            base.execute("INSERT OR IGNORE INTO series (camera, zone, line, direction, label) VALUES (?, ?, ?, ?, ?)", names)
            found = "SELECT id FROM series WHERE camera = ? AND zone = ? AND line = ? AND direction = ? AND label = ?"
            (number,) = base.execute(found, names).fetchone()
            self._series[series] = number
        return int(number)

    def _tidy(self) -> None:
        """Remove at most a day of the oldest rows, and return some free pages to the file system."""
        base, now = self._connected(), self._clock()
        offset = now - time.monotonic()
        if abs(offset - self._offset) > _JUMP:
            self._prune_from = time.monotonic() + _WAIT_AFTER_JUMP
        self._offset = offset
        (oldest,) = base.execute("SELECT min(quarter) FROM quarter").fetchone()
        if oldest is not None:
            end = None
            if self._days and time.monotonic() >= self._prune_from:
                end = int((now - self._days * _DAY) // QUARTER)
            if self._megabytes and _used_bytes(base) > 1e6 * self._megabytes:
                end = max(end or oldest, oldest + _DAY // QUARTER)
            if end is not None and end > oldest:
                end = min(end, oldest + _DAY // QUARTER)
                with self._transaction():
                    base.execute("DELETE FROM quarter WHERE quarter < ?", (end,))
                    base.execute("DELETE FROM event WHERE time < ?", (end * QUARTER * 1000,))
        if base.execute("PRAGMA freelist_count").fetchone() != (0,):
            base.execute(f"PRAGMA incremental_vacuum({_STEP_PAGES})").fetchall()

    def _is_implausible(self, base: sqlite3.Connection) -> bool:
        """Return True if the clock contradicts the newest row: it would remove every row, or lies before it."""
        (newest,) = base.execute("SELECT max(quarter) FROM quarter").fetchone()
        now = self._clock()
        return newest is not None and not (newest * QUARTER - _JUMP < now < newest * QUARTER + max(self._days, 1) * _DAY)


def _used_bytes(base: sqlite3.Connection) -> int:
    figures = [base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")]
    return int((figures[0] - figures[1]) * figures[2])


_stores: dict[str, tuple[Store, int]] = {}
_stores_lock = threading.Lock()


def share_store(path: Path, *, days: float, megabytes: float) -> Store:
    """Return the store of a file, and open it for the first user. Each user calls `release_store`.

    The limits of the first user apply.

    Args:
        path: The file.
        days: See `Store`.
        megabytes: See `Store`.

    Raises:
        OutputError: See `Store`.
    """
    key = os.path.realpath(path)
    with _stores_lock:
        store, users = _stores.get(key) or (Store(Path(key), days=days, megabytes=megabytes), 0)
        _stores[key] = store, users + 1
        return store


def release_store(store: Store) -> None:
    """Release a shared store. The last user closes it.

    Raises:
        OutputError: See `Store.close`.
    """
    with _stores_lock:
        key = next(key for key, (one, _) in _stores.items() if one is store)
        users = _stores[key][1] - 1
        if users:
            _stores[key] = store, users
            return
        del _stores[key]
    store.close()
