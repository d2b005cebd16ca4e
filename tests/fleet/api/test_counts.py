"""Counts by bucket in any time zone are the sums of the minutes."""

from __future__ import annotations

import csv
import io
import random
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from helpers.fleet.data import NOON, add_device, add_minutes, add_site, series_of, sum_hours_and_days
from maskedge.history.buckets import bucket_edges
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.tables import MinuteCounts
from maskedge_fleet.queries.counts import Wanted, read_counts
from maskedge_fleet.settings import RetentionConfig

from .conftest import Api

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "America/Sao_Paulo")
# Clocks change in Europe on 29 March, in North America on 8 March, on Lord Howe Island (by half an
# hour) on 5 April.
START = datetime(2026, 2, 25, 7, 13, tzinfo=timezone.utc)
END = datetime(2026, 4, 9, 3, tzinfo=timezone.utc)


def _minutes(seed: int, number: int) -> dict[datetime, float]:
    chosen = random.Random(seed)  # noqa: S311
    span = int((END - START).total_seconds() // 60)
    return {START + timedelta(minutes=chosen.randrange(span)): float(chosen.randint(1, 50)) for _ in range(number)}


def test_buckets_of_every_zone_are_sums_of_the_minutes(database: str) -> None:
    rows = _minutes(1, 900)
    engine = open_engine(database)
    with Session(engine) as session:
        add_device(session, "door")
        add_device(session, "hall")
        add_minutes(session, series_of(session, "door"), [(start, {"masked_s": seconds}) for start, seconds in rows.items()])
        add_minutes(session, series_of(session, "hall"), [(start, {"masked_s": 1000.0}) for start in rows])
        sum_hours_and_days(session)
        for name in ZONES:
            zone = ZoneInfo(name)
            for bucket in ("hour", "day", "week", "month"):
                edges = bucket_edges(START.timestamp(), END.timestamp(), bucket, zone)
                expected: dict[int, float] = defaultdict(float)
                for start, seconds in rows.items():
                    expected[max(edge for edge in edges if edge <= start.timestamp())] += seconds
                counts = read_counts(session, Wanted(device="door"), START, END, zone, bucket=bucket)
                assert {start: sums.masked_s for (start, _), sums in counts.rows.items()} == expected, (name, bucket)
    engine.dispose()


def test_old_buckets_end_with_an_hour_where_the_minutes_are_deleted(database: str) -> None:
    engine = open_engine(database)
    day = datetime(2024, 3, 1, tzinfo=timezone.utc)
    with Session(engine) as session:
        add_device(session, "door")
        # 18:30 UTC is midnight in India.
        add_minutes(
            session, series_of(session, "door"), [(day + timedelta(hours=18, minutes=minute), {"masked": 1}) for minute in (5, 40)]
        )
        sum_hours_and_days(session)
        session.execute(delete(MinuteCounts))
        kept = RetentionConfig(minutes_days=30, hours_days=0)
        counts = read_counts(
            session, Wanted(), day, day + timedelta(days=2), ZoneInfo("Asia/Kolkata"), bucket="day", retention=kept
        )
        assert [sums.masked for sums in counts.rows.values()] == [2]
        lost = read_counts(session, Wanted(), day, day + timedelta(days=2), ZoneInfo("Asia/Kolkata"), bucket="day")
        assert not lost.rows
    engine.dispose()


@pytest.fixture
def counted(api: Api) -> Api:
    """Two sites with three cameras, a zone and a line."""
    with api.session() as session:
        shop, depot = add_site(session, "Shop 1"), add_site(session, "=Depot")
        add_device(session, "door", site=shop, cameras=("in", "out"), group="blue")
        add_device(session, "gate", site=depot, group="red")
        add_device(session, "spare")
        whole = {"observed_s": 60.0, "masked_s": 30.0, "unmasked_s": 10.0, "masked": 3, "unmasked": 1}
        for device, camera in (("door", "in"), ("door", "out"), ("gate", "camera"), ("spare", "camera")):
            add_minutes(session, series_of(session, device, camera), [(NOON, whole), (NOON + timedelta(hours=1), whole)])
        add_minutes(session, series_of(session, "door", "in", zone="till"), [(NOON, {"observed_s": 60.0, "incorrect_s": 8.0})])
        crossings = series_of(session, "gate", line="step", direction="in")
        add_minutes(session, crossings, [(NOON, {"masked": 6, "unmasked": 2, "other": 2})])
        sum_hours_and_days(session)
        session.commit()
    return api


SPAN = {"from_": "2026-03-14", "to": "2026-03-15"}


def test_counts_have_the_share_of_all_labelled_seconds(counted: Api) -> None:
    answer = counted.get("/counts", **SPAN, bucket="day")
    assert answer["from"] == "2026-03-14T00:00:00+00:00"
    assert answer["to"] == "2026-03-15T00:00:00+00:00"
    assert answer["labels"] == ["with_mask", "without_mask", "incorrect_mask", "other"]
    (row,) = answer["rows"]
    assert row == {
        "time": "2026-03-14T00:00:00+00:00",
        "observed_s": 480.0,
        "face_s": {"with_mask": 240.0, "without_mask": 80.0, "incorrect_mask": 0.0, "other": 0.0},
        "people": {"with_mask": 24, "without_mask": 8, "incorrect_mask": 0, "other": 0},
        "share_masked": 0.75,
    }


@pytest.mark.parametrize(
    ("query", "observed"),
    [
        ({"site": "Shop 1"}, 240.0),
        ({"site": ""}, 120.0),
        ({"group": "red"}, 120.0),
        ({"device": "door"}, 240.0),
        ({"device": "door", "camera": "out"}, 120.0),
        ({"camera": "camera"}, 240.0),
        ({"zone": "till"}, 60.0),
        ({"zone": "*"}, 60.0),
    ],
)
def test_counts_of_a_subject(counted: Api, query: dict[str, str], observed: float) -> None:
    assert [row["observed_s"] for row in counted.get("/counts", **SPAN, bucket="day", **query)["rows"]] == [observed]


@pytest.mark.parametrize("query", [{"site": "nowhere"}, {"zone": "roof"}, {"device": "x' OR '1'='1"}, {"line": "none"}])
def test_an_unknown_subject_has_no_counts(counted: Api, query: dict[str, str]) -> None:
    assert counted.get("/counts", **SPAN, **query)["rows"] == []


def test_counts_are_divided_by_subjects(counted: Api) -> None:
    rows = counted.get("/counts", **SPAN, bucket="day", by="site,device")["rows"]
    assert [(row["site"], row["device"], row["observed_s"]) for row in rows] == [
        ("", "spare", 120.0),
        ("=Depot", "gate", 120.0),
        ("Shop 1", "door", 240.0),
    ]


def test_a_line_counts_people(counted: Api) -> None:
    (row,) = counted.get("/counts", **SPAN, bucket="day", line="*", by="line")["rows"]
    assert row["line"] == "step in"
    assert row["share_masked"] == 0.6


def test_an_hour_without_counts_has_no_row(counted: Api) -> None:
    rows = counted.get("/counts", **SPAN, bucket="hour", tz="Europe/Berlin")["rows"]
    assert [row["time"] for row in rows] == ["2026-03-14T13:00:00+01:00", "2026-03-14T14:00:00+01:00"]


def test_csv_has_a_line_for_each_label_and_no_formulas(counted: Api) -> None:
    response = counted("GET", "/counts", "viewer", params={"from": "2026-03-14", "to": "2026-03-15", "by": "site", "format": "csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="counts.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert {row["site"] for row in rows} == {"", "'=Depot", "Shop 1"}
    assert {row["label"] for row in rows} == {"with_mask", "without_mask", "incorrect_mask", "other"}
    assert {row["share_masked"] for row in rows} == {"0.75"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"from": "2026-03-15", "to": "2026-03-14"}, "empty"),
        ({"tz": "Mars/Olympus"}, "time zone"),
        ({"tz": "../../etc/passwd"}, "time zone"),
        ({"bucket": "year"}, "bucket"),
        ({"by": "site,site"}, "by is some of"),
        ({"by": "password"}, "by is some of"),
        ({"from": "yesterday"}, "from is a time"),
        ({"from": "1969-01-01"}, "from is a time"),
        ({"from": "1" * 60}, "from is a time"),
        ({"to": "nan"}, "to is a time"),
        ({"from": "2020-01-01", "bucket": "minute"}, "buckets"),
        ({"zone": "a", "line": "b"}, "not both"),
        ({"site": "a\0b"}, "site"),
        ({"site": "a" * 1000}, "site"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_wrong_query_is_refused_with_a_sentence(lite_api: Api, query: dict[str, str], words: str) -> None:
    status, sentence = lite_api.error("GET", "/counts", "viewer", params=query)
    assert status == 400
    assert words in sentence[:1].lower() + sentence[1:]
