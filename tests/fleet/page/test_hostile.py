"""Text from devices and people stays text, whatever it contains."""

from __future__ import annotations

from datetime import datetime, timezone
from urllib.parse import quote

import pytest
from sqlalchemy.orm import Session

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium.webdriver import Chrome

from helpers.browsers import fits
from helpers.fleet_page.server import PageServer
from helpers.fleet_page.visit import content, go, visit
from helpers.streams import until
from maskedge_fleet.database.tables import Alert, Audit, Camera, Command, Device, Event, Model, Reject, Rollout, RolloutDevice, Site

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1;\'&amp;'
LONG = "W" * 180


@pytest.fixture
def hostile_fleet(new_fleet: PageServer) -> PageServer:
    """A server whose every text is hostile, or long and without a blank."""
    now = datetime.now(timezone.utc)
    odd = {"constructor": EVIL, "__proto__": EVIL, "label": "constructor", "track": EVIL, "line": EVIL, "direction": EVIL}
    with Session(new_fleet.engine) as session, session.begin():
        for number, name in enumerate((EVIL, LONG), 1):
            session.add(Site(id=number, name=name))
            session.flush()
            session.add(
                Device(
                    id=number,
                    name=name,
                    prefix=f"maskedge/{number}",
                    site_id=number,
                    group=name,
                    note=name,
                    online=True,
                    created=now,
                    seen=now,
                    version=name,
                    health={"temperature_c": "hot", EVIL: EVIL, "load": EVIL, "constructor": EVIL},
                    model={"file": EVIL, "sha256": LONG, "release": 1, "labels": [EVIL]},
                    detector={},
                    commands=["snapshot", EVIL],
                )
            )
            session.flush()
            session.add(
                Camera(
                    id=number,
                    device_id=number,
                    name=name,
                    prefix=f"maskedge/{number}/0",
                    online=True,
                    state="constructor",
                    source=name,
                    statistics={"faces": {EVIL: 1, "constructor": EVIL}, "rate": {"frames_per_second": EVIL}},
                    alerts=[],
                )
            )
            session.flush()
            for place, kind in enumerate(("line_crossed", "alert", "constructor", EVIL[:60])):
                details = {**odd, "rule": name}
                session.add(Event(time=now, camera_id=number, message_id=str(place), kind=kind, details=details, received=now))
            session.add(
                Alert(
                    rule=name,
                    source="device",
                    subject=name,
                    device_id=number,
                    camera_id=number,
                    site_id=number,
                    since=now,
                    sentence=name,
                    details={"zone": EVIL, "people": EVIL},
                )
            )
            session.add(
                Command(
                    id=str(number),
                    device_id=number,
                    kind="snapshot",
                    arguments={"camera": name, EVIL: EVIL},
                    sequence=1,
                    token="",
                    created=now,
                    created_by=name,
                    expires=now,
                    due=now,
                    state="refused",
                    answer={"sentence": name},
                )
            )
            session.add(Audit(time=now, token=name, action=EVIL[:64], target=name, details={EVIL: name}, address=EVIL[:64]))
            session.add(Reject(received=now, topic=name, reason=name, size=1, payload=name.encode()))
        model = Model(id=1, sha256="0" * 64, name=EVIL, kind="classifier", release=1, size=1, signature={}, content=b"")
        model.created, model.created_by = now, EVIL
        session.add(model)
        session.flush()
        rollout = Rollout(id=1, model_id=1, state="halted", stages=[{"devices": [EVIL, LONG], "wait_s": 1}], scope={"site": EVIL})
        rollout.limits, rollout.reason, rollout.created, rollout.created_by, rollout.changed = {}, LONG, now, EVIL, now
        session.add(rollout)
        session.flush()
        session.add(RolloutDevice(rollout_id=1, device_id=1, stage=0, state="failed", sentence=EVIL, changed=now))
    return new_fleet


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_text_is_shown_as_text(browser: Chrome, hostile_fleet: PageServer, width: int) -> None:
    visit(browser, hostile_fleet, width=width)
    views = ["/", "/?view=list", "/sites", "/alerts?state=all", "/models", "/rollout/1", "/audit", "/rejects"]
    views += [f"/{kind}/{quote(name, safe='')}" for kind in ("device", "site") for name in (EVIL, LONG)]
    for path in views:
        go(browser, path)
        until(lambda: "Loading" not in content(browser))
        text = content(browser)
        assert "<img src=x" in text or LONG in text, path
        assert "[object Object]" not in text, path
        assert fits(browser), path
    assert browser.execute_script("return window.hacked") is None
    assert not browser.find_elements("css selector", "main img[src=x], main script")
    assert not browser.get_log("browser")
