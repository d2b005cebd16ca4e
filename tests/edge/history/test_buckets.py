"""Buckets of the calendar in a time zone with daylight saving."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from maskedge.errors import UsageError
from maskedge.history.buckets import bucket_edges, choose_bucket, local_time_zone

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: timezone | ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(("day", "hours"), [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_has_the_hours_of_the_calendar(day: str, hours: int) -> None:
    start = at(f"{day}T00:00")
    edges = bucket_edges(start, start + 3600, "day", BERLIN)
    assert len(edges) == 2
    assert (edges[1] - edges[0]) / 3600 == hours
    assert len(bucket_edges(edges[0], edges[1], "hour", BERLIN)) == hours + 1


def test_the_hour_that_occurs_twice_is_two_buckets() -> None:
    edges = bucket_edges(at("2026-10-25T01:00"), at("2026-10-25T04:00"), "hour", BERLIN)
    shown = [datetime.fromtimestamp(edge, BERLIN).isoformat() for edge in edges]
    assert shown == [
        f"2026-10-25T{hour}" for hour in ("01:00:00+02:00", "02:00:00+02:00", "02:00:00+01:00", "03:00:00+01:00", "04:00:00+01:00")
    ]


def test_weeks_begin_on_monday_and_months_on_their_first_day() -> None:
    for bucket, days in (
        ("week", ["2026-02-23", "2026-03-02", "2026-03-09"]),
        ("month", ["2026-02-01", "2026-03-01", "2026-04-01"]),
    ):
        edges = bucket_edges(at("2026-02-28T12:00"), at("2026-03-03T12:00"), bucket, BERLIN)
        assert [str(datetime.fromtimestamp(edge, BERLIN))[:19] for edge in edges] == [f"{day} 00:00:00" for day in days]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"])
@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
def test_edges_rise_and_lie_on_quarters_of_an_hour_in_every_zone(zone: str, bucket: str) -> None:
    for year in (2010, 2011, 2018, 2026):
        for month in range(1, 13):
            start = at(f"{year}-{month:02}-01T00:00", timezone.utc)
            edges = bucket_edges(start, start + 33 * 86400, bucket, ZoneInfo(zone))
            assert edges == sorted(set(edges))
            assert edges[0] <= start
            assert edges[-1] >= start + 33 * 86400
            assert all(edge % 900 == 0 for edge in edges)


def test_a_range_without_a_bucket_gets_one_that_suits_it() -> None:
    assert [choose_bucket(0, seconds) for seconds in (3600, 7 * 86400, 300 * 86400, 3650 * 86400)] == [
        "minute",
        "hour",
        "day",
        "week",
    ]
    assert choose_bucket(0, 4e9) == "month"


@pytest.mark.parametrize(
    ("start", "end", "bucket", "words"),
    [
        (0, 3650 * 86400, "minute", "over 2000 buckets"),
        (100, 100, "day", "empty"),
        (100, 50, "day", "empty"),
        (-1, 50, "day", "1970"),
        (0, 1e12, "month", "2099"),
        (0, 60, "year", "bucket is one of"),
    ],
)
def test_a_range_that_cannot_be_answered_is_refused_with_the_remedy(start: float, end: float, bucket: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bucket_edges(start, end, bucket, BERLIN)


def test_the_time_zone_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert str(local_time_zone()) == "Europe/Berlin"
    monkeypatch.setenv("TZ", ":/usr/share/zoneinfo/Asia/Kolkata")
    assert str(local_time_zone()) == "Asia/Kolkata"
    for name in ("", "no/such/zone", "../../etc/passwd", "UTC+24", "AAA-24:59:59", "\udcff"):
        monkeypatch.setenv("TZ", name)
        assert datetime(2026, 1, 1, tzinfo=local_time_zone()).utcoffset() is not None


def test_a_rule_in_tz_has_daylight_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    zone = local_time_zone()
    for start in (at("2026-03-28T00:00"), at("2026-10-24T00:00"), at("2026-07-01T00:00")):
        assert bucket_edges(start, start + 3 * 86400, "day", zone) == bucket_edges(start, start + 3 * 86400, "day", BERLIN)
    assert str(zone) == "CET-1CEST,M3.5.0,M10.5.0/3"
    monkeypatch.setenv("TZ", "<+0545>-5:45")
    assert datetime(2026, 1, 1, tzinfo=local_time_zone()).strftime("%z") == "+0545"
