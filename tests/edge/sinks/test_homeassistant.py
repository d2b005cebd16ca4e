"""What Home Assistant finds at a real broker, and what is no longer there once it is gone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.support import free_port
from maskedge.config import EdgeConfig, load_config
from maskedge.results import FrameResult
from maskedge.runtime.build import build_run, open_detector
from maskedge.runtime.loop import run
from maskedge.sinks.base import Sink
from maskedge.sinks.mqtt.homeassistant import Device, discovery
from maskedge.sinks.mqtt.sink import MqttConfig, MqttSink, reachable_page
from maskedge.sources import DemoSource, VideoFileSource, demo
from maskedge.sources.base import stamp
from maskedge.types import Image

CLIP = "clips/four_people_putting_masks_on.mp4"
ALWAYS = {"door/availability", "door/state"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with an empty memory."""
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.stop()


def entities(listener: Listener) -> dict[str, dict[str, Any]]:
    """The newest configuration of each entity, by component and object."""
    found = {topic: payload for topic, payload, _ in list(listener.messages) if topic.endswith("/config")}
    return {f"{topic.split('/')[1]}/{topic.split('/')[3]}": json.loads(payload) for topic, payload in found.items() if payload}


def retained(broker: Mosquitto) -> set[str]:
    """The topics of which the broker tells somebody who comes now."""
    listener = Listener(broker.port)
    listener.wait_for_retained()
    listener.close()
    return {topic for topic, payload, kept in listener.messages if kept and payload}


def wait_for_retained(broker: Mosquitto, expected: Callable[[], set[str]]) -> None:
    """Wait until the broker keeps exactly these topics."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: retained(broker) == expected(), "the retained topics")
    assert retained(broker) == expected()


def config(folder: Path, broker: Mosquitto, more: str = "", mqtt: str = "") -> EdgeConfig:
    file = folder / "edge.toml"
    file.write_text(
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\ntopic = "door"\nspool = "{folder / "spool"}"\ndiscovery = true\n'
        f"interval = 0.1\n{mqtt}\n{more}"
    )
    return load_config(file, {}).config


RULE = '[[alerts]]\nname = "{name}"\nwhen = "too_many_people"\nthreshold = 1\nactions = ["mqtt"]\n'


@pytest.mark.parametrize("name", ["demo", CLIP])
def test_entities_find_their_values_and_what_only_grows_never_falls(
    name: str, tmp_path: Path, broker: Mosquitto, request: pytest.FixtureRequest
) -> None:
    """Each template is rendered with what a real run published, as Home Assistant renders it."""
    jinja2 = pytest.importorskip("jinja2")
    source = DemoSource() if name == "demo" else VideoFileSource(request.getfixturevalue("data_dir") / name)
    listener = Listener(broker.port)
    zones = '[zones]\nroi = ["left side=0,0 0.5,0 0.5,1 0,1", "right=0.5,0 1,0 1,1 0.5,1"]\n'
    zones += '[[line]]\nname = "mid way"\npoints = "0.5,0 0.5,1"\n'
    own = config(tmp_path, broker, zones + '[detect]\ndetector = "cnn"\n' + RULE.format(name="crowd"))
    detector, sinks = open_detector(own), list[Sink]()
    detector.start_tracking()
    built = build_run(own, source, detector, sinks)
    outcome = run(source, detector, sinks, context=built.context)
    assert outcome.failure is None
    wait_for(lambda: listener.of("door/availability")[-1:] == ["offline"], "the farewell")
    found = entities(listener)
    statistics = [json.loads(payload) for payload in listener.of("door/statistics")]
    assert len(statistics) > 5
    rendered: dict[str, list[float]] = {}
    for identity, entity in found.items():
        if not identity.startswith("sensor/"):
            continue
        template = jinja2.Template(entity["value_template"])
        texts = [template.render(value_json=values) for values in statistics]
        if identity == "sensor/temperature" and texts[0] == "None":
            continue
        rendered[identity] = [float(text) for text in texts]
        if entity["state_class"] == "total_increasing":
            assert rendered[identity] == sorted(rendered[identity]), identity
        if entity["state_class"] == "total":
            starts = {jinja2.Template(entity["last_reset_value_template"]).render(value_json=values) for values in statistics}
            assert len(starts) == 1
            assert starts.pop().endswith("Z")
    assert {"sensor/dropped", "sensor/reconnects", "sensor/people", "sensor/zone_left_side_with_mask"} <= rendered.keys()
    assert rendered["sensor/people"][-1] >= 3
    assert any(rendered["sensor/zone_right_without_mask"])
    crossed = [json.loads(payload) for payload in listener.of("door/events") if '"line_crossed"' in payload]
    # In the clip of four people nobody walks.
    assert len(crossed) == (2 if name == "demo" else 0)
    for direction in ("in", "out"):
        for label in ("with_mask", "without_mask"):
            same = [event for event in crossed if (event["direction"], event["label"]) == (direction, label)]
            assert rendered[f"sensor/line_mid_way_{direction}_{label}"][-1] <= len(same)
    if name == CLIP:
        bare = rendered["sensor/people_without_mask"]
        assert bare != sorted(bare), "people by label do fall"
        assert found["sensor/people_without_mask"]["state_class"] == "total"
    (camera,) = (entity for entity in found.values() if entity.get("device_class") == "connectivity")
    states = [jinja2.Template(camera["value_template"]).render(value_json=json.loads(one)) for one in listener.of("door/state")]
    assert {"ON"} <= set(states) <= {"ON", "OFF"}
    listener.close()


def test_entities_and_their_device() -> None:
    device = Device("maskedge/front_door", "", "1.2", "http://192.0.2.7:8080/")
    names: dict[str, Any] = {"labels": ["with_mask"], "zones": ["a b", "a_b"], "lines": [], "alerts": ["too many"], "expire": 60}
    messages = discovery("ha", device, **names, picture=False)
    found = {topic: json.loads(payload) for topic, payload in messages.items()}
    assert len({entity["unique_id"] for entity in found.values()}) == len(found)
    assert {topic.rsplit("/", 2)[1] for topic in found} == {
        *("faces_with_mask", "people_with_mask", "people", "dropped", "reconnects", "rate", "temperature", "camera"),
        *("zone_a_b_with_mask", "zone_a_b_with_mask_2", "alert_too_many"),
    }
    assert all(entity["availability_topic"] == "maskedge/front_door/availability" for entity in found.values())
    assert all(entity["origin"]["name"] == "maskedge" for entity in found.values())
    assert (
        found["ha/binary_sensor/maskedge_front_door/alert_too_many/config"]["state_topic"] == "maskedge/front_door/alerts/too_many"
    )
    assert found["ha/sensor/maskedge_front_door/people/config"]["device"] == {
        "identifiers": ["maskedge_front_door"],
        "name": "Maskedge front door",
        "manufacturer": "maskedge",
        "model": "edge-run",
        "sw_version": "1.2",
        "configuration_url": "http://192.0.2.7:8080/",
    }
    bare = discovery("ha", replace(device, name="Hall", page=None), **names, picture=True)
    picture = json.loads(bare["ha/image/maskedge_front_door/picture/config"])
    assert picture["image_topic"] == "maskedge/front_door/picture"
    assert picture["content_type"] == "image/jpeg"
    assert picture["device"]["name"] == "Hall"
    assert "configuration_url" not in picture["device"]


@pytest.mark.parametrize(
    ("url", "own_address", "expected"),
    [
        ("http://127.0.0.1:8080/", "192.0.2.7", None),
        ("http://[::1]:8080/", "192.0.2.7", None),
        ("http://localhost:8080/", "192.0.2.7", None),
        ("http://192.0.2.9:8080/", None, "http://192.0.2.9:8080/"),
        ("http://0.0.0.0:8080/", "192.0.2.7", "http://192.0.2.7:8080/"),
        ("http://[::]:8080/", "2001:db8::1", "http://[2001:db8::1]:8080/"),
        ("http://0.0.0.0:8080/", None, None),
        ("http://0.0.0.0:8080/", "127.0.0.1", None),
    ],
)
def test_the_page_is_named_as_others_reach_it(url: str, own_address: str | None, expected: str | None) -> None:
    assert reachable_page(url, own_address) == expected


KILLED = """
import sys, time
from pathlib import Path
from maskedge.sinks.mqtt.sink import MqttConfig, MqttSink
config = MqttConfig(url=sys.argv[1], topic="door", spool=Path(sys.argv[2]), discovery=True, picture=True)
labels = ("with_mask", "without_mask", "incorrect_mask")
sink = MqttSink(config, source="0", snapshot=dict, labels=labels, alerts=("too many", "crowd"), zones=("door",))
sink.set_alert("too many", on=True)
time.sleep(60)
"""


def test_what_is_gone_is_cleared_also_after_a_run_that_was_killed(tmp_path: Path, broker: Mosquitto) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}"
    listener = Listener(broker.port)
    with subprocess.Popen([sys.executable, "-c", KILLED, url, str(tmp_path / "spool")]) as process:
        wait_for(lambda: "ON" in listener.of("door/alerts/too_many"), "the alert")
        wait_for(lambda: "image/picture" in entities(listener), "the entities")
        process.kill()
    alerts = {"door/alerts/too_many", "door/alerts/crowd"}
    wait_for_retained(broker, lambda: {topic for topic, _, _ in listener.messages if topic.endswith("/config")} | alerts | ALWAYS)

    def start(**options: Any) -> MqttSink:
        names = {name: options.pop(name, ()) for name in ("labels", "alerts", "zones")}
        own = MqttConfig(**{"url": url, "topic": "door", "spool": tmp_path / "spool", "discovery": True} | options)
        return MqttSink(own, source="0", snapshot=dict, **names)

    second = start(labels=("with_mask", "without_mask"), alerts=("crowd", "queue"), zones=("desk",))
    expected = {f"homeassistant/{path}/config" for path in own_paths(second)} | {"door/alerts/crowd", "door/alerts/queue"} | ALWAYS
    wait_for_retained(broker, lambda: expected)
    assert not {"homeassistant/image/door/picture/config", "homeassistant/binary_sensor/door/alert_too_many/config"} & expected
    wait_for(lambda: second._spool.retained() == expected, "the note beside the spool")
    # Another set of rules while it runs. The alert of a rule that stays goes on.
    second.set_alert("crowd", on=True)
    second.describe(("crowd", "line"), ())
    wait_for(lambda: listener.of("door/alerts/line")[-1:] == ["OFF"], "the new rule")
    assert listener.of("door/alerts/crowd")[-1] == "ON"
    second.describe(("crowd",), ())
    expected = {f"homeassistant/{path}/config" for path in own_paths(second)} | {"door/alerts/crowd"} | ALWAYS
    wait_for_retained(broker, lambda: expected)
    assert listener.of("door/alerts/crowd")[-1] == "ON"
    second.close()
    wait_for(lambda: listener.of("door/alerts/crowd")[-1] == "OFF", "no alert outlasts the run")
    third = start(discovery=False)
    wait_for_retained(broker, lambda: ALWAYS)
    third.close()
    # Under another prefix nothing is left of the old one.
    fourth = start(topic="hall", discovery=False)
    wait_for(lambda: listener.of("hall/availability") == ["online"], "the greeting")
    wait_for(lambda: fourth._spool.retained() == {"hall/availability", "hall/state"}, "the note beside the spool")
    fourth.close()
    assert listener.of("door/availability")[-1] == listener.of("door/state")[-1] == ""
    listener.close()


def own_paths(sink: MqttSink) -> set[str]:
    return {topic.removeprefix("homeassistant/").removesuffix("/config") for topic in sink._discovery()}


def test_a_reload_clears_what_is_gone(tmp_path: Path, broker: Mosquitto) -> None:
    listener = Listener(broker.port)
    line = '[[line]]\nname = "hall"\npoints = "0.5,0 0.5,1"\n'
    own = config(tmp_path, broker, '[zones]\nroi = ["desk=0,0 1,0 1,1"]\n' + RULE.format(name="crowd") + line)
    sinks: list[Sink] = []
    source = DemoSource()
    built = build_run(own, source, open_detector(own), sinks)
    wait_for(lambda: {"binary_sensor/alert_crowd", "sensor/line_hall_in_with_mask"} <= entities(listener).keys(), "rule and line")
    built.change(config(tmp_path, broker, RULE.format(name="queue")))
    wait_for(lambda: "binary_sensor/alert_queue" in entities(listener), "the new rule")
    wait_for(lambda: listener.of("door/alerts/crowd")[-1] == "", "the end of the old one")
    wait_for(
        lambda: not any("crowd" in one or "desk" in one or "hall" in one for one in entities(listener)), "the end of its entities"
    )
    for sink in sinks:
        sink.close()
    source.close()
    listener.close()


def test_pictures_go_out_where_they_are_allowed_and_as_they_may_leave(tmp_path: Path, broker: Mosquitto) -> None:
    listener = Listener(broker.port)
    image = cv2.resize(demo.draw(200), (1280, 960))
    answer = FrameResult(stamp(np.asarray(image, np.uint8), 0, "0"), [], {}, hidden=[(0.0, 0.0, 1280.0, 960.0)])
    options: dict[str, Any] = {"url": f"mqtt://127.0.0.1:{broker.port}", "topic": "door", "interval": 0.1}
    for folder, allowed in (("without", False), ("with", True)):
        sink = MqttSink(MqttConfig(**options, spool=tmp_path / folder, picture=allowed), source="0", snapshot=dict)
        sink.write(answer)
        seen = len(listener.of("door/statistics"))
        wait_for(lambda seen=seen: len(listener.of("door/statistics")) >= seen + 3, "three statistics")
        sink.close()
        assert len(listener.of("door/picture")) == allowed, "each picture goes out once"
    (jpeg,) = listener.of("door/picture")
    picture = cv2.imdecode(np.frombuffer(jpeg.encode("utf-8", "surrogateescape"), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (480, 640, 3)
    assert cv2.absdiff(picture, cv2.resize(answer.plain, (640, 480))).mean() < 3, "hidden"
    assert "door/picture" not in retained(broker), "the broker keeps none"
    listener.close()


def test_a_picture_that_a_reload_discards_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}", topic="door", spool=tmp_path, picture=True)
    sink = MqttSink(config, source="0", snapshot=dict)

    class Slow(FrameResult):
        @property
        def picture(self) -> Image:
            sink.forget_pictures()  # the loop reloads while this picture is drawn
            return super().picture

    sent: list[str] = []
    monkeypatch.setattr(sink._link, "publish_value", lambda topic, payload, *, retain: sent.append(topic))
    for kind, expected in ((FrameResult, True), (Slow, False)):
        sent.clear()
        sink._state_due = sink._statistics_due = 0.0
        sink.write(kind(stamp(demo.draw(0), 0, "0"), [], {}))
        sink._on_tick()
        assert "door/statistics" in sent
        assert ("door/picture" in sent) == expected
    sink.close()
