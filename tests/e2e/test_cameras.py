"""Several cameras in one `edge-run`."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import cv2
import numpy as np

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.cameras import LIVE_DEMO, CamerasProcess
from helpers.streams import Stream, until, write_video
from maskedge.types import Image
from maskedge.vision.pipeline import MaskDetector

WRONG = 'source = "rtsp://127.0.0.1:9/none"\n'


def camera(name: str, keys: str = LIVE_DEMO) -> str:
    return f'[[camera]]\nname = "{name}"\n{keys}'


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_camera_is_pulled_again_and_again_while_the_others_lose_no_frame(tmp_path: Path) -> None:
    pulls = 6  # tests/edge/sources/test_live.py pulls twenty times
    stream = Stream("tcp MJPEG", write_video(tmp_path / "clip.mp4"))
    stream.start()
    others = ("door", "hall", "yard")
    text = "".join(map(camera, others)) + camera("pulled", f'source = "{stream.address}"\n')
    try:
        with CamerasProcess(tmp_path, text + "backoff_min = 0.1\nbackoff_max = 0.2\nstall_timeout = 2\n") as run:
            run.wait_open(*others, "pulled")
            # Other programs use the machine too, so some frames are dropped anyway.
            start = {name: run.status(name)["counters"] for name in others}
            time.sleep(6)
            before = {name: run.status(name)["counters"] for name in others}
            for times in range(1, pulls + 1):
                stream.pull()
                until(lambda: run.status("pulled")["source"]["state"] == "lost")
                stream.start(wait=False)
                until(lambda times=times: run.status("pulled")["counters"]["reconnects"] == times, 30)
            after = {name: run.status(name)["counters"] for name in others}
            assert run.end() == 143
    finally:
        stream.pull()
    for name in others:
        captured, dropped = (after[name][key] - before[name][key] for key in ("captured", "dropped"))
        anyway = (before[name]["dropped"] - start[name]["dropped"]) / (before[name]["captured"] - start[name]["captured"])
        assert captured > 20, name
        # Other tests run beside this one: a few frames may be dropped anyway, a lost camera drops many more.
        assert dropped <= max(3, 0.01 * captured, 2 * anyway * captured), (name, start, before, after)
        assert after[name]["reconnects"] == 0, name
    assert all(f"{name} (" in run.printed for name in (*others, "pulled")), "a summary for each camera"
    assert f"lost and opened again {pulls} x" in run.printed


def test_cameras_come_go_and_change_by_a_reload_while_the_others_go_on(tmp_path: Path) -> None:
    kept, changed = camera("kept"), camera("changed")
    with CamerasProcess(tmp_path, kept + changed + camera("removed")) as run:
        run.wait_open("kept", "changed", "removed")
        started = {name: run.status(name)["started"] for name in ("kept", "changed")}
        before = run.status("kept")["counters"]

        run.reload(kept + changed + "[camera.zones]\nroi = ['all=0,0 1,0 1,1 0,1']\n" + camera("added"))
        run.wait_open("added")
        until(lambda: run.status("changed")["zones"])
        assert list(run.cameras()) == ["kept", "changed", "added"]
        assert run.ask("/api/cameras/removed/status")[0] == 404
        assert {name: run.status(name)["started"] for name in started} == started, "neither was started again"
        assert run.status("kept")["zones"] == {}
        assert any("added added; removed removed; changed changed" in line for line in run.errors), run.errors

        # A new source starts that camera alone again. A wrong file changes nothing.
        run.reload(kept + camera("changed", LIVE_DEMO + "width = 320\nheight = 240\n") + camera("added"))
        run.wait_open("changed")
        assert run.status("changed")["started"] != started["changed"]
        run.reload(kept + camera("kept"))
        assert list(run.cameras()) == ["kept", "changed", "added"]
        assert any("two cameras have the name 'kept'" in line for line in run.errors), run.errors

        for number in range(4):
            run.reload(kept + camera(f"added {number}"))
            run.wait_open(f"added {number}")
        after = run.status("kept")
        assert after["started"] == started["kept"]
        captured = after["counters"]["captured"] - before["captured"]
        assert captured > 10
        assert after["counters"]["dropped"] - before["dropped"] <= max(3, 0.01 * captured)
        assert run.end(signal.SIGINT) == 130


def test_a_wrong_camera_costs_the_others_nothing(tmp_path: Path) -> None:
    text = camera("door") + camera("wrong", WRONG) + camera("none", 'source = "nothing.mp4"\n') + camera("hall")
    with CamerasProcess(tmp_path, text, "--max-frames", "25") as run:
        run.wait_open("door", "hall")
        until(lambda: run.status("wrong")["source"]["state"] == "lost")
        assert list(run.cameras()) == ["door", "wrong", "none", "hall"]
        assert (run.cameras()["none"]["state"], run.cameras()["none"]["source"]) == ("ended", None)
        assert "there is no file" in run.cameras()["none"]["sentence"]
        assert any(line.startswith("error: none: there is no file or folder") for line in run.errors), run.errors
        assert run.ask("/healthz")[0] == 503
        metrics = run.get("/metrics").decode()
        assert 'maskedge_source_state{camera="none",state="ended"} 1.0' in metrics
        assert metrics.count('camera="none"') == 4, "it has no other metrics"
        assert run.get("/api/cameras/door/healthz") == b"ok\n"
        until(lambda: [one["name"] for one in run.cameras().values() if one["state"] != "ended"] == ["wrong"])
        assert run.process.poll() is None, "the wrong camera is still tried"
        assert run.end() == 143
    assert "door (demo): 25 frames" in run.printed
    assert "hall (demo): 25 frames" in run.printed


def test_the_exit_code_is_that_of_the_first_camera_that_failed(tmp_path: Path) -> None:
    with CamerasProcess(tmp_path, camera("door") + camera("none", 'source = "nothing.mp4"\n'), "--max-frames", "5") as run:
        assert run.wait() == 3
    with CamerasProcess(tmp_path, camera("door") + camera("hall"), "--max-frames", "5") as run:
        assert run.wait() == 0
    for text, code, sentence in (
        (camera("door") + camera("a", 'source = "udp2://x"\n'), 2, "has an unknown scheme"),
        (camera("door") + "[camera.events]\nfile = '/nowhere/e.jsonl'\n" + camera("hall"), 5, "does not exist"),
        (camera("door") + camera("hall") + "[[camera.alerts]]\nname = 'x'\nwhen = 'person_without_mask'\nzone = 'no'\n", 2, "zone"),
        (camera("picture", f'source = "{tmp_path}/picture.png"\n') + camera("door"), 2, "is no video"),
    ):
        cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((48, 64, 3), np.uint8))
        with CamerasProcess(tmp_path, text) as run:
            assert run.wait() == code, run.errors
            assert sentence in "\n".join(run.errors)
            assert "Traceback" not in "\n".join(run.errors)


def test_every_output_names_camera_and_device(tmp_path: Path) -> None:
    rule = "[[alerts]]\nname = 'bare'\nwhen = 'person_without_mask'\nseconds = 0.1\nactions = ['event', 'snapshot', 'command']\n"
    rule += f"command = ['sh', '-c', 'cat >> {tmp_path}/told.jsonl; echo >> {tmp_path}/told.jsonl']\n"
    outputs = "[events]\nfile = 'events.jsonl'\n[snapshots]\nfolder = 'shots'\n" + rule
    with CamerasProcess(tmp_path, outputs + camera("door") + camera("Tür 2")) as run:
        run.wait_open("door", "Tür 2")
        until(lambda: all(list((tmp_path / "shots" / name).glob("*.jpg")) for name in ("door", "Tür 2")), 60)
        metrics = run.get("/metrics").decode()
        first, own = json.loads(run.get("/api/status")), run.status("door")
        assert (first["camera"], first["device"], first["started"]) == ("door", "pi", own["started"])
        assert run.cameras()["Tür 2"]["path"] == "/api/cameras/T%C3%BCr%202/"
        assert run.get("/api/cameras/T%C3%BCr%202/snapshot.jpg")[:2] == b"\xff\xd8"
        run.end()
    for name in ("door", "Tür 2"):
        assert {(line["camera"], line["device"]) for line in lines(tmp_path / f"events-{name}.jsonl")} == {(name, "pi")}
        assert f'maskedge_frames_processed_total{{camera="{name}"}}' in metrics
        assert f'maskedge_faces{{camera="{name}",label="with_mask"}}' in metrics
        assert any(line.startswith(f"warning: {name}: alert: bare") for line in run.errors), run.errors
    assert metrics.count("# TYPE maskedge_frames_processed_total") == 1
    assert 'maskedge_build_info{detector="cnn",device="pi"' in metrics
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text(encoding="utf-8").splitlines() if line]
    assert {event["camera"] for event in told} == {"door", "Tür 2"}


def test_each_camera_has_topics_and_a_device_in_home_assistant(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    listener = Listener(broker.port)
    mqtt = f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\ndiscovery = true\ninterval = 1\nspool = "spool"\n'
    try:
        with CamerasProcess(tmp_path, mqtt + camera("door") + camera("入口")) as run:
            for name in ("door", "入口"):
                wait_for(lambda name=name: listener.of(f"maskedge/pi/{name}/statistics"), name)
                wait_for(lambda name=name: listener.of(f"maskedge/pi/{name}/events"), name)
                state = json.loads(listener.of(f"maskedge/pi/{name}/state")[-1])
                assert (state["camera"], state["device"]) == (name, "pi")
                assert json.loads(listener.of(f"maskedge/pi/{name}/events")[0])["camera"] == name
            found = {topic: json.loads(text) for topic, text, _ in listener.messages if topic.startswith("homeassistant/") and text}
            devices = {message["device"]["identifiers"][0]: message["device"] for message in found.values()}
            assert len(devices) == 3, "two cameras and the device that runs them"
            assert {device.get("via_device") for name, device in devices.items() if name != "maskedge_pi"} == {"maskedge_pi"}
            assert (tmp_path / "spool" / "door" / "spool.sqlite3").exists()

            run.reload(mqtt + camera("door"))
            own = [
                topic
                for topic, message in found.items()
                if message["device"]["identifiers"][0] not in ("maskedge_pi", "maskedge_pi_door")
            ]
            assert own
            wait_for(lambda: all(listener.of(topic)[-1] == "" for topic in own), "the removed camera to disappear")
            assert run.end() == 143
        wait_for(lambda: listener.of("maskedge/pi/door/availability")[-1] == "offline", "offline")
    finally:
        listener.close()
        broker.stop()


def decode(jpeg: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_privacy_of_one_camera_holds_in_every_output(tmp_path: Path) -> None:
    outputs = "[events]\nfile = 'events.jsonl'\n"
    text = outputs + camera("hidden") + "[camera.privacy]\nanonymize = true\n" + camera("open") + camera("counted")
    text += "[camera.privacy]\nstats_only = true\nanonymize = true\n[camera.web]\npicture = false\n"
    with CamerasProcess(tmp_path, text, "--save", "video.mp4") as run:
        run.wait_open("hidden", "open", "counted")
        until(lambda: all(sum(run.status(name)["people"].values()) >= 3 for name in ("hidden", "open", "counted")), 90)
        pictures: dict[str, list[Image]] = {"hidden": [], "open": [], "counted": []}
        for _ in range(5):
            pictures["hidden"].append(decode(run.get("/snapshot.jpg")))
            pictures["hidden"].append(decode(run.get("/api/cameras/hidden/snapshot.jpg")))
            pictures["open"].append(decode(run.get("/api/cameras/open/snapshot.jpg")))
            time.sleep(0.3)
        assert run.ask("/api/cameras/counted/snapshot.jpg")[0] == 403
        run.end()
    for name in ("hidden", "open", "counted"):
        capture = cv2.VideoCapture(str(tmp_path / f"video-{name}.mp4"))
        while (frame := capture.read()[1]) is not None:
            pictures[name].append(np.asarray(frame, np.uint8))
    judge = MaskDetector(detector="cnn")
    found = {name: [len(judge(picture)) for picture in shown] for name, shown in pictures.items()}
    assert sum(map(bool, found["open"])) > len(found["open"]) / 2, "the check finds what is not hidden"
    assert not any(found["hidden"])
    assert not any(found["counted"])
    counted, others = lines(tmp_path / "events-counted.jsonl"), lines(tmp_path / "events-open.jsonl")
    assert any(line.get("faces") for line in counted)
    assert "track" not in json.dumps(counted)
    assert '"box"' not in json.dumps(counted)
    assert '"box"' in json.dumps(others)


def test_systemd_is_told_when_all_loops_run(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)

        def wait(word: str) -> None:
            while not manager.recv(4096).decode().startswith(word):
                pass

        more = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with CamerasProcess(tmp_path, camera("door") + camera("wrong", WRONG), more=more) as run:
            for word in ("READY=1", "WATCHDOG=1", "WATCHDOG=1"):
                wait(word)
            run.process.send_signal(signal.SIGHUP)
            for word in ("RELOADING=1", "READY=1", "WATCHDOG=1"):
                wait(word)
            assert run.end() == 143
        wait("STOPPING=1")


def test_cameras_are_named_on_the_command_line(tmp_path: Path) -> None:
    with CamerasProcess(tmp_path, "", "--camera", "door=demo", "--camera", "hall=demo", "--live", "--max-frames", "10") as run:
        assert run.wait() == 0, run.errors
    assert "door (demo): 10 frames" in run.printed
    assert "hall (demo): 10 frames" in run.printed
    for arguments, sentence in (
        (("--camera", "0", "--camera", "1"), "give each camera a name"),
        (("--camera", "a=demo", "--camera", "1"), "give each camera a name"),
        (("--camera", "a=demo", "--source", "demo"), "exclude each other"),
        (("--camera", "a=demo", "--camera", "A=demo"), "two cameras have the name 'a'"),
        (("--camera", "a/b=demo"), "contains '/'"),
        (("--camera", "a=0", "--camera", "b=/dev/video0"), "have the same device /dev/video0"),
    ):
        with CamerasProcess(tmp_path, "", *arguments) as run:
            assert run.wait() == 2, run.errors
            assert sentence in "\n".join(run.errors)
