from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from sqlalchemy import Engine, func, select

from helpers.brokers import wait_for
from helpers.fleet_device import FleetDevice, Ingest, event, fleet_broker, statistics
from maskedge_fleet.database.tables import Camera, Device, Event, MinuteCounts, Statistics


def test_events_and_statistics_are_stored_and_confirmed(engine: Engine, database: str, tmp_path: Path) -> None:
    broker = fleet_broker(tmp_path / "broker")
    device = FleetDevice(broker.port, "door")
    with Ingest(broker.port, database, tmp_path) as ingest:
        for number in range(50):
            device.add("events", event(number))
        device.add("statistics", statistics(datetime.now(timezone.utc), with_mask=2))
        device.publish("availability", "online", retain=True)
        wait_for(lambda: not device.waiting, "the confirmations")
        with engine.connect() as connection:
            assert connection.scalar(select(func.count()).select_from(Event)) == 50
            assert connection.scalar(select(func.count()).select_from(Statistics)) == 1
            assert connection.execute(select(MinuteCounts.observed_s, MinuteCounts.masked)).one() == (10.0, 2)
            wait_for(lambda: connection.rollback() or connection.scalar(select(Device.online)), "the device")
            row = connection.execute(select(Device)).one()
            assert (row.name, row.prefix, row.health) == ("door", "maskedge/door", {"temperature_c": 50.0})
            assert abs(row.clock_offset_s) < 5
            assert connection.execute(select(Camera.name, Camera.online)).one() == ("camera", True)
        assert ingest.stop() == 0
        assert ingest.log() == ""
    device.close()
