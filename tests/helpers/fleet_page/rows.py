"""Rows of a fleet as a real one leaves them in the database."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import cv2
import numpy as np
from sqlalchemy import insert
from sqlalchemy.orm import Session

from maskedge.sources import demo
from maskedge_fleet.database.tables import (
    Alert,
    Audit,
    Camera,
    Command,
    DayCounts,
    Device,
    Event,
    HourCounts,
    MinuteCounts,
    Model,
    Reject,
    Rollout,
    RolloutDevice,
    Series,
    Site,
    Snapshot,
)

SHA256 = {release: f"{release:02x}" * 32 for release in (3, 4)}


def fill_devices(session: Session, number: int, *, sites: int = 0, seed: int = 1, cameras: int = 2) -> None:
    """Store devices with cameras. About one in 25 is offline, and one in 40 has lost a camera."""
    chance, now = np.random.default_rng(seed), datetime.now(timezone.utc)
    names = ("Berlin", "Hamburg", "Köln", "Leipzig", "München", "Wien", "Zürich", "Basel", "Graz", "Bremen")
    session.add_all(Site(id=one + 1, name=f"{names[one % len(names)]} {1 + one // len(names)}") for one in range(sites))
    session.flush()
    rows: list[dict[str, Any]] = []
    for one in range(number):
        online = bool(chance.random() > 0.04)
        release = 3 if chance.random() < 0.7 else 4
        rows.append(
            {
                "id": one + 1,
                "name": f"door-{one + 1:04}",
                "prefix": f"maskedge/door-{one + 1:04}",
                "site_id": one % sites + 1 if sites else None,
                "group": ("Entrances", "Tills")[one // max(1, sites) % 2] if sites else "",
                "note": "",
                "online": online,
                "created": now - timedelta(days=40),
                "seen": now - timedelta(seconds=chance.uniform(0, 10) if online else chance.uniform(600, 90_000)),
                "version": "0.1.0",
                "instance": f"{one:08x}",
                "health": {
                    "temperature_c": round(chance.normal(52, 5), 1),
                    "load": [0.8, 0.7, 0.7],
                    "memory_mb": 212.0,
                    "throttled": [],
                    "cpu_percent": 61.0,
                },
                "model": {"file": f"edgenet-{release}.onnx", "name": "edgenet", "release": release, "sha256": SHA256[release]},
                "commands": ["reload", "snapshot", "log_level", "privacy", "update_model", "restart"],
                "sequence": 0,
            }
        )
    session.execute(insert(Device), rows)
    statistics = {
        "faces": {"with_mask": 3, "without_mask": 1, "incorrect_mask": 0},
        "people": {"with_mask": 31, "without_mask": 4},
        "rate": {"frames_per_second": 14.8},
    }
    session.execute(
        insert(Camera),
        [
            {
                "device_id": row["id"],
                "name": ("entrance", "till", "hall", "yard")[place],
                "prefix": f"{row['prefix']}/{place}",
                "online": row["online"],
                "state": "lost" if chance.random() < 0.025 / cameras else "open",
                "since": now - timedelta(hours=9),
                "source": f"rtsp://10.0.0.{row['id'] % 250}/{place}",
                "seen": row["seen"],
                "statistics": statistics,
                "statistics_time": row["seen"],
                "alerts": [],
            }
            for row in rows
            for place in range(cameras)
        ],
    )


def fill_counts(session: Session, *, days: int = 32, seed: int = 2) -> None:
    """Store counts of each camera: minutes of the last two hours, and hours and days."""
    chance, now = np.random.default_rng(seed), datetime.now(timezone.utc).replace(second=0, microsecond=0)
    cameras = session.query(Camera.id, Camera.device_id).all()
    shares = {device: chance.uniform(0.55, 0.95) for device in {camera.device_id for camera in cameras}}
    session.execute(
        insert(Series), [{"id": camera.id, "camera_id": camera.id, "zone": "", "line": "", "direction": ""} for camera in cameras]
    )

    def row(series: int, device: int, start: datetime, seconds: float) -> dict[str, Any]:
        busy = max(0.02, 1 - abs(start.hour - 13) / 7) if seconds < 86400 else 0.45
        faces = seconds * busy * chance.uniform(0.6, 1.2)
        masked = min(0.99, max(0.3, shares[device] + 0.1 * busy * chance.uniform(-1, 1)))
        people = int(faces / 20)
        return {
            "start": start,
            "series_id": series,
            "observed_s": seconds,
            "masked_s": faces * masked,
            "unmasked_s": faces * (1 - masked) * 0.8,
            "incorrect_s": faces * (1 - masked) * 0.2,
            "other_s": 0.0,
            "masked": int(people * masked),
            "unmasked": int(people * (1 - masked)),
            "incorrect": 0,
            "other": 0,
        }

    hour = now.replace(minute=0)
    day = hour.replace(hour=0)
    for table, starts, seconds in (
        (MinuteCounts, [hour + timedelta(minutes=one) for one in range(now.minute + 1)], 60.0),
        (HourCounts, [hour - timedelta(hours=one) for one in range(24 * 8)], 3600.0),
        (DayCounts, [day - timedelta(days=one) for one in range(days)], 86400.0),
    ):
        session.execute(insert(table), [row(camera.id, camera.device_id, start, seconds) for camera in cameras for start in starts])


def fill_rest(session: Session) -> None:
    """Store events, alerts, a picture, commands, a roll-out and logs of a fleet of at least twelve devices."""
    chance, now = np.random.default_rng(3), datetime.now(timezone.utc)
    camera = session.query(Camera).filter(Camera.device_id == 1).first()
    assert camera is not None
    kinds = ("face_appeared", "label_changed", "face_left", "line_crossed")
    for one in range(60):
        details = {
            "track": 900 - one // 2,
            "label": str(chance.choice(("with_mask", "with_mask", "without_mask"))),
            "before": "unsure",
        }
        details |= {"line": "door", "direction": "in"}
        moment = now - timedelta(seconds=20 * one + chance.random())
        session.add(
            Event(
                time=moment,
                camera_id=camera.id,
                message_id=f"1a2b3c4d-{900 - one}",
                kind=kinds[one % 4],
                details=details,
                received=moment,
            )
        )
    texts = (
        ("too_many_without", "40% of the faces are without a mask."),
        ("long_without", "A person is without a mask for 3 min."),
    )
    for one in range(9):
        rule, text = texts[one % 2]
        ended = now - timedelta(minutes=one) if one > 6 else None
        seen = now - timedelta(minutes=20) if one in (4, 5) else None
        session.add(
            Alert(
                rule=rule,
                source="device",
                subject=f"door-{one + 1}",
                device_id=one + 1,
                since=now - timedelta(minutes=17 * (one + 1)),
                ended=ended,
                sentence=text,
                acknowledged=seen,
                acknowledged_by="Ann" if seen else "",
            )
        )
    silent = Alert(
        rule="silent",
        source="fleet",
        subject="door-0012",
        device_id=12,
        since=now - timedelta(hours=3),
        sentence="No message for 3 h.",
    )
    low = Alert(
        rule="low_share",
        source="fleet",
        subject="site 1",
        site_id=1,
        since=now - timedelta(hours=1),
        sentence="61% with a mask in the last hour; the bound is 70%.",
    )
    session.add_all((silent, low))
    ok, jpeg = cv2.imencode(".jpg", demo.draw(150))
    assert ok
    session.add(Snapshot(camera_id=camera.id, time=now - timedelta(minutes=4), content=jpeg.tobytes()))
    states = (
        ("snapshot", "done", "The picture was sent."),
        ("restart", "refused", "restart is not allowed: add it to [fleet] commands."),
        ("log_level", "done", "The log level is debug."),
        ("reload", "sent", ""),
    )
    for number, (kind, state, answer) in enumerate(states, 1):
        session.add(
            Command(
                id=f"00000000-0000-4000-8000-{number:012}",
                device_id=1,
                kind=kind,
                arguments={"level": "debug"} if kind == "log_level" else {"camera": camera.name} if kind == "snapshot" else {},
                sequence=number,
                token="",
                created=now - timedelta(minutes=30 - 5 * number),
                created_by="Ann",
                expires=now + timedelta(minutes=10),
                due=now,
                state=state,
                answer={"sentence": answer} if answer else {},
            )
        )
    for release in (3, 4):
        model = Model(id=release, sha256=SHA256[release], name=f"edgenet-{release}.onnx", kind="classifier", release=release)
        model.size, model.signature, model.content, model.created, model.created_by = (
            1_412_331,
            {},
            b"",
            now - timedelta(days=8 - release),
            "Ann",
        )
        session.add(model)
    session.flush()
    stages = [{"devices": ["door-0001"], "wait_s": 3600.0}, *({"percent": percent, "wait_s": 3600.0} for percent in (10, 50, 100))]
    session.add(
        Rollout(
            id=1,
            model_id=4,
            state="running",
            stages=stages,
            stage=1,
            stage_started=now - timedelta(minutes=12),
            limits={"failed_share": 0.1, "share_change": 0.1, "latency_ratio": 1.5},
            created=now - timedelta(hours=2),
            created_by="Ann",
            changed=now,
        )
    )
    session.flush()
    for one in range(1, 13):
        state = ("active", "active", "active", "trial", "downloaded", "failed", "sent")[one - 1] if one < 8 else "waiting"
        text = "The trial was slower than the limit." if state == "failed" else ""
        session.add(RolloutDevice(rollout_id=1, device_id=one, stage=0 if one == 1 else 1, state=state, sentence=text, changed=now))
    for one, (action, target) in enumerate(
        (("alert.acknowledge", "door-5"), ("command", "door-0001"), ("token.create", "shop"), ("site.create", "Berlin 1"))
    ):
        session.add(
            Audit(
                time=now - timedelta(minutes=one),
                token="Ann",  # noqa: S106  (a name)
                action=action,
                target=target,
                details={"rule": "long_without"},
                address="10.0.0.7",
            )
        )
    session.add(
        Reject(
            received=now,
            topic="maskedge/door-0003/events",
            reason="The payload is not JSON.",
            size=1841,
            payload=b"\xff\xfe{not json",
        )
    )
