"""Devices, sites and the summary."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import delete, event

from helpers.fleet.data import NOON, add_device, add_minutes, add_site, camera_of, series_of, sum_hours_and_days
from maskedge_fleet.api import sites
from maskedge_fleet.database.tables import Alert, Camera, Device, MinuteCounts, Snapshot

from .conftest import Api


@pytest.fixture
def fleet(api: Api) -> Api:
    """Four devices at two sites, seen today."""
    now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    with api.session() as session:
        shop, depot = add_site(session, "Shop"), add_site(session, "Depot 100%")
        door = add_device(
            session, "door", site=shop, cameras=("in", "out"), group="blue", version="0.1.0", health={"temperature_c": 51.5}
        )
        door.model = {"file": "a.onnx", "sha256": "ab" * 32, "release": 3, "labels": ["with_mask"]}
        add_device(session, "gate", site=depot, note="behind the till")
        add_device(session, "hall", site=shop, online=False)
        add_device(session, "spare_1", seen=None)
        camera_of(session, "gate").state = "lost"
        # It was lost, and then removed from its device.
        removed = camera_of(session, "door", "out")
        removed.state, removed.online = "lost", False
        alert = {"rule": "no_mask", "since": NOON, "sentence": "x"}
        for number, ended in enumerate((None, None, NOON + timedelta(hours=1))):
            session.add(Alert(source="device", subject=f"door/{number}", device_id=door.id, ended=ended, **alert))
        session.add(Alert(source="fleet", subject="Depot 100%", site_id=depot.id, acknowledged=NOON, **alert))
        for device, camera, masked in (("door", "in", 3.0), ("door", "out", 1.0), ("gate", "camera", 2.0)):
            add_minutes(session, series_of(session, device, camera), [(now, {"masked_s": masked, "unmasked_s": 1.0})])
        add_minutes(session, series_of(session, "door", "in", zone="till"), [(now, {"unmasked_s": 1000.0})])
        sum_hours_and_days(session)
        session.commit()
    return api


def test_the_list_has_all_that_the_page_shows(fleet: Api) -> None:
    rows = fleet.get("/devices")["items"]
    assert [(row["name"], row["state"], row["site"]) for row in rows] == [
        ("door", "online", "Shop"),
        ("gate", "lost", "Depot 100%"),
        ("hall", "offline", "Shop"),
        ("spare_1", "online", ""),
    ]
    assert rows[0] == {
        "name": "door",
        "site": "Shop",
        "group": "blue",
        "note": "",
        "state": "online",
        "online": True,
        "seen": "2026-03-14T12:00:00Z",
        "version": "0.1.0",
        "model": {"file": "a.onnx", "sha256": "ab" * 32, "release": 3},
        "temperature_c": 51.5,
        "cameras": [{"name": "in", "state": "open", "online": True}, {"name": "out", "state": "lost", "online": False}],
        "alerts": 2,
        "share_today": 0.6667,
    }
    assert rows[2]["share_today"] is None
    assert rows[3]["seen"] is None


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"site": "Shop"}, ["door", "hall"]),
        ({"site": ""}, ["spare_1"]),
        ({"site": "nowhere"}, []),
        ({"group": "blue"}, ["door"]),
        ({"state": "online"}, ["door", "spare_1"]),
        ({"state": "lost"}, ["gate"]),
        ({"state": "offline", "site": "Shop"}, ["hall"]),
        ({"q": "TILL"}, ["gate"]),
        ({"q": "100%"}, ["gate"]),
        ({"q": "%"}, ["gate"]),
        ({"q": "e_1"}, ["spare_1"]),
        ({"q": "\\"}, []),
        ({"q": "'; DROP TABLE device; --"}, []),
    ],
)
def test_the_list_can_be_filtered(fleet: Api, query: dict[str, str], names: list[str]) -> None:
    assert [row["name"] for row in fleet.get("/devices", **query)["items"]] == names


def test_pages_of_the_list_have_each_device_once(fleet: Api) -> None:
    first = fleet.get("/devices", limit=3)
    second = fleet.get("/devices", limit=3, cursor=first["next"])
    assert [row["name"] for row in (*first["items"], *second["items"])] == ["door", "gate", "hall", "spare_1"]
    assert second["next"] is None
    assert [row["alerts"] for row in first["items"]] == [2, 0, 0]


def test_the_list_needs_as_many_queries_for_many_devices_as_for_one(api: Api) -> None:
    statements: list[str] = []
    api.get("/summary")  # the use of the token is recorded
    event.listen(api.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    numbers = []
    for many in (1, 20):
        with api.session() as session:
            for number in range(many):
                add_device(session, f"{many}-{number}", cameras=("a", "b"))
            session.commit()
        statements.clear()
        for path in ("/devices", "/sites", "/summary", "/alerts"):
            api.get(path)
        numbers.append(len(statements))
    assert numbers[0] == numbers[1]


def test_the_summary_counts_devices_cameras_and_alerts(fleet: Api) -> None:
    summary = fleet.get("/summary")
    assert summary["devices"] == {"total": 4, "online": 2, "lost": 1, "offline": 1}
    assert summary["cameras"] == {"total": 5, "lost": 1}
    assert summary["alerts"] == {"active": 3, "open": 2}
    assert summary["share_today"] == 0.6667


def test_sites_have_devices_alerts_and_shares(fleet: Api) -> None:
    rows = fleet.get("/sites")["items"]
    assert [(row["name"], row["devices"]["total"], row["alerts"]) for row in rows] == [
        ("Depot 100%", 1, 1),
        ("Shop", 2, 2),
        ("", 1, 0),
    ]
    assert rows[1]["devices"] == {"total": 2, "online": 1, "lost": 0, "offline": 1}
    assert [rows[0][f"share_{span}"] for span in ("today", "week", "month")] == [0.6667] * 3
    assert rows[2]["share_month"] is None


def test_the_share_of_a_month_has_its_first_half_hour_after_the_minutes_are_deleted(
    open_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Midnight in India, as the start of a month that is longer than minutes are kept.
    start = (datetime.now(timezone.utc) - timedelta(days=100)).replace(hour=18, minute=30, second=0, microsecond=0)
    monkeypatch.setattr(sites, "calendar_starts", lambda zone, now: {"day": now, "week": now, "month": start})
    api = open_api(time_zone="Asia/Kolkata")
    with api.session() as session, session.begin():
        add_device(session, "door", site=add_site(session, "Shop"))
        add_minutes(session, series_of(session, "door"), [(start + timedelta(minutes=5), {"masked_s": 1.0})])
        sum_hours_and_days(session)
        session.execute(delete(MinuteCounts))
    assert [row["share_month"] for row in api.get("/sites")["items"]] == [1.0]


def test_a_device_in_full_has_its_cameras(fleet: Api) -> None:
    device = fleet.get("/devices/door")
    assert device["model_details"]["labels"] == ["with_mask"]
    assert [(camera["name"], camera["prefix"], camera["snapshot"]) for camera in device["full_cameras"]] == [
        ("in", "maskedge/door/in", None),
        ("out", "maskedge/door/out", None),
    ]
    assert fleet.error("GET", "/devices/none", "viewer") == (404, "There is no device of this name.")


def test_only_the_given_values_of_a_device_change(fleet: Api) -> None:
    changed = fleet("PATCH", "/devices/gate", "operator", json={"group": "red"}).json()
    assert (changed["site"], changed["group"], changed["note"]) == ("Depot 100%", "red", "behind the till")
    moved = fleet("PATCH", "/devices/gate", "operator", json={"site": "Shop", "note": "moved"}).json()
    assert (moved["site"], moved["group"], moved["note"]) == ("Shop", "red", "moved")
    assert fleet("PATCH", "/devices/gate", "operator", json={"site": ""}).json()["site"] == ""
    assert fleet.error("PATCH", "/devices/gate", "operator", json={"site": "nowhere"})[0] == 404
    assert fleet.error("PATCH", "/devices/gate", "operator", json={"group": "a/b"})[0] == 400
    assert fleet.error("PATCH", "/devices/gate", "operator", json={"online": False})[0] == 400


def test_a_deleted_device_takes_its_data_along(fleet: Api) -> None:
    assert fleet("DELETE", "/devices/door").status_code == 204
    with fleet.session() as session:
        assert session.query(Device).filter_by(name="door").count() == 0
        assert session.query(Camera).count() == 3
        assert session.query(MinuteCounts).count() == 1
        assert session.query(Alert).count() == 1


def test_a_deleted_site_keeps_its_devices(fleet: Api) -> None:
    assert fleet("DELETE", "/sites/Shop", "operator").status_code == 204
    assert [row["name"] for row in fleet.get("/devices", site="")["items"]] == ["door", "hall", "spare_1"]


def test_the_name_of_a_site_is_given_once(fleet: Api) -> None:
    assert fleet.error("POST", "/sites", "operator", json={"name": "Shop"})[0] == 409
    assert fleet.error("PATCH", "/sites/Shop", "operator", json={"name": "Depot 100%"})[0] in (400, 409)
    assert fleet.error("PATCH", "/sites/none", "operator", json={"name": "Other"})[0] == 404


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "a" * 300}, {"name": "a\0b"}, {"name": 3}, {"name": "a", "x": 1}, [], "x"]
)
def test_a_wrong_body_is_refused_with_a_sentence(lite_api: Api, body: Any) -> None:
    assert lite_api.error("POST", "/sites", "operator", json=body)[0] == 400


def test_a_snapshot_is_for_operators_and_logged(fleet: Api) -> None:
    assert fleet.error("GET", "/cameras/door/in/snapshot", "operator")[0] == 404
    with fleet.session() as session:
        session.add(Snapshot(camera_id=camera_of(session, "door", "in").id, time=NOON, content=b"\xff\xd8jpeg"))
        session.commit()
    response = fleet("GET", "/cameras/door/in/snapshot", "operator")
    assert (response.content, response.headers["content-type"]) == (b"\xff\xd8jpeg", "image/jpeg")
    assert fleet.get("/audit", "admin")["items"][0]["action"] == "snapshot.view"
    assert fleet.get("/devices/door")["full_cameras"][0]["snapshot"] == "2026-03-14T12:00:00Z"
