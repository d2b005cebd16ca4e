"""The plan of a roll-out, and the addresses of downloads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from helpers.fleet.commands import START
from maskedge.errors import UsageError
from maskedge_fleet.rollouts.downloads import download_url, is_valid_download
from maskedge_fleet.rollouts.plan import assign_stages, read_limits, read_stages

NAMES = [f"device {number}" for number in range(40)]
SECRET = b"secret"
DIGEST = "a" * 64


def test_percentages_include_the_stages_before() -> None:
    stages = read_stages([{"devices": ["device 7", "device 3"]}, {"percent": 10}, {"percent": 50, "wait_s": 60}, {"percent": 100}])
    assigned = assign_stages(NAMES, stages, DIGEST)
    assert sorted(name for name, stage in assigned.items() if stage == 0) == ["device 3", "device 7"]
    assert [list(assigned.values()).count(stage) for stage in range(4)] == [2, 2, 16, 20]
    assert [stage["wait_s"] for stage in stages] == [3600.0, 3600.0, 60, 3600.0]


def test_the_order_depends_on_the_model_and_the_names_only() -> None:
    stages = read_stages([{"percent": 10}, {"percent": 60}])
    assigned = assign_stages(NAMES, stages, DIGEST)
    assert assign_stages(NAMES[::-1], stages, DIGEST) == assigned
    assert assign_stages(NAMES, stages, "b" * 64) != assigned
    assert len(assigned) == 24, "the others keep their model"


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([], "1 to 20 stages"),
        ([{"percent": 10}] * 21, "1 to 20 stages"),
        (["all"], "stage 1 has devices or percent"),
        ([{"percent": 10, "devices": ["a"]}], "either devices or percent"),
        ([{"wait_s": 10}], "either devices or percent"),
        ([{"percent": 50}, {"percent": 50}], "percent of stage 2 is above 50"),
        ([{"percent": 101}], "at most 100"),
        ([{"percent": float("nan")}], "at most 100"),
        ([{"percent": True}], "at most 100"),
        ([{"percent": 10, "wait_s": -1}], "wait_s of stage 1"),
        ([{"percent": 10, "wait_s": "long"}], "wait_s of stage 1"),
        ([{"devices": "door"}], "a list of names"),
        ([{"devices": []}], "a list of names"),
        ([{"percent": 10, "colour": "red"}], "stage 1 has"),
    ],
)
def test_invalid_stages_are_refused(stages: list[Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_stages(stages)


@pytest.mark.parametrize(
    "limits", [{"colour": 1}, {"failed_share": 2}, {"failed_share": "all"}, {"latency_ratio": 0.5}, {"min_face_s": True}]
)
def test_invalid_limits_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        read_limits(limits)


def test_a_download_address_is_for_one_model_and_expires() -> None:
    expires = START + timedelta(hours=1)
    url = download_url("https://fleet.example.org/", DIGEST, expires, SECRET)
    address, _, query = url.partition("?")
    assert address == f"https://fleet.example.org/api/v1/models/{DIGEST}/file"
    values = dict(part.split("=") for part in query.split("&"))
    until, signature = int(values["expires"]), values["signature"]
    assert is_valid_download(DIGEST, until, signature, SECRET, START)
    assert not is_valid_download(DIGEST, until, signature, SECRET, expires + timedelta(seconds=1))
    assert not is_valid_download(DIGEST, until + 1, signature, SECRET, START)
    assert not is_valid_download("b" * 64, until, signature, SECRET, START)
    assert not is_valid_download(DIGEST, until, signature, b"another", START)
    assert not is_valid_download(DIGEST, until, "\udce9", SECRET, START)
