"""The backlog: messages that wait at the broker while the ingest is away, and how fast they are stored."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from maskedge.system.host import host_state

from .load import Progress
from .parts import wait_until
from .stack import Stack

_KINDS = ("face_appeared", "label_changed", "line_crossed", "face_left")
_EVERY_S = 0.25


def measure_backlog(count: int, devices: int, keep: Path | None, progress: Progress) -> dict[str, Any]:
    """Publish events while the ingest is away, start it, and measure until all are in the database.

    Args:
        count: Number of events.
        devices: Number of devices that they are from.
        keep: Folder in which files and logs are kept; None for a temporary one.
        progress: Called with the name of each step.

    Returns:
        Events a second, from the first commit to the last one, and CPU seconds of each part.
    """
    before = host_state()
    with Stack(keep) as stack:
        # The broker keeps messages for a session that exists.
        stack.start_ingest()
        stack.ingest.stop()
        progress(f"{count} events wait")
        ids = _publish(stack, count, devices)
        used = stack.usage()
        progress("the ingest stores them")
        started = time.monotonic()
        stack.ingest.start()
        with stack.connect() as connection:
            query = "SELECT count(*) FROM event"
            wait_until(lambda: connection.execute(query).fetchone() == (count,), "the backlog", 600, _EVERY_S)
            waited = time.monotonic() - started
            now = stack.usage()
            commits: list[tuple[float, int]] = connection.execute(
                "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float, count(*) FROM event GROUP BY 1 ORDER BY 1"
            ).fetchall()
            stored = [message for (message,) in connection.execute("SELECT message_id FROM event")]
    return {
        "events": count,
        "devices": devices,
        "load_before": before.get("load"),
        "seconds": round(commits[-1][0] - commits[0][0], 2),
        "seconds_with_start": round(waited, 2),
        "commits": len(commits),
        "events_per_s": round(rate_of(commits, waited)),
        "lost": len(ids - set(stored)),
        "doubled": len(stored) - len(set(stored)),
        "cpu_ms_an_event": {name: round(1000 * (now[name].cpu_s - used[name].cpu_s) / count, 4) for name in now},
    }


def rate_of(commits: Sequence[tuple[float, int]], waited: float) -> float:
    """Return the events a second from the first commit to the last one.

    The events of the first commit were stored before it, so they do not count. A single commit has no
    such span, and the time with the start of the ingest counts.

    Args:
        commits: Time in seconds, and number of events, of each commit, in order.
        waited: Seconds from the start of the ingest to the last event.
    """
    counts = [count for _, count in commits]
    span = commits[-1][0] - commits[0][0]
    return sum(counts[1:]) / span if span > 0 else sum(counts) / waited


def _publish(stack: Stack, count: int, devices: int) -> set[str]:
    """Publish events as devices do, and return their ids."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    spools = [secrets.token_hex(4) for _ in range(devices)]
    start = datetime.now(timezone.utc) - timedelta(hours=1)
    ids = set()
    with stack.client() as client:
        for index in range(count):
            device, number = index % devices, index // devices + 1
            name, message_id = f"device-{device:05}", f"{spools[device]}-{number}"
            moment = start + timedelta(seconds=3600 * index / count)
            event = {
                "id": message_id,
                "event": _KINDS[index % len(_KINDS)],
                "source": "simulated",
                "camera": "camera",
                "device": name,
                "time": moment.isoformat(timespec="milliseconds"),
                "track": number,
                "label": "with_mask",
                "score": 0.97,
            }
            ids.add(message_id)
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.UserProperty = [("sent", f"{time.time():.3f}")]
            sent = client.publish(f"maskedge/{name}/events", json.dumps(event), qos=1, properties=properties)
            if index % 1000 == 999 or index == count - 1:
                sent.wait_for_publish(60)
    return ids
