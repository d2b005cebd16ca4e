"""Alert rules of the fleet: when they open and close, and that each is open once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from helpers.fleet.commands import START, add_devices, add_minutes, change_device
from maskedge.errors import UsageError
from maskedge_fleet.alerts.engine import AlertEngine
from maskedge_fleet.alerts.rules import DEFAULT_RULES, FleetRule
from maskedge_fleet.database.tables import Alert, Camera, HourCounts, Model, Rollout, Series, Site
from maskedge_fleet.settings import load_settings

MINUTE = timedelta(minutes=1)


class Watch:
    """The alert engine at a time that the test sets."""

    def __init__(self, engine: Engine, *rules: FleetRule, started: datetime = START - timedelta(days=1)) -> None:
        self.engine, self.now = engine, START
        self.alerts = AlertEngine(engine, rules, now=started)

    def at(self, seconds: float) -> list[str]:
        """Run a round some seconds after `START`. Return the subjects of the open alerts."""
        self.now = START + timedelta(seconds=seconds)
        self.alerts.run_round(self.now)
        return sorted(alert.subject for alert in self.all() if alert.ended is None)

    def all(self) -> list[Alert]:
        """Return all alerts, the oldest first."""
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(select(Alert).order_by(Alert.id)))


def rule(when: str, **options: Any) -> FleetRule:
    return FleetRule(**({"name": "rule", "when": when} | options))


def test_a_silent_device_opens_one_alert_until_it_is_heard(engine: Engine) -> None:
    add_devices(engine, "door", site="Shop")
    add_devices(engine, "hall", seen=START + timedelta(hours=9))
    watch = Watch(engine, rule("device_silent", seconds=300))
    assert watch.at(299) == []
    for seconds in (301, 310, 400):
        assert watch.at(seconds) == ["door"]
    (alert,) = watch.all()
    assert alert.since == START + timedelta(seconds=301)
    assert alert.sentence == "the device door at Shop is silent since 2026-01-31 12:00:00 UTC"
    assert alert.site_id is not None
    assert alert.device_id is not None
    change_device(engine, "door", seen=START + timedelta(seconds=410))
    assert watch.at(420) == []
    assert watch.all()[0].ended == START + timedelta(seconds=420)
    assert watch.at(800) == ["door"]
    assert len(watch.all()) == 2


def test_a_restart_neither_opens_nor_closes_alerts(engine: Engine) -> None:
    add_devices(engine, "door")
    add_devices(engine, "hall", seen=START + timedelta(hours=9))
    silent = rule("device_silent", seconds=300)
    assert Watch(engine, silent).at(400) == ["door"]
    again = Watch(engine, silent, started=START + timedelta(seconds=410))
    assert again.at(420) == ["door"]
    assert len(again.all()) == 1


def test_after_its_start_the_server_gives_devices_time(engine: Engine) -> None:
    add_devices(engine, "door")
    add_devices(engine, "hall", seen=START + timedelta(hours=9))
    watch = Watch(engine, rule("device_silent", seconds=300), started=START + timedelta(hours=8))
    assert watch.at(8 * 3600 + 299) == []
    assert watch.at(8 * 3600 + 301) == ["door"]


def test_a_server_that_hears_nothing_opens_one_alert_about_itself(engine: Engine) -> None:
    names = [f"device {number}" for number in range(50)]
    add_devices(engine, *names)
    watch = Watch(engine, rule("device_silent", seconds=300))
    assert watch.at(299) == []
    assert watch.at(301) == ["fleet"]
    assert "none of 50 devices is heard" in watch.all()[0].sentence
    # The ingest is back and has not heard every device yet.
    change_device(engine, names[0], seen=START + timedelta(seconds=1000))
    assert watch.at(1001) == []
    for name in names[:-1]:
        change_device(engine, name, seen=START + timedelta(seconds=1290))
    assert watch.at(1310) == [names[-1]]


def test_a_camera_is_lost_for_some_time(engine: Engine) -> None:
    add_devices(engine, "door")
    watch = Watch(engine, rule("camera_lost", seconds=60))

    def camera(state: str, since: float, *, online: bool = True) -> None:
        with Session(engine) as session, session.begin():
            row = session.scalars(select(Camera)).one()
            row.state, row.since, row.online = state, START + timedelta(seconds=since), online

    camera("lost", 0)
    assert watch.at(59) == []
    assert watch.at(60) == ["door/camera"]
    change_device(engine, "door", online=False)
    assert watch.at(100) == ["door/camera"], "the state of a device that is offline is old"
    change_device(engine, "door", online=True)
    camera("open", 110)
    assert watch.at(120) == []
    camera("lost", 130)
    assert watch.at(200) == ["door/camera"]
    camera("lost", 130, online=False)
    assert watch.at(210) == ["door/camera"], "its connection broke before that of another camera"
    change_device(engine, "door", online=False)
    assert watch.at(240) == ["door/camera"]
    change_device(engine, "door", online=True)
    assert watch.at(250) == ["door/camera"], "another camera is connected again before it"
    camera("lost", 130)
    assert watch.at(260) == ["door/camera"]
    assert len(watch.all()) == 2
    camera("lost", 130, online=False)
    assert watch.at(270) == ["door/camera"]
    assert watch.at(329) == ["door/camera"]
    assert watch.at(330) == [], "it was removed from the device"
    assert Watch(engine, rule("camera_lost", seconds=60)).at(340) == []


def test_two_devices_of_one_name_and_a_wrong_clock(engine: Engine) -> None:
    add_devices(engine, "door", "hall")
    watch = Watch(engine, rule("duplicate_device", name="name", seconds=600), rule("clock_wrong", name="clock", seconds=60))
    change_device(engine, "door", duplicate_seen=START)
    change_device(engine, "hall", clock_offset_s=-61.0)
    assert watch.at(1) == ["door", "hall"]
    assert [alert.sentence for alert in watch.all()] == [
        "two devices have the name door: give each its own [device] name and topic",
        "the clock of the device hall is 61 s ahead of the server's: check its time synchronisation",
    ]
    for offset, subjects in (
        (-40.0, ["door", "hall"]),
        (20.0, ["door"]),
        (59.0, ["door"]),
        (None, ["door"]),
        (61.0, ["door", "hall"]),
    ):
        change_device(engine, "hall", clock_offset_s=offset)
        assert watch.at(10) == subjects
    assert watch.at(601) == ["hall"]


def test_a_share_below_the_bound_opens_at_it_and_closes_above_it(engine: Engine) -> None:
    add_devices(engine, "door", "hall", site="Shop")
    add_devices(engine, "till", site="Market")
    watch = Watch(engine, rule("share_below", threshold=0.8, seconds=600, min_face_s=30, hysteresis=0.05))
    moment = START
    seen = []
    # Masked faces and all faces; the last but one window has too few faces to be judged.
    for masked, faces in ((9, 10), (7.9, 10), (8.2, 10), (8.4, 10), (8.6, 10), (8.2, 10), (0, 0), (7, 10), (0.1, 0.1), (0, 0)):
        if faces:
            add_minutes(engine, "door", moment, 10, masked=masked / 2, unmasked=(faces - masked) / 2)
            add_minutes(engine, "hall", moment, 10, masked=masked / 2, unmasked=(faces - masked) / 2)
        add_minutes(engine, "till", moment, 10, masked=10, unmasked=0)
        moment += 10 * MINUTE
        seen.append(bool(watch.at((moment - START).total_seconds())))
    #               9      7.9   8.2   8.4   8.6    8.2    none   7.0   0.1   none
    assert seen == [False, True, True, True, False, False, False, True, True, False]
    alert = watch.all()[0]
    assert (alert.subject, alert.details["share"], alert.site_id is not None) == ("site Shop", 0.79, True)
    assert "the site Shop: " in alert.sentence


def test_long_windows_use_the_counts_of_hours(engine: Engine) -> None:
    add_devices(engine, "door", site="Shop")
    with Session(engine) as session, session.begin():
        series = session.scalars(select(Series.id)).one()
        for hour in range(48):
            row = HourCounts(start=START - timedelta(hours=hour + 1), series_id=series, masked_s=10.0, unmasked_s=90.0)
            session.add(row)
    assert Watch(engine, rule("share_below", threshold=0.5, seconds=48 * 3600)).at(0) == ["site Shop"]


def test_groups_and_the_fleet_have_a_share_too(engine: Engine) -> None:
    add_devices(engine, "door", group="new")
    add_devices(engine, "hall")
    for name in ("door", "hall"):
        add_minutes(engine, name, START, 10, masked=1, unmasked=9)
    options: dict[str, Any] = {"threshold": 0.5, "seconds": 3600, "min_face_s": 0}
    for per, subject in (("group", "group new"), ("fleet", "fleet")):
        watch = Watch(engine, rule("share_below", name=per, per=per, **options))
        assert watch.at(600) == [subject]
    assert Watch(engine, rule("share_below", name="site", **options)).at(600) == [], "no device is at a site"
    assert Watch(engine, rule("share_below", name="other", per="fleet", group="old", **options)).at(600) == []


def test_releases_that_disagree_at_a_site_open_an_alert(engine: Engine) -> None:
    add_devices(engine, "door", "hall", site="Shop", release=1)
    add_devices(engine, "till", site="Shop", release=2)
    add_devices(engine, "gate", site="Market", release=2)
    watch = Watch(engine, rule("model_disagreement", threshold=0.2, seconds=3600, hysteresis=0.05))
    for name, masked in (("door", 9), ("hall", 9), ("till", 8.5), ("gate", 1)):
        add_minutes(engine, name, START, 10, masked=masked, unmasked=10 - masked)
    assert watch.at(600) == []
    add_minutes(engine, "till", START + 10 * MINUTE, 10, masked=4, unmasked=6)
    add_minutes(engine, "door", START + 10 * MINUTE, 10, masked=9, unmasked=1)
    assert watch.at(1200) == ["site Shop"]
    (alert,) = watch.all()
    assert alert.details["shares"] == {"release 1": 0.9, "release 2": 0.625}
    assert "release 1: 90.0 %, release 2: 62.5 %" in alert.sentence
    change_device(engine, "till", model={"release": 1})
    assert watch.at(1210) == []


def test_a_halted_roll_out_is_an_alert_until_it_goes_on(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        model = Model(
            sha256="f" * 64,
            name="new.onnx",
            kind="classifier",
            release=2,
            size=1,
            signature={},
            card={},
            content=b"",
            created=START,
        )
        session.add(model)
        session.flush()
        rollout = Rollout(model_id=model.id, state="halted", stages=[], reason="a failed", created=START, changed=START)
        session.add(rollout)
        session.flush()
        number = rollout.id
    watch = Watch(engine, *DEFAULT_RULES)
    assert watch.at(0) == [f"roll-out {number}"]
    assert watch.all()[0].sentence == f"the roll-out {number} is halted: a failed"
    with Session(engine) as session, session.begin():
        session.get_one(Rollout, number).state = "rolling_back"
    assert watch.at(10) == []


def test_alerts_of_a_removed_rule_end(engine: Engine) -> None:
    add_devices(engine, "door")
    change_device(engine, "door", duplicate_seen=START)
    duplicate = rule("duplicate_device")
    assert Watch(engine, duplicate).at(1) == ["door"]
    assert Watch(engine, rule("duplicate_device", name="other")).at(2) == ["door"]
    assert [alert.ended is None for alert in Watch(engine).all()] == [False, True]


def test_several_servers_open_an_alert_once(engine: Engine) -> None:
    names = [f"device {number}" for number in range(20)]
    add_devices(engine, *names)
    for name in names:
        change_device(engine, name, duplicate_seen=START)
    watches = [Watch(engine, rule("duplicate_device")) for _ in range(4)]
    threads = [threading.Thread(target=watch.at, args=(1,)) for watch in watches for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(alert.subject for alert in watches[0].all()) == sorted(names)


def test_rules_about_one_site(engine: Engine) -> None:
    add_devices(engine, "door", site="Shop")
    add_devices(engine, "hall", site="Market")
    for name in ("door", "hall"):
        change_device(engine, name, duplicate_seen=START)
    assert Watch(engine, rule("duplicate_device", site="Shop")).at(1) == ["door"]
    with Session(engine) as session, session.begin():
        session.delete(session.scalars(select(Site).where(Site.name == "Market")).one())
    assert Watch(engine, rule("duplicate_device", site="Shop")).at(2) == ["door"]


def wrong_rules() -> Iterator[tuple[str, str]]:
    yield 'when = "device_silent"', "alert.name is empty"
    yield 'name = "a"', "when is one of"
    yield 'name = "a"\nwhen = "noise"', "when is one of device_silent"
    yield 'name = "a"\nwhen = "share_below"', "has no threshold"
    yield 'name = "a"\nwhen = "camera_lost"\nthreshold = 0.5', "has a threshold, but camera_lost has none: remove it"
    yield 'name = "a"\nwhen = "share_below"\nthreshold = 2', "takes a number from 0 to 1"
    yield 'name = "a"\nwhen = "share_below"\nthreshold = 0.5\nper = "street"', "per is one of site, group, fleet"
    yield 'name = "a"\nwhen = "device_silent"\nseconds = 0', "takes a number from 1"
    yield 'name = "a"\nwhen = "device_silent"\n[[alert]]\nname = "a"\nwhen = "clock_wrong"', "two rules have the name"
    yield 'name = "a"\nwhen = "device_silent"\ncolour = "red"', "colour"


@pytest.mark.parametrize(("text", "words"), list(wrong_rules()))
def test_wrong_rules_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(f"[[alert]]\n{text}\n")
    with pytest.raises(UsageError, match=words):
        load_settings(file)
