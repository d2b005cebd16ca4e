"""The bounds of settings: each number has some, and they are the same for a file, a flag and a program."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from maskedge.alerts.registry import rule_class
from maskedge.config import DetectConfig, LimitsConfig, load_config, section_class, section_names
from maskedge.errors import UsageError
from maskedge.settings import MASK, MOST_TEXT, Range, check_name, shown
from maskedge.sinks.mqtt.sink import MqttConfig
from maskedge.zones import ZonesConfig

NUMBERS = [
    (section, entry)
    for section in (*section_names(), "alerts")
    for entry in fields(section_class(section))
    if "int" in str(entry.type) or "float" in str(entry.type)
]


def test_every_number_has_a_range_that_holds_its_default() -> None:
    assert len(NUMBERS) > 30
    for section, entry in NUMBERS:
        bounds = entry.metadata.get("range")
        assert isinstance(bounds, Range), f"{section}.{entry.name}"
        assert entry.default is None or entry.default in bounds, f"{section}.{entry.name}"
        assert math.isfinite(bounds.high), f"{section}.{entry.name}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1.0, 10**400, -(10**19)])
def test_what_is_out_of_range_is_refused_in_every_section(value: Any) -> None:
    for section, entry in NUMBERS:
        with pytest.raises(UsageError, match=rf"{section}\.{entry.name} takes a number .*from") as refusal:
            section_class(section)(**{entry.name: value})
        assert len(str(refusal.value)) < 200


def test_the_same_range_for_a_file_a_variable_a_flag_and_a_program(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text("[limits]\nthreads = 100000\n[mqtt]\nspool_mb = 1e308\n")
    for load in (
        lambda: load_config(file, {}),
        lambda: load_config(None, {"MASKEDGE_LIMITS_THREADS": "100000"}),
        lambda: load_config(None, {}, {"limits.threads": 100000}),
        lambda: LimitsConfig(threads=100000),
    ):
        with pytest.raises(UsageError, match="takes a number from 1 to 256, got 100000"):
            load()
    with pytest.raises(UsageError, match="spool_mb takes a number from"):
        MqttConfig(spool_mb=1e308)


def test_texts_and_lists_are_bounded() -> None:
    for make, sentence in (
        (lambda: DetectConfig(detector="a" * (MOST_TEXT + 1)), "4096 characters at most"),
        (lambda: DetectConfig(detector="a\0b"), r"U\+0000"),
        (lambda: DetectConfig(detector="a\x1b[2J"), r"U\+001B"),
        (lambda: DetectConfig(detector="\ud800"), r"U\+D800"),
        (lambda: DetectConfig(cascade=Path("~nobody-of-this-name/x.xml")), "home folder that does not exist"),
        (lambda: ZonesConfig(roi=("0,0 1,0 1,1",) * 101), "100 zones at most"),
        (lambda: rule_class()(labels=("a",) * 1001), "1000 items at most"),
    ):
        with pytest.raises(UsageError, match=sentence):
            make()
    # What has lines or any sign: a script, and the name of a file.
    assert rule_class()(command=("sh", "-c", "a\nb")).command[2] == "a\nb"
    assert DetectConfig(cascade=Path("a\x7f\n.xml")).cascade == Path("a\x7f\n.xml")


def test_a_secret_that_is_refused_is_not_repeated() -> None:
    with pytest.raises(UsageError) as refusal:
        MqttConfig(password="geheim\0")  # noqa: S106
    assert "mqtt.password" in str(refusal.value)
    assert "geheim" not in str(refusal.value)


def test_what_is_refused_is_shown_short() -> None:
    assert shown(10**5000) == "a number of 5001 digits"
    assert shown("a" * 1000).endswith("...")
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "too large to show" in shown(deep) or len(shown(deep)) < 80


def test_what_is_refused_is_shown_without_the_credentials_of_an_address() -> None:
    assert shown(["rtsp://u:geheim@h/x"]) == f"['rtsp://{MASK}@h/x']"
    assert shown({"uri": "u:geheim@h", "password": "geheim"}) == f"{{'uri': '{MASK}@h', 'password': '{MASK}'}}"
    assert shown({"u:geheim@h": 1}) == f"{{'{MASK}@h': 1}}"
    assert "geheim" not in shown("rtsp://u:geheim" + "x" * 100 + "@h"), "it is masked before it is cut"
    with pytest.raises(UsageError, match=r"camera\.name contains") as refusal:
        check_name("rtsp://u:geheim@h/x", "camera.name")
    assert "geheim" not in str(refusal.value)


def test_names_of_devices_and_cameras_fit_into_topics_and_paths() -> None:
    for name in ("door", "Tür 2", "入口", "Вход", "a.b-c_d", "x" * 64):
        assert check_name(name, "camera.name") == name
    assert check_name("Tu\u0308r", "camera.name") == "Tür", "names that look the same are the same"
    bad = (
        "",
        "  ",
        "a/b",
        "a+b",
        "a#b",
        "door\n",
        "\0",
        "door \U0001f6aa",
        " door",
        "door ",
        "a  b",
        "..",
        ".hidden",
        "x" * 65,
        "入" * 50,
        "a\tb",
        "\udce9",
    )
    for name in bad:
        with pytest.raises(UsageError, match=r"^camera\.name .*\.$"):
            check_name(name, "camera.name")
