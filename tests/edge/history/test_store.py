"""The file of the history: what survives a kill, a full disk, a lock and a wrong clock."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.streams import until
from maskedge.errors import OutputError
from maskedge.history import schema
from maskedge.history.query import HistoryRequest, read_events, read_history
from maskedge.history.records import Count, Series, StoredEvent
from maskedge.history.schema import VERSION, open_writer, pack, unpack
from maskedge.history.store import Store, release_store, share_store
from maskedge.sinks.history import HistoryConfig, HistorySink

NOON = 1_780_000_000 // 86400 * 86400 + 43200.0
MASK = Series("door", label="with_mask")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path, flush_seconds=0.05)
    yield store
    store.close()


def fill(store: Store, moment: float, seconds: float = 60.0, people: int = 1) -> None:
    store.add(moment, [Count(Series("door"), seconds), Count(MASK, seconds, people)])


def rows(path: Path, start: float, end: float, bucket: str = "minute") -> list[dict[str, object]]:
    found: list[dict[str, object]] = read_history(path, HistoryRequest(start, end, bucket))["rows"]
    return found


def soundness(path: Path) -> str:
    with sqlite3.connect(path) as base:
        return str(base.execute("PRAGMA integrity_check").fetchone()[0])


def test_counts_of_a_quarter_are_packed_without_loss() -> None:
    for minutes in ([(0, 0)] * 15, [(600, 1)] * 15, [(0, 0)] * 14 + [(1_000_000, 70_000)], [(127, 128)] * 15):
        assert unpack(pack(minutes)) == minutes
    assert pack([(0, 0)] * 15) == b""


def test_counts_of_a_minute_are_merged_over_transactions_and_restarts(path: Path) -> None:
    for _ in range(2):
        store = Store(path, flush_seconds=0.02)
        for _ in range(3):
            fill(store, NOON, 10)
            time.sleep(0.05)
        store.close()
    (row,) = rows(path, NOON, NOON + 60)
    assert row["observed_s"] == 60.0
    assert row["face_s"] == {"with_mask": 60.0}
    assert row["people"] == {"with_mask": 6}
    assert not path.with_name(f"{path.name}-wal").exists()
    assert path.stat().st_mode & 0o077 == 0


_WRITER = """
import sys, time
from pathlib import Path
from maskedge.history.records import Count, Series
from maskedge.history.store import Store
store = Store(Path(sys.argv[1]), flush_seconds=0.01)
moment = float(sys.argv[2])
while True:
    with store._changed:  # no transaction begins before all are there
        for minute in range(300):
            camera = f"cam {minute}"
            store.add(moment + 60 * minute, [Count(Series(camera), 60.0), Count(Series(camera, label="with_mask"), 30.0, 1)])
    if store.written:
        print(store.written, flush=True)
    time.sleep(0.002)
"""


def test_a_killed_process_leaves_a_sound_file_with_complete_transactions(path: Path) -> None:
    for attempt in range(5):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(NOON)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.03 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        with sqlite3.connect(path) as base:
            assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            # Every camera has as many seconds as its neighbours, because a transaction has all of them.
            sums = base.execute("SELECT DISTINCT sum(tenths), sum(people) FROM quarter GROUP BY series").fetchall()
        base.close()
        assert len(sums) == 2, "observed, and with a mask"
    Store(path).close()
    found = read_history(path, HistoryRequest(NOON, NOON + 300 * 60, "day"))
    assert len(found["cameras"]) == 300


_FULL = """
import resource, sys, time
from pathlib import Path
from maskedge.history.records import Count, Series, StoredEvent
from maskedge.history.store import Store
path = Path(sys.argv[1])
states = []
store = Store(path, flush_seconds=0.02)
store.listen(states.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 4096, resource.RLIM_INFINITY))
moment = float(sys.argv[2])
for minute in range(3000):
    masked = Series(f"cam {minute}", label="with_mask")
    store.add(moment + 60 * minute, [Count(Series("door"), 60.0), Count(masked, 30.0, 1)])
while store.error is None:
    time.sleep(0.01)
for second in range(30):
    store.add(moment, [Count(Series("door"), 1.0)])
    time.sleep(0.01)
print(len(states), states[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
while store.error is not None:
    time.sleep(0.01)
print(len(states), states[-1], store.dropped)
store.close()
"""


def test_a_full_disk_is_reported_once_and_its_counts_are_written_later(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path), str(NOON)], capture_output=True, text=True, check=True, timeout=60
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("1 the history ")
    assert "cannot be written" in first
    assert second == "2 None 0"
    assert soundness(path) == "ok"
    found = rows(path, NOON, NOON + 3000 * 60, "month")
    assert sum(row["observed_s"] for row in found) == 3000 * 60 + 30  # type: ignore[misc]


def test_no_space_left_on_the_device_is_reported_once_and_the_counts_are_written_later(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.getuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True).returncode
    ):
        pytest.skip("a small disk cannot be mounted here (needs root)")
    states: list[str | None] = []
    try:
        path, other = disk / "history.sqlite3", disk / "filler"
        store = Store(path, flush_seconds=0.02)
        store.listen(states.append)
        fill(store, NOON)
        until(lambda: store.written)
        with other.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        for minute in range(2000):
            store.add(NOON + 60 * minute, [Count(Series(f"cam {minute % 100}"), 60.0)])
        until(lambda: states)
        time.sleep(0.2)
        assert len(states) == 1
        assert "full" in str(states[0])
        other.unlink()
        until(lambda: store.error is None)
        store.close()
        assert states[1:] == [None]
        assert soundness(path) == "ok"
        # The first minute of "door", and the minutes of a hundred cameras.
        assert sum(row["observed_s"] for row in rows(path, NOON, NOON + 2000 * 60, "month")) == 2001 * 60  # type: ignore[misc]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_disk_is_refused_at_the_start(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a read-only disk cannot be mounted here (needs root)")
    try:
        path = disk / "history.sqlite3"
        store = Store(path)
        fill(store, NOON)
        store.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OutputError, match="Read-only file system"):
            Store(path)
        assert rows(path, NOON, NOON + 60), "it can still be read"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_damaged_file_is_refused_and_not_changed(path: Path) -> None:
    store = Store(path)
    for minute in range(3000):
        store.add(NOON + 900 * minute, [Count(Series(f"cam {minute}"), 60.0)])
    store.close()
    sound = path.read_bytes()
    for content in (sound[:100] + bytes(4000) + sound[4100:], sound[: len(sound) // 2]):
        path.write_bytes(content)
        with pytest.raises(OutputError, match=r"is damaged .* move it away"):
            Store(path)
        assert path.read_bytes() == content
        with pytest.raises(OutputError, match=r"damaged|another program"):
            read_history(path, HistoryRequest(NOON, NOON + 900 * 3000))


@pytest.mark.parametrize("content", [b"my diary\n", b"SQLite", b"no database at all" * 500])
def test_a_file_that_is_no_database_is_refused_and_not_changed(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"history.sqlite3 is not a history: name another file"):
        Store(path)
    with pytest.raises(OutputError, match=r"history.sqlite3 is not a history: name another file"):
        read_history(path, HistoryRequest(NOON, NOON + 900))
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_what_is_not_a_regular_file_is_refused_at_once(path: Path, kind: str) -> None:
    if kind == "device":
        path = Path(os.devnull)
    else:
        os.mkfifo(path)
    with pytest.raises(OutputError, match=r"is not a history: name another file"):
        Store(path)
    assert not path.with_name(f"{path.name}-journal").exists()


def test_a_file_that_is_damaged_or_removed_during_a_run_does_not_end_the_run(path: Path) -> None:
    states: list[str | None] = []
    store = Store(path, flush_seconds=0.02)
    store.listen(states.append)
    fill(store, NOON)
    until(lambda: store.written)
    # In one step: without a file for a moment, the store could begin a new one, which would be overwritten in place.
    damaged = path.with_name("damaged")
    damaged.write_bytes(b"no database at all" * 500)
    damaged.replace(path)
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()
    fill(store, NOON + 60)
    until(lambda: states)
    assert "is not a history" in str(states[0])
    assert path.read_bytes() == b"no database at all" * 500
    path.unlink()
    until(lambda: store.error is None)
    store.close()
    assert states[1:] == [None]
    assert len(rows(path, NOON, NOON + 120)) == 1, "the counts since the damage are in the new file"


def test_the_database_of_another_program_and_a_newer_version_are_refused(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE other (x)")
    base.close()
    for attempt in (lambda: Store(path), lambda: read_history(path, HistoryRequest(0, 60))):
        with pytest.raises(OutputError, match="another program"):
            attempt()
    path.unlink()
    Store(path).close()
    with sqlite3.connect(path) as base:
        base.execute(f"PRAGMA user_version={VERSION + 1}")
    base.close()
    for attempt in (lambda: Store(path), lambda: read_history(path, HistoryRequest(0, 60))):
        with pytest.raises(OutputError, match=f"version {VERSION + 1}.* newer maskedge"):
            attempt()


def test_a_file_that_stays_locked_is_refused_at_the_start(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for attempt in (lambda: Store(path), lambda: read_history(path, HistoryRequest(0, 60))):
            with pytest.raises(OutputError, match="locked by another program"):
                attempt()
    other.close()


def test_an_earlier_version_is_converted_with_its_counts_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    fill(store, NOON)
    store.close()
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    for statement, fails in (("ALTER TABLE none ADD COLUMN note TEXT", True), ("ALTER TABLE event ADD COLUMN note TEXT", False)):
        further = ("CREATE TABLE more (x)", statement)
        monkeypatch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS[:VERSION], further))
        if fails:
            with pytest.raises(OutputError, match="no such table"):
                Store(path)
        else:
            Store(path).close()
        with sqlite3.connect(path) as base:
            assert base.execute("PRAGMA user_version").fetchone() == (VERSION + (not fails),)
        base.close()
    assert len(rows(path, NOON, NOON + 60)) == 1


def test_an_empty_file_becomes_a_history_of_the_newest_version(path: Path) -> None:
    path.touch()
    open_writer(path).close()
    with sqlite3.connect(path) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert base.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    base.close()


def test_a_lock_of_another_process_delays_the_counts(path: Path, store: Store) -> None:
    states: list[str | None] = []
    store.listen(states.append)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    fill(store, NOON)
    until(lambda: states)
    assert "locked by another program" in str(states[0])
    other.execute("COMMIT")
    other.close()
    until(lambda: store.error is None)
    assert len(rows(path, NOON, NOON + 60)) == 1


def test_a_failure_that_is_over_at_the_end_is_not_reported_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOCK_SECONDS", 0.01)
    monkeypatch.setattr("maskedge.history.store._CLOSE_SECONDS", 10)
    store = Store(path, flush_seconds=0.5)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    fill(store, NOON)
    until(lambda: store.error)
    other.execute("COMMIT")
    other.close()
    store.close()
    assert len(rows(path, NOON, NOON + 60)) == 1


def test_two_processes_add_to_the_same_minute(path: Path, store: Store) -> None:
    other = Store(path, flush_seconds=0.05)
    for _ in range(5):
        for one in (store, other):
            one.add(NOON, [Count(MASK, 1.0, 1)])
        time.sleep(0.06)
    other.close()
    until(lambda: rows(path, NOON, NOON + 60)[0]["people"] == {"with_mask": 10})


def test_another_program_that_closes_the_file_takes_no_counts_of_the_run(path: Path, store: Store) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    fill(store, NOON)
    until(lambda: store.written)
    # What a run does while its writer is open: it answers a page, and starts another camera.
    for name in (path, link):
        assert len(rows(name, NOON, NOON + 120)) == 1
        HistorySink.check(HistoryConfig(str(name)))
    looks = "import sqlite3, sys; base = sqlite3.connect(sys.argv[1]); base.execute('SELECT * FROM quarter'); base.close()"
    subprocess.run([sys.executable, "-c", looks, path], check=True)
    assert path.with_name(f"{path.name}-wal").exists(), "the log of the open writer is kept"
    fill(store, NOON + 60)
    until(lambda: store.written >= 4)
    assert [len(rows(name, NOON, NOON + 120)) for name in (path, link)] == [2, 2]


def test_cameras_of_a_process_share_one_store_of_a_file(path: Path) -> None:
    (path.parent / "link").symlink_to(path.parent)
    stores = [share_store(one, days=1, megabytes=1) for one in (path, path.parent / "link" / path.name)]
    assert stores[0] is stores[1]
    fill(stores[0], NOON)
    release_store(stores[0])
    fill(stores[1], NOON + 60)
    release_store(stores[1])
    assert len(rows(path, NOON, NOON + 120)) == 2


def test_rows_and_events_beyond_the_days_are_removed_a_day_at_a_time(path: Path) -> None:
    store = Store(path, days=10, flush_seconds=0.02, clock=lambda: NOON)
    for day in range(30):
        fill(store, NOON - 86400 * day)
        store.add_event(StoredEvent(NOON - 86400 * day, "door", "alert", {"rule": "x"}))
    request = HistoryRequest(NOON - 40 * 86400, NOON + 60, "day")
    until(lambda: store.written and len(read_history(path, request)["rows"]) == 11)
    assert len(read_events(path, request)["events"]) == 11
    store.close()


def test_the_oldest_days_are_removed_when_the_file_reaches_its_size(path: Path) -> None:
    store = Store(path, megabytes=1, flush_seconds=0.02, clock=lambda: NOON)
    for day in range(40):
        for minute in range(0, 1440, 15):
            store.add(NOON - 86400 * day + 60 * minute, [Count(Series(f"cam {camera}"), 60.0) for camera in range(20)])
        until(lambda: not store._pending)
    until(lambda: path.stat().st_size < 1.2e6, seconds=20)
    found = read_history(path, HistoryRequest(NOON - 50 * 86400, NOON + 86400, "day"))["rows"]
    assert 3 < len({row["time"] for row in found}) < 40
    assert max(row["time"] for row in found) == rows(path, NOON - 60, NOON + 86400, "day")[-1]["time"]
    store.close()
    assert soundness(path) == "ok"


def test_a_clock_that_jumps_by_years_removes_nothing_and_merges_minutes(path: Path) -> None:
    now = [NOON]
    store = Store(path, days=10, flush_seconds=0.02, clock=lambda: now[0])
    for jump in (0.0, 10 * 365 * 86400.0, -20 * 365 * 86400.0, 0.0):
        now[0] = NOON + jump
        written = store.written
        fill(store, now[0], 10)
        until(lambda written=written: store.written > written)
        time.sleep(0.1)
    store.close()
    (row,) = rows(path, NOON, NOON + 60)
    assert row["observed_s"] == 20.0
    for jump in (10, -20):
        assert rows(path, NOON + jump * 365 * 86400, NOON + jump * 365 * 86400 + 60)
    # A clock that is wrong from the start does not empty the file either.
    wrong = Store(path, days=10, flush_seconds=0.02, clock=lambda: NOON + 12 * 365 * 86400)
    time.sleep(0.1)
    wrong.close()
    assert rows(path, NOON, NOON + 60)


def test_sql_in_a_name_is_a_name(path: Path) -> None:
    name = "'; DROP TABLE quarter; -- \" \\ \N{GRINNING FACE} \udce9"
    store = Store(path)
    store.add(NOON, [Count(Series(name), 60.0), Count(Series(name, "", label=name), 60.0)])
    store.add_event(StoredEvent(NOON, name, name, {name: name}))
    store.close()
    shown = name.replace("\udce9", "?")
    (row,) = read_history(path, HistoryRequest(NOON, NOON + 60, camera=shown))["rows"]
    assert row["camera"] == shown
    assert read_history(path, HistoryRequest(NOON, NOON + 60, camera="x' OR '1'='1"))["rows"] == []
    assert len(read_events(path, HistoryRequest(NOON, NOON + 60, camera=shown))["events"]) == 1


def test_counts_that_wait_in_memory_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge.history.store._MOST_PENDING", 10)
    store = Store(path, flush_seconds=0.02)
    shutil.rmtree(path.parent)
    for minute in range(50):
        fill(store, NOON + 60 * minute)
    until(lambda: store.dropped == 90)
    path.parent.mkdir()
    until(lambda: store.error is None)
    store.close()
    assert len(rows(path, NOON, NOON + 3000)) == 5
