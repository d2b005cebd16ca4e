"""The plan of a roll-out: its stages, its limits, and which device is in which stage."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from maskedge.errors import UsageError
from maskedge.settings import Range, check_settings, shown

MOST_STAGES = 20
DEFAULT_WAIT_S = 3600.0
_WAIT = Range(0, 30 * 86400)


@dataclass(frozen=True)
class Limits:
    """Bounds that halt a roll-out when a stage exceeds one of them.

    Attributes:
        failed_share: Share of the devices of a stage that may fail to update, 0 to 1.
        share_change: Change of the share of masked faces, compared with devices that are not
            updated yet.
        latency_ratio: Ratio of the latency after and before the update.
        dropped_change: Increase of the share of dropped frames.
        errors_change: Increase of the errors of a device in an hour.
        min_face_s: Seconds of labelled faces, before and after, that a comparison needs.
        answer_s: Seconds in which a device must begin to answer the command.
    """

    failed_share: float = field(default=0.1, metadata={"range": Range(0, 1)})
    share_change: float = field(default=0.1, metadata={"range": Range(0, 1)})
    latency_ratio: float = field(default=1.5, metadata={"range": Range(1, 1000)})
    dropped_change: float = field(default=0.1, metadata={"range": Range(0, 1)})
    errors_change: float = field(default=5.0, metadata={"range": Range(0, 1e6)})
    min_face_s: float = field(default=60.0, metadata={"range": Range(0, 1e9)})
    answer_s: float = field(default=900.0, metadata={"range": Range(1, 86400)})

    def __post_init__(self) -> None:
        check_settings(self, "limits")

    def to_json(self) -> dict[str, float]:
        """Return the limits by name."""
        return asdict(self)


def read_limits(content: Mapping[str, Any]) -> Limits:
    """Return limits.

    Args:
        content: Some of the limits by name; the others have their defaults.

    Raises:
        UsageError: A limit is unknown or not valid.
    """
    known = {entry.name for entry in fields(Limits)}
    for name, value in content.items():
        if name not in known:
            raise UsageError(f"there is no limit {shown(name)}: use {', '.join(sorted(known))}.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"the limit {name} is a number, got {shown(value)}.")
    return Limits(**content)


def read_stages(content: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the stages with all their keys.

    Args:
        content: Objects with `devices` (names) or `percent` (of all devices of the roll-out,
            together with the stages before), and optionally `wait_s`.

    Raises:
        UsageError: A stage is not valid.
    """
    if not 1 <= len(content) <= MOST_STAGES:
        raise UsageError(f"a roll-out has 1 to {MOST_STAGES} stages, got {len(content)}.")
    stages: list[dict[str, Any]] = []
    highest = 0.0
    for number, stage in enumerate(content, 1):
        where = f"stage {number}"
        if not isinstance(stage, Mapping) or not set(stage) <= {"devices", "percent", "wait_s"}:
            raise UsageError(f"{where} has devices or percent, and wait_s.")
        if ("devices" in stage) == ("percent" in stage):
            raise UsageError(f"{where} has either devices or percent.")
        wait = stage.get("wait_s", DEFAULT_WAIT_S)
        if isinstance(wait, bool) or wait not in _WAIT:
            raise UsageError(f"wait_s of {where} takes a number {_WAIT}, got {shown(wait)}.")
        if "devices" in stage:
            names = stage["devices"]
            if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
                raise UsageError(f"devices of {where} is a list of names.")
            stages.append({"devices": list(dict.fromkeys(names)), "wait_s": wait})
            continue
        percent = stage["percent"]
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not highest < percent <= 100:
            raise UsageError(f"percent of {where} is above {highest:g} and at most 100, got {shown(percent)}.")
        highest = percent
        stages.append({"percent": percent, "wait_s": wait})
    return stages


def assign_stages(names: Sequence[str], stages: Sequence[Mapping[str, Any]], seed: str) -> dict[str, int]:
    """Return the stage of each device. Devices that no stage includes are left out.

    The order within the percentages depends on the names and the model only, so that it can be
    repeated, and so that it is not always the same devices that are first.

    Args:
        names: The devices of the roll-out.
        stages: The stages, from `read_stages`.
        seed: SHA-256 of the model.

    Raises:
        UsageError: A stage names a device that is not in the roll-out.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}\n{name}".encode()).digest())
    assigned: dict[str, int] = {}
    for index, stage in enumerate(stages):
        if "devices" in stage:
            for name in stage["devices"]:
                if name not in order:
                    raise UsageError(f"stage {index + 1} names {shown(name)}, which is not a device of this roll-out.")
                assigned.setdefault(name, index)
            continue
        wanted = math.ceil(len(order) * stage["percent"] / 100 - 1e-9)
        for name in order:
            if len(assigned) >= wanted:
                break
            assigned.setdefault(name, index)
    return assigned
