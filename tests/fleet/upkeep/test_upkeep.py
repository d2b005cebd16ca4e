from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, insert, select

from helpers.brokers import wait_for
from helpers.postgres import PostgreSQL
from maskedge.errors import UsageError
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.tables import (
    Alert,
    Audit,
    Base,
    Camera,
    DayCounts,
    Device,
    Event,
    HourCounts,
    MinuteCounts,
    Reject,
    Series,
    Snapshot,
    StaleHour,
    Statistics,
)
from maskedge_fleet.settings import RetentionConfig, Settings
from maskedge_fleet.upkeep import retention, rollup
from maskedge_fleet.upkeep.retention import minutes_since, remove_old_rows
from maskedge_fleet.upkeep.rollup import roll_up
from maskedge_fleet.upkeep.runner import run_upkeep

DAY = datetime(2026, 1, 31, tzinfo=timezone.utc)
EVER = datetime(2000, 1, 1, tzinfo=timezone.utc)


def add_series(engine: Engine, count: int = 2) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Device).values(id=1, name="door", prefix="maskedge/door", created=DAY))
        connection.execute(insert(Camera).values(id=1, device_id=1, name="camera", prefix="maskedge/door"))
        connection.execute(
            insert(Series), [{"id": number, "camera_id": 1, "zone": f"zone{number}"} for number in range(1, count + 1)]
        )


def add_minutes(engine: Engine, *starts: datetime, series: int = 1) -> None:
    """Add a minute of 60 seconds and a masked person, as the ingest does."""
    with engine.begin() as connection:
        connection.execute(
            insert(MinuteCounts), [{"start": start, "series_id": series, "observed_s": 60.0, "masked": 1} for start in starts]
        )
        known = {(row.series_id, row.start) for row in connection.execute(select(StaleHour.series_id, StaleHour.start))}
        hours = {(series, start.replace(minute=0)) for start in starts} - known
        if hours:
            connection.execute(insert(StaleHour), [{"series_id": number, "start": hour, "changed": DAY} for number, hour in hours])


def counts(engine: Engine, table: type[HourCounts] | type[DayCounts]) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                select(table.series_id, table.start, table.observed_s, table.masked).order_by(table.series_id, table.start)
            )
        ]


def number_of(engine: Engine, table: type[Base]) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def test_minutes_are_summed_to_hours_and_days(engine: Engine) -> None:
    add_series(engine)
    add_minutes(engine, *(DAY + timedelta(minutes=number) for number in range(90)))
    add_minutes(engine, DAY + timedelta(hours=23, minutes=59), DAY + timedelta(days=1), series=2)
    assert roll_up(engine, EVER) == 4
    assert counts(engine, HourCounts) == [
        (1, DAY, 3600.0, 60),
        (1, DAY + timedelta(hours=1), 1800.0, 30),
        (2, DAY + timedelta(hours=23), 60.0, 1),
        (2, DAY + timedelta(days=1), 60.0, 1),
    ]
    assert counts(engine, DayCounts) == [(1, DAY, 5400.0, 90), (2, DAY, 60.0, 1), (2, DAY + timedelta(days=1), 60.0, 1)]
    assert number_of(engine, StaleHour) == 0
    assert roll_up(engine, EVER) == 0


def test_absurd_counts_of_a_device_do_not_hold_up_the_sums_of_others(engine: Engine) -> None:
    add_series(engine)
    with engine.begin() as connection:
        absurd = {"series_id": 1, "observed_s": 60.0, "masked": 2_000_000_000}
        connection.execute(insert(MinuteCounts), [{"start": DAY + timedelta(minutes=number), **absurd} for number in range(3)])
        connection.execute(insert(StaleHour).values(series_id=1, start=DAY, changed=DAY))
    add_minutes(engine, DAY, series=2)
    roll_up(engine, EVER)
    most = 2**31 - 1 if engine.dialect.name == "postgresql" else 6_000_000_000
    for table in (HourCounts, DayCounts):
        assert counts(engine, table) == [(1, DAY, 180.0, most), (2, DAY, 60.0, 1)]


def test_late_minutes_change_their_hour_and_day_and_a_repetition_changes_nothing(engine: Engine) -> None:
    add_series(engine)
    add_minutes(engine, DAY, DAY + timedelta(hours=5))
    roll_up(engine, EVER)
    add_minutes(engine, DAY + timedelta(minutes=7))
    for _ in range(2):
        roll_up(engine, EVER)
        assert counts(engine, HourCounts) == [(1, DAY, 120.0, 2), (1, DAY + timedelta(hours=5), 60.0, 1)]
        assert counts(engine, DayCounts) == [(1, DAY, 180.0, 3)]
        with engine.begin() as connection:
            connection.execute(insert(StaleHour).values(series_id=1, start=DAY, changed=DAY))


def test_several_processes_sum_at_the_same_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "HOURS_AT_ONCE", 5)
    add_series(engine, 4)
    for series in range(1, 5):
        add_minutes(engine, *(DAY + timedelta(minutes=20 * number) for number in range(72)), series=series)

    def run(_: int) -> None:
        while number_of(engine, StaleHour):
            roll_up(engine, EVER)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert [row[2:] for row in counts(engine, HourCounts)] == [(180.0, 3)] * 96
    assert [row[2:] for row in counts(engine, DayCounts)] == [(4320.0, 72)] * 4


def test_an_hour_whose_minutes_were_removed_keeps_its_sum(engine: Engine) -> None:
    add_series(engine)
    settings = RetentionConfig(minutes_days=1)
    now = DAY + timedelta(days=10, minutes=30)
    add_minutes(engine, *(DAY + timedelta(minutes=number) for number in range(60)))
    roll_up(engine, EVER)
    assert remove_old_rows(engine, settings, now, threading.Event()) == 60
    # A device was offline for ten days.
    add_minutes(engine, DAY + timedelta(minutes=3))
    roll_up(engine, minutes_since(settings, now))
    assert counts(engine, HourCounts) == [(1, DAY, 3600.0, 60)]
    assert counts(engine, DayCounts) == [(1, DAY, 3600.0, 60)]


def test_old_rows_are_removed_and_newer_ones_stay(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(retention, "_PAUSE_S", 0.0)
    add_series(engine)
    settings = RetentionConfig()
    now = datetime.now(timezone.utc)

    def ages(days: float) -> list[datetime]:
        return [now - timedelta(days=days, seconds=seconds) for seconds in (-60, 60, 61, 62, 63)]

    message: dict[str, Any] = {"camera_id": 1, "received": now}
    with engine.begin() as connection:
        for number, age in enumerate(ages(365)):
            connection.execute(insert(Event).values(time=age, message_id=str(number), kind="health", details={}, **message))
        for number, age in enumerate(ages(7)):
            connection.execute(insert(Statistics).values(time=age, message_id=str(number), content={}, **message))
        for number, age in enumerate(ages(30)):
            connection.execute(insert(Reject).values(received=age, topic="t", reason="r", size=number, payload=b""))
        for age in ages(3 * 365):
            connection.execute(insert(Audit).values(time=age, token="t", action="a", target="t"))  # noqa: S106  (a name)
            connection.execute(insert(HourCounts).values(start=age, series_id=1))
            connection.execute(insert(Alert).values(rule="r", source="device", subject="s", since=age, ended=age))
        connection.execute(insert(Alert).values(rule="open", source="device", subject="s", since=now - timedelta(days=5000)))
        connection.execute(insert(Snapshot).values(camera_id=1, time=now - timedelta(days=31), content=b""))
        hour = minutes_since(settings, now) - timedelta(days=1)
        for minutes in (-3, -2, -1, 0, 1):
            connection.execute(insert(MinuteCounts).values(start=hour + timedelta(minutes=minutes), series_id=1))
        connection.execute(insert(DayCounts).values(start=now - timedelta(days=9000), series_id=1))
    assert remove_old_rows(engine, settings, now, threading.Event()) == 4 * 6 + 1 + 3
    left = {table: number_of(engine, table) for table in (Event, Statistics, Reject, Audit, HourCounts, Snapshot, MinuteCounts)}
    assert left == {Event: 1, Statistics: 1, Reject: 1, Audit: 1, HourCounts: 1, Snapshot: 0, MinuteCounts: 2}
    assert (number_of(engine, Alert), number_of(engine, DayCounts)) == (2, 1)


def test_the_upkeep_survives_a_database_that_is_away() -> None:
    server = PostgreSQL()
    engine = open_engine(server.create_database())
    from maskedge_fleet.database.migrate import migrate

    migrate(engine)
    add_series(engine)
    stop = threading.Event()
    thread = threading.Thread(target=run_upkeep, args=(engine, Settings(retention=RetentionConfig(every_s=0.05)), stop))
    thread.start()
    add_minutes(engine, DAY + timedelta(days=20_000))
    wait_for(lambda: counts(engine, HourCounts), "the first sum")
    server.kill()
    stop.wait(0.3)
    server.start()
    with engine.begin() as connection:
        connection.execute(delete(HourCounts))
        connection.execute(insert(StaleHour).values(series_id=1, start=DAY + timedelta(days=20_000), changed=DAY))
    wait_for(lambda: counts(engine, HourCounts), "the second sum")
    stop.set()
    thread.join()
    engine.dispose()
    server.remove()


def test_nothing_is_removed_with_zero_days(engine: Engine) -> None:
    add_series(engine)
    names = ("minutes", "hours", "events", "statistics", "alerts", "snapshots", "rejects", "audit")
    settings = RetentionConfig(**{f"{name}_days": 0 for name in names})  # type: ignore[arg-type]
    add_minutes(engine, DAY - timedelta(days=2000))
    roll_up(engine, minutes_since(settings, DAY))
    assert remove_old_rows(engine, settings, DAY + timedelta(days=9000), threading.Event()) == 0
    assert (number_of(engine, MinuteCounts), number_of(engine, HourCounts)) == (1, 1)


@pytest.mark.parametrize("days", [{"hours_days": 90}, {"minutes_days": 0}, {"events_days": -1}])
def test_bad_days_are_refused(days: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="retention"):
        RetentionConfig(**days)
