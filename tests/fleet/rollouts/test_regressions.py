"""Devices of a stage are compared with themselves before, and with devices that wait."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from helpers.fleet.commands import START, add_devices, add_minutes, add_statistics
from maskedge_fleet.database.tables import Camera, Device, Statistics

if TYPE_CHECKING:
    from .conftest import Fleet

BEFORE = START - timedelta(hours=1)
AFTER = START + timedelta(minutes=2)
WATCH = {"devices": ["a"], "wait_s": 1200}
ALL = {"percent": 100, "wait_s": 1200}


def watch(fleet: Fleet) -> None:
    """Update the first device, and watch it to the end of its stage."""
    fleet.start(WATCH, ALL)
    fleet.run(30)
    fleet.answer("a")
    fleet.run(30)
    fleet.run(1300)


@pytest.mark.parametrize(
    ("updated", "waiting", "state"),
    [
        # Share of masked faces after the update, before it was 0.8 on both.
        (0.8, 0.8, "running"),
        (0.75, 0.8, "running"),
        (0.5, 0.8, "halted"),
        (0.95, 0.8, "halted"),
        # At evening, fewer people wear a mask everywhere.
        (0.5, 0.52, "running"),
        (0.8, 0.5, "halted"),
    ],
)
def test_a_share_that_changes_unlike_the_others_halts(fleet: Fleet, updated: float, waiting: float, state: str) -> None:
    add_devices(fleet.engine, "a", "b")
    for name, share in (("a", updated), ("b", waiting)):
        add_minutes(fleet.engine, name, BEFORE, 60, masked=8, unmasked=2)
        add_minutes(fleet.engine, name, AFTER, 20, masked=10 * share, unmasked=10 - 10 * share)
    watch(fleet)
    assert fleet.rollout().state == state
    if state == "halted":
        assert "the share of masked faces changed by" in fleet.rollout().reason
    figures = fleet.rows()["a"].baseline
    assert figures["before"]["share"] == 0.8
    assert figures["after"]["share"] == updated


def test_a_few_faces_prove_nothing(fleet: Fleet) -> None:
    add_devices(fleet.engine, "a", "b")
    add_minutes(fleet.engine, "a", BEFORE, 60, masked=8, unmasked=2)
    add_minutes(fleet.engine, "a", AFTER, 2, masked=0, unmasked=10)
    watch(fleet)
    assert fleet.rollout().state == "running"


@pytest.mark.parametrize(
    "odd",
    [
        {"counters": {"captured": "many", "dropped": None}},
        {"counters": {"captured": 5_000_000_000, "dropped": 0.5}},
        {"counters": 7},
        {"rate": {"latency_ms": {"total": {"p50": "fast"}}}},
        {"rate": {"latency_ms": {"total": {"p50": 1.7e308}}}},
        {"rate": {"latency_ms": {"total": {"p50": [10]}}}},
    ],
)
def test_odd_numbers_of_a_device_hold_up_no_roll_out(fleet: Fleet, odd: dict[str, Any]) -> None:
    add_devices(fleet.engine, "a", "b")
    add_statistics(fleet.engine, "a", BEFORE, 50, latency=10)
    add_statistics(fleet.engine, "a", AFTER, 15, latency=10)
    with Session(fleet.engine) as session, session.begin():
        camera = session.scalars(select(Camera.id).join(Device).where(Device.name == "a")).one()
        for number in range(2):
            moment = AFTER + timedelta(seconds=number + 1)
            session.add(Statistics(time=moment, camera_id=camera, message_id=f"x{number}", content=odd, received=moment))
    watch(fleet)
    assert (fleet.rollout().state, fleet.rollout().stage) == ("running", 1)
    assert fleet.rows()["a"].baseline["after"]["latency_ms"] == 10


@pytest.mark.parametrize(
    ("latency", "dropped", "words"),
    [(12, 0, ""), (40, 0, "the latency is 4.00 times that before"), (10, 300, "50.0 points more frames are dropped")],
)
def test_slower_devices_and_dropped_frames_halt(fleet: Fleet, latency: float, dropped: int, words: str) -> None:
    add_devices(fleet.engine, "a", "b")
    add_statistics(fleet.engine, "a", BEFORE, 50, latency=10)
    add_statistics(fleet.engine, "a", AFTER, 15, latency=latency, dropped=dropped)
    watch(fleet)
    assert fleet.rollout().state == ("halted" if words else "running")
    assert words in fleet.rollout().reason
