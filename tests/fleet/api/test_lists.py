"""Events, alerts, rejects and tokens: pages, filters and CSV."""

from __future__ import annotations

import base64
import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest

from helpers.fleet.data import NOON, add_device, add_events, camera_of
from maskedge_fleet.api import events
from maskedge_fleet.api.core.paging import write_cursor
from maskedge_fleet.database.tables import Alert, Reject

from .conftest import Api


@pytest.fixture
def full(api: Api) -> Api:
    """Twelve events, three alerts and a reject."""
    with api.session() as session:
        door = add_device(session, "door", cameras=("in", "out"))
        add_device(session, "gate")
        add_events(session, camera_of(session, "door", "in"), 5)
        add_events(session, camera_of(session, "door", "out"), 5)  # at the same times
        add_events(session, camera_of(session, "gate"), 2, kind="=cmd()", details={"name": "café"})
        for number in range(3):
            given = {"ended": NOON + timedelta(hours=1)} if number == 2 else {}
            session.add(
                Alert(rule="no_mask", source="device", subject=f"door/{number}", device_id=door.id, since=NOON, details={}, **given)
            )
        session.add(Reject(received=NOON, topic="maskedge/x", reason="it is not JSON", size=3, payload=b"\xff{}"))
        session.commit()
    return api


def test_events_are_listed_once_each_and_the_newest_first(full: Api) -> None:
    pages = [full.get("/events", limit=5)]
    while pages[-1]["next"]:
        pages.append(full.get("/events", limit=5, cursor=pages[-1]["next"]))
    rows = [row for page in pages for row in page["items"]]
    assert [len(page["items"]) for page in pages] == [5, 5, 2]
    assert len({(row["device"], row["camera"], row["id"]) for row in rows}) == 12
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)
    assert rows[0] == {
        "time": "2026-03-14T12:00:04Z",
        "device": "door",
        "camera": "out",
        "event": "detection",
        "id": "0a0b0c0d-4",
        "received": "2026-03-14T12:00:04Z",
        "details": {"number": 4},
    }


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({"device": "door"}, 10),
        ({"device": "door", "camera": "in"}, 5),
        ({"kind": "=cmd()"}, 2),
        ({"from_": "2026-03-14T12:00:03Z"}, 4),
        ({"from_": "2026-03-14T13:00:03+01:00"}, 4),
        ({"to": "2026-03-14T12:00:01Z"}, 3),
        ({"to": str(int(NOON.timestamp()))}, 0),
    ],
)
def test_events_can_be_filtered(full: Api, query: dict[str, str], number: int) -> None:
    assert len(full.get("/events", **query)["items"]) == number


def test_csv_of_events_has_all_of_them_and_no_formulas(full: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_ROWS_OF_A_QUERY", 5)
    response = full("GET", "/events", "viewer", params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len({(row["device"], row["camera"], row["id"]) for row in rows}) == len(rows) == 12
    assert {row["event"] for row in rows} == {"detection", "'=cmd()"}
    assert json.loads(rows[-1]["details"])
    assert "café" in response.text


def test_alerts_have_three_states(full: Api) -> None:
    active = full.get("/alerts")["items"]
    assert [row["subject"] for row in active] == ["door/1", "door/0"]
    assert active[0]["device"] == "door"
    assert len(full.get("/alerts", state="all")["items"]) == 3
    acknowledged = full("POST", f"/alerts/{active[0]['id']}/acknowledge", "operator").json()
    assert acknowledged["acknowledged_by"] == "operator"
    assert [row["subject"] for row in full.get("/alerts", state="open")["items"]] == ["door/0"]
    assert len(full.get("/alerts", state="active")["items"]) == 2
    assert full.error("POST", f"/alerts/{active[0]['id']}/acknowledge", "operator")[0] == 409


@pytest.mark.parametrize("number", ["0", "-1", "99999", str(2**80), "x", "1'--"])
def test_an_unknown_alert_is_refused(api: Api, number: str) -> None:
    assert api.error("POST", f"/alerts/{number}/acknowledge", "operator")[0] in (400, 404)


def test_pages_of_alerts_have_each_alert_once(full: Api) -> None:
    first = full.get("/alerts", state="all", limit=2)
    second = full.get("/alerts", state="all", limit=2, cursor=first["next"])
    assert {row["subject"] for row in (*first["items"], *second["items"])} == {"door/0", "door/1", "door/2"}


def test_rejects_show_their_first_bytes(full: Api) -> None:
    (row,) = full.get("/rejects", "operator")["items"]
    assert (row["reason"], row["payload"]) == ("it is not JSON", "\\xff{}")


def test_tokens_are_listed_without_secrets(api: Api) -> None:
    created = api("POST", "/tokens", json={"name": "Ada", "role": "operator"}).json()
    assert created["token"].startswith("mef_")
    rows = api.get("/tokens", "admin")["items"]
    assert [(row["name"], row["role"]) for row in rows][-1] == ("Ada", "operator")
    assert set(rows[0]) == {"id", "name", "role", "created", "expires", "revoked", "used"}
    assert created["token"] not in str(rows)
    assert api.error("POST", "/tokens", json={"name": "Ada", "role": "viewer"})[0] == 409
    assert api.error("POST", "/tokens", json={"name": "Bob", "role": "root"})[0] == 400
    assert api.error("POST", "/tokens", json={"name": "a/b", "role": "admin"})[0] == 400
    assert api.error("POST", "/tokens", json={"name": "Bob", "role": "admin", "days": 1e300})[0] == 400


def _encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


FORGED = [
    *("x", "%00", "A" * 1999, "é", "=" * 9, "null"),
    *map(_encoded, (None, {}, [], 1, [1], ["a", "b", "c", "d"], [[1], 2, 3], [1e400, 1, "a"], [-1e18, 1, "a"], ["a", 1, "b"])),
    *map(_encoded, ([1.0, 2**70, "a"], [1.0, True, "a"], [1.0, 1, "a\0b"], [float("nan"), 1, "a"])),
    base64.urlsafe_b64encode(b"[" * 1400).decode(),
]


@pytest.mark.parametrize("path", ["/events", "/alerts", "/devices", "/tokens", "/audit", "/rejects"])
def test_a_forged_cursor_is_refused(api: Api, path: str) -> None:
    for cursor in FORGED:
        response = api("GET", path, params={"cursor": cursor})
        # A text is a cursor of the devices, and a number one of the logs.
        assert response.status_code == 400 or (path in ("/tokens", "/audit", "/rejects") and cursor == _encoded([1])), cursor
        assert response.status_code == 200 or response.json()["error"].endswith(".")


@pytest.mark.parametrize("limit", ["0", "-1", "100000", "x", "1e3"])
def test_a_limit_out_of_range_is_refused(lite_api: Api, limit: str) -> None:
    assert lite_api.error("GET", "/events", "viewer", params={"limit": limit})[0] == 400


def test_a_cursor_of_the_future_is_the_first_page(full: Api) -> None:
    cursor = write_cursor(NOON + timedelta(days=9), 1, "a")
    assert len(full.get("/events", cursor=cursor)["items"]) == 12
