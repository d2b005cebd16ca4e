"""A disk that fills under PostgreSQL. Needs root, to make a small disk in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from helpers.brokers import wait_for
from helpers.fleet.device_client import FleetDevice, Ingest, event, fleet_broker
from helpers.postgres import USER, PostgreSQL
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import Event, Reject

SIZE = 48_000_000


@pytest.fixture
def small_disk() -> Iterator[Path]:
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk needs root")
    folder = Path(tempfile.mkdtemp(prefix="maskedge-disk-"))
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0777", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode != 0:
        folder.rmdir()
        pytest.skip("this machine does not allow to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


@pytest.mark.slow
def test_a_full_disk_under_postgresql_costs_no_message(small_disk: Path, tmp_path: Path) -> None:
    server = PostgreSQL()
    tables, filler = small_disk / "tables", small_disk / "filler"
    tables.mkdir()
    shutil.chown(tables, USER)
    server.execute(f"CREATE TABLESPACE small LOCATION '{tables}'")
    server.execute("CREATE DATABASE fleet TABLESPACE small")
    url = f"postgresql+psycopg://{USER}@/fleet?host={server.folder}"
    engine = open_engine(url)
    migrate(engine)
    broker = fleet_broker(tmp_path / "broker")
    device = FleetDevice(broker.port, "door")
    with Ingest(broker.port, url, tmp_path) as ingest:
        device.add("events", event(0))
        wait_for(lambda: not device.waiting, "the first confirmation")
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 100_000))
        for number in range(1, 400):
            device.add("events", event(number, note="x" * 1500))
        wait_for(lambda: "could not extend file" in ingest.log(), "the full disk")
        time.sleep(1)
        assert len(ingest.log().splitlines()) == 1
        assert device.waiting
        filler.unlink()
        wait_for(lambda: not device.waiting, "the confirmations")
        assert ingest.stop() == 0
        assert ingest.log().splitlines()[1:] == ["the database is back."]
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Event)) == 400
        assert connection.scalar(select(func.count()).select_from(Reject)) == 0
    device.close()
    broker.stop()
    engine.dispose()
    server.remove()
