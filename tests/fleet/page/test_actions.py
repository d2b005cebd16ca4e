"""What operators and admins do on the page."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from helpers.browsers import texts, words
from helpers.fleet.page.rows import fill_devices, fill_rest
from helpers.fleet.page.server import PageServer
from helpers.fleet.page.visit import buttons, content, go, press, visit
from helpers.streams import until
from maskedge.modelfile.contract import MODELS
from maskedge.modelfile.signature import load_private_key, sign_model
from maskedge_fleet.database.tables import Alert, Command, Device, Model, Rollout, Site, Snapshot, Token


@pytest.fixture
def small_fleet(new_fleet: PageServer) -> PageServer:
    """A server with 14 devices at two sites, of which the first ones are online."""
    with Session(new_fleet.engine) as session, session.begin():
        fill_devices(session, 14, sites=2)
        fill_rest(session)
        session.execute(update(Device).values(online=True))
    return new_fleet


def notes(browser: Chrome) -> str:
    """Return the messages to the reader."""
    return words(browser, "notes")


def fill_in(browser: Chrome, *values: str) -> None:
    """Write into the text fields of the question, from the first one on."""
    fields = browser.find_elements(By.CSS_SELECTOR, "dialog input[type=text], dialog textarea")
    for field, text in zip(fields, values, strict=False):
        field.clear()
        field.send_keys(text)


def test_an_operator_acknowledges_an_alert(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/alerts", role="operator")
    before = len(browser.find_elements(By.CSS_SELECTOR, ".alert"))
    press(browser, "Acknowledge")
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".alert")) == before - 1)
    assert "The alert is acknowledged." in notes(browser)
    until(lambda: words(browser, "alert-count") == str(before - 1))
    with Session(small_fleet.engine) as session:
        assert session.scalar(select(Alert).where(Alert.acknowledged_by == "operator"))
    press(browser, "Active")
    until(lambda: "Acknowledged by operator" in content(browser))
    press(browser, "All")
    until(lambda: "Ended" in content(browser))
    assert not browser.get_log("browser")


def test_a_command_is_sent_after_a_question_and_its_answer_appears(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/device/door-0002", role="operator")
    until(lambda: "No commands yet" in content(browser))
    assert "Restart" not in buttons(browser), "only an admin restarts a device"
    press(browser, "Set the log level")
    press(browser, "Cancel")
    press(browser, "Set the log level")
    Select(browser.find_element(By.CSS_SELECTOR, "dialog select")).select_by_visible_text("Debug")
    press(browser, "Send")
    until(lambda: "Log level level debug" in content(browser))
    with Session(small_fleet.engine) as session, session.begin():
        (command,) = session.scalars(select(Command).where(Command.device_id == 2)).all()
        assert (command.kind, command.arguments, command.created_by) == ("log_level", {"level": "debug"}, "operator")
        command.state, command.answer, command.answered = "done", {"sentence": "The level is debug."}, datetime.now(timezone.utc)
    until(lambda: "The level is debug." in content(browser))
    assert not browser.get_log("browser")


def test_a_snapshot_is_taken_and_shown(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/device/door-0002", role="operator")
    assert "Show the last picture" not in buttons(browser)
    press(browser, "Take a snapshot")

    def sent() -> Command | None:
        with Session(small_fleet.engine) as session:
            return session.scalar(select(Command).where(Command.device_id == 2))

    until(sent)
    with Session(small_fleet.engine) as session, session.begin():
        command = session.scalars(select(Command).where(Command.device_id == 2)).one()
        picture = session.scalars(select(Snapshot)).one()
        camera = session.get_one(Device, 2)
        assert camera.name == "door-0002"
        assert command.arguments == {"camera": "entrance"}
        session.add(Snapshot(camera_id=3, time=datetime.now(timezone.utc), content=picture.content))
        command.state, command.answer = "done", {"sentence": "The picture was sent."}
    until(lambda: browser.execute_script("return document.querySelector('.still img')?.naturalWidth") == 640)
    assert not browser.get_log("browser")


def test_site_group_and_note_of_a_device_are_changed(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/device/door-0003", role="operator")
    press(browser, "Edit")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog select"))
    Select(browser.find_element(By.CSS_SELECTOR, "dialog select")).select_by_visible_text("Hamburg 1")
    fill_in(browser, "Upper floor", "Behind the plant")
    press(browser, "Save")
    until(lambda: "Hamburg 1 · Upper floor" in content(browser) and "Behind the plant" in content(browser))
    with Session(small_fleet.engine) as session:
        device = session.get_one(Device, 3)
        assert (device.site_id, device.group, device.note) == (2, "Upper floor", "Behind the plant")
    assert not browser.get_log("browser")


def test_sites_are_added_renamed_and_deleted(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/sites", role="operator")
    press(browser, "Add a site")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog input"))
    browser.find_element(By.CSS_SELECTOR, "dialog input").send_keys("Paris", Keys.ENTER)
    until(lambda: "Paris" in content(browser))
    press(browser, "Add a site")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog input"))
    browser.find_element(By.CSS_SELECTOR, "dialog input").send_keys("Paris", Keys.ENTER)
    until(lambda: "There is a site of this name already." in notes(browser))
    go(browser, "/site/Paris")
    press(browser, "Rename")
    fill_in(browser, "Paris 2")
    press(browser, "Rename")
    until(lambda: content(browser).startswith("Paris 2"))
    press(browser, "Delete")
    press(browser, "Delete")
    until(lambda: content(browser).startswith("Sites"))
    assert "Paris" not in content(browser)
    with Session(small_fleet.engine) as session:
        assert session.scalars(select(Site.name).order_by(Site.name)).all() == ["Berlin 1", "Hamburg 1"]


def test_a_device_is_deleted_after_a_question(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/device/door-0014")
    press(browser, "Delete")
    browser.find_element(By.CSS_SELECTOR, "dialog").send_keys(Keys.ESCAPE)
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, "dialog"))
    press(browser, "Delete")
    press(browser, "Delete")
    until(lambda: content(browser).startswith("Fleet"))
    with Session(small_fleet.engine) as session:
        assert session.get(Device, 14) is None


def test_a_token_is_shown_once_and_revoked(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/tokens")
    press(browser, "New token")
    fill_in(browser, "Shop 7")
    press(browser, "Create")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".secret"))
    secret = str(browser.find_element(By.CSS_SELECTOR, ".secret").get_attribute("value"))
    assert secret.startswith("mef_")
    press(browser, "Done")
    until(lambda: "Shop 7" in content(browser))
    assert secret not in browser.page_source
    script = "[...document.querySelectorAll('button')].find((one) => one.ariaLabel === 'Revoke Shop 7').click()"
    browser.execute_script(script)
    press(browser, "Revoke")
    until(lambda: "Revoked" in content(browser))
    with Session(small_fleet.engine) as session:
        token = session.scalars(select(Token).where(Token.name == "Shop 7")).one()
        assert token.revoked is not None
        assert token.role == "viewer"
    assert not browser.get_log("browser")


def test_the_state_of_a_rollout_is_shown_and_changed(browser: Chrome, small_fleet: PageServer) -> None:
    visit(browser, small_fleet, "/device/door-0006")
    until(lambda: "Roll-out" in content(browser))
    assert "Failed" in content(browser)
    go(browser, "/models")
    assert "3 of 12" in content(browser)
    browser.find_element(By.PARTIAL_LINK_TEXT, "release 4").click()
    until(lambda: "10% of the devices" in content(browser))
    assert texts(browser, "[aria-current=step]", at_least=1)[0].startswith("Stage 2")
    assert "The trial was slower than the limit." in content(browser)
    shown = "return document.querySelector('.heading .badge')?.textContent"
    for action, state in (("Pause", "Paused"), ("Resume", "Running"), ("Halt", "Halted"), ("Roll back all", "Rolling back")):
        press(browser, action)
        until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog"))
        press(browser, action)
        until(lambda state=state: browser.execute_script(shown) == state)
    with Session(small_fleet.engine) as session:
        assert session.get_one(Rollout, 1).state == "rolling_back"
    assert not browser.get_log("browser")


def test_a_signed_model_is_uploaded_and_rolled_out(
    browser: Chrome, new_fleet: PageServer, command_key: Path, tmp_path: Path
) -> None:
    with Session(new_fleet.engine) as session, session.begin():
        fill_devices(session, 4, cameras=1)
    model, signature, wrong = MODELS / "edgenet.onnx", tmp_path / "edgenet.onnx.sig", tmp_path / "wrong.sig"
    signed = sign_model(model.read_bytes(), load_private_key(command_key), 7)
    signature.write_text(json.dumps(signed), encoding="utf-8")
    wrong.write_text(json.dumps({**signed, "release": 8}), encoding="utf-8")
    visit(browser, new_fleet, "/models")
    assert "Start a roll-out" not in buttons(browser)

    def upload(second: Path) -> None:
        press(browser, "Upload a model")
        until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog input"))
        for field, file in zip(browser.find_elements(By.CSS_SELECTOR, "dialog input"), (model, second), strict=True):
            field.send_keys(str(file))
        press(browser, "Upload")

    upload(wrong)
    until(lambda: "signature" in notes(browser))
    browser.get_log("browser")  # the refusal
    upload(signature)
    until(lambda: "The model is stored." in notes(browser))
    press(browser, "Start a roll-out")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog input"))
    fill_in(browser, "door-0002", "50, 100")
    press(browser, "Start")
    until(lambda: "The roll-out has started." in notes(browser))
    until(lambda: "0 of 4" in content(browser))
    with Session(new_fleet.engine) as session:
        assert session.scalars(select(Model)).one().release == 7
        rollout = session.scalars(select(Rollout)).one()
        assert [stage.get("devices", stage.get("percent")) for stage in rollout.stages] == [["door-0002"], 50, 100]
        assert {stage["wait_s"] for stage in rollout.stages} == {3600}
        assert rollout.limits["failed_share"] == 0.05
    press(browser, "Start a roll-out")
    press(browser, "Start")
    until(lambda: "is not over" in notes(browser))
