"""`edge-run` in fleet mode: a real broker, real signed commands."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import random
import shutil
import signal
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from helpers.brokers import Listener, Mosquitto, wait_for
from helpers.fleet.device_process import LIVE_DEMO, DeviceProcess
from helpers.fleet.small_server import Fleet, Signer, identity_of

ALL = ("reload", "restart", "snapshot", "privacy", "log_level")
NAMED = "".join(f'[[camera]]\nname = "{name}"\nsource = "demo"\nlive = true\nloop = true\nfps = 5\n' for name in ("till", "hall"))


def allowing(signer: Signer, *commands: str) -> str:
    return f'commands = {json.dumps(list(commands or ALL))}\ntrusted_keys = ["{signer.public}"]'


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture
def fleet(broker: Mosquitto) -> Iterator[Fleet]:
    fleet = Fleet(broker.port)
    yield fleet
    fleet.close()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.fixture
def open_device(tmp_path: Path, broker: Mosquitto) -> Iterator[Callable[..., DeviceProcess]]:
    opened: list[DeviceProcess] = []

    def open_one(fleet: str = "", more: str = LIVE_DEMO) -> DeviceProcess:
        opened.append(DeviceProcess(tmp_path, broker.port, fleet, more))
        if "commands" in fleet:
            # The broker drops a command to a device that has never been there.
            wait_for(lambda: "maskedge/door/command (QoS 1)" in broker.log() or opened[-1].process.poll(), "the device")
        return opened[-1]

    yield open_one
    for device in opened:
        if device.process.poll() is None:
            device.kill()


def test_each_command_of_a_device_with_one_camera(
    tmp_path: Path, fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device(allowing(signer))
    answer = fleet.order(signer.sign("log_level", {"level": "debug"}), "done")
    assert answer["command"] == "log_level"
    assert "debug" in answer["sentence"]
    wait_for(lambda: "face appeared" in device.log, "a line of the level debug")

    device.write(allowing(signer), LIVE_DEMO + "[detect]\nevery = 3\n")
    answer = fleet.order(signer.sign("reload"), "done")
    assert "changed detect.every" in answer["sentence"]
    device.write(allowing(signer), LIVE_DEMO + "[detect]\nevery = 0\n")
    answer = fleet.order(signer.sign("reload"), "failed")
    assert "detect.every takes a number from 1" in answer["sentence"]
    device.write(allowing(signer))

    answer = fleet.order(signer.sign("snapshot", {"camera": "camera"}), "done")
    assert answer["details"]["anonymized"] is False
    wait_for(lambda: fleet.pictures, "the picture")
    assert fleet.pictures[0][0] == "maskedge/door/snapshot/camera"
    assert _size(fleet.pictures[0][1]) == answer["details"]["size"]
    answer = fleet.order(signer.sign("snapshot", {"camera": "cellar"}), "refused")
    assert answer["sentence"] == "snapshot takes as camera one of camera."

    answer = fleet.order(signer.sign("privacy", {"anonymize": True}), "done")
    assert answer["details"] == {"on": ["anonymize"]}
    answer = fleet.order(signer.sign("snapshot", {"camera": "camera"}), "done")
    assert answer["details"]["anonymized"] is True
    assert "pixelated" in answer["sentence"]

    before = device.process.pid
    answer = fleet.order(signer.sign("restart"), "done")
    assert "was started again" in answer["sentence"]
    assert device.process.pid == before
    assert device.process.poll() is None
    answer = fleet.order(signer.sign("snapshot", {"camera": "camera"}), "done")
    assert answer["details"]["anonymized"] is True, "stricter privacy survives a restart"
    fleet.order(signer.sign("privacy", {"stats_only": True}), "done")
    answer = fleet.order(signer.sign("snapshot", {"camera": "camera"}), "refused")
    assert "stats_only" in answer["sentence"]
    answer = fleet.order(signer.sign("privacy", {"anonymize": False, "stats_only": False}), "done")
    assert answer["details"] == {"on": []}
    device.write(allowing(signer, *ALL, "update_model"))
    fleet.order(signer.sign("reload"), "done")
    answer = fleet.order(signer.sign("update_model", {}), "refused")
    assert "set model.trusted_keys" in answer["sentence"]
    assert device.end() == 143


def test_a_device_that_may_be_updated_refuses_a_model_without_a_valid_signature(
    fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device(allowing(signer, "update_model"), f'{LIVE_DEMO}[model]\ntrusted_keys = ["bundled"]\n')
    for arguments in ({}, {"url": "https://localhost/x", "sha256": "0" * 64, "size": 1, "kind": "classifier", "signature": {}}):
        answer = fleet.order(signer.sign("update_model", arguments), "failed")
        assert "update_model needs url" in answer["sentence"] or "signature" in answer["sentence"]
    assert "no model to go back to" in fleet.order(signer.sign("revert_model", {"kind": "classifier"}), "failed")["sentence"]
    assert device.end() == 143


def test_a_command_cannot_weaken_the_privacy_of_the_file(
    fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    open_device(allowing(signer), LIVE_DEMO + "[privacy]\nanonymize = true\n")
    answer = fleet.order(signer.sign("privacy", {"anonymize": False}), "refused")
    assert answer["sentence"] == "the device's own file sets privacy.anonymize, and a command cannot turn it off."
    for arguments in ({}, {"anonymize": 1}, {"no_reidentification": False}, {"anonymize": None}):
        assert "takes anonymize and stats_only" in fleet.order(signer.sign("privacy", arguments), "refused")["sentence"]
    answer = fleet.order(signer.sign("snapshot", {"camera": "camera"}), "done")
    assert answer["details"]["anonymized"] is True


def test_each_command_of_a_device_with_named_cameras(
    tmp_path: Path, fleet: Fleet, signer: Signer, broker: Mosquitto, open_device: Callable[..., DeviceProcess]
) -> None:
    listener = Listener(broker.port, "maskedge/door/+/+")
    device = open_device(allowing(signer), NAMED)
    answer = fleet.order(signer.sign("snapshot", {"camera": "hall"}), "done", 60)
    assert answer["details"]["camera"] == "hall"
    wait_for(lambda: fleet.pictures, "the picture")
    assert fleet.pictures[0][0] == "maskedge/door/snapshot/hall"
    fleet.order(signer.sign("privacy", {"anonymize": True}), "done")
    for name in ("till", "hall"):
        assert fleet.order(signer.sign("snapshot", {"camera": name}), "done")["details"]["anonymized"] is True
    device.write(allowing(signer, "reload", "restart"), NAMED.partition('[[camera]]\nname = "hall"')[0])
    assert "removed hall" in fleet.order(signer.sign("reload"), "done")["sentence"]
    wait_for(lambda: json.loads(listener.of("maskedge/door/till/state")[-1])["commands"] == ["reload", "restart"], "the state")
    device.write(allowing(signer, "reload", "restart"), "no TOML")
    assert "is not TOML" in fleet.order(signer.sign("reload"), "failed")["sentence"]
    device.write(allowing(signer, "reload", "restart"), NAMED)
    fleet.order(signer.sign("restart"), "done", 60)
    states = [json.loads(payload) for payload in listener.of("maskedge/door/till/state")]
    assert {len(state["instance"]) for state in states} == {16}
    assert len({state["instance"] for state in states}) == 1, "the identity of the installation survives a restart"
    assert states[-1]["model"]["release"] >= 1
    assert len(states[-1]["detector_model"]["sha256"]) == 64
    assert device.end() == 143
    listener.close()


@pytest.mark.parametrize("source", [LIVE_DEMO, NAMED])
def test_a_device_whose_file_became_invalid_is_not_ended_by_a_command(
    fleet: Fleet, signer: Signer, source: str, open_device: Callable[..., DeviceProcess]
) -> None:
    """Nobody may be there to mend the file."""
    device = open_device(allowing(signer), source)
    device.write(allowing(signer), source + "[nonsense]\nkey = 1\n")
    answer = fleet.order(signer.sign("restart"), "failed")
    assert answer["sentence"].startswith("edge-run was not restarted, because the next start would fail: ")
    assert "there is no section [nonsense]" in answer["sentence"]
    # Privacy that could not be put into effect does not come into effect at some later reload.
    assert "was not reloaded" in fleet.order(signer.sign("privacy", {"anonymize": True}), "failed")["sentence"]
    device.write(allowing(signer), source)
    assert "nothing changed" in fleet.order(signer.sign("reload"), "done")["sentence"]
    camera = "till" if source == NAMED else "camera"
    assert fleet.order(signer.sign("snapshot", {"camera": camera}), "done")["details"]["anonymized"] is False
    (device.state.parent / "fleet.pub").rename(device.state.parent / "gone.pub")
    assert "fleet.pub cannot be read" in fleet.order(signer.sign("restart"), "failed")["sentence"]
    (device.state.parent / "gone.pub").rename(device.state.parent / "fleet.pub")
    fleet.order(signer.sign("restart"), "done", 60)
    assert device.end() == 143


def test_a_video_that_exists_refuses_a_restart(
    tmp_path: Path, fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    """The next start would refuse it: only the video of a live source is kept under another name."""
    output = f'[output]\nsave = "{tmp_path}/saved.mp4"\n[limits]\nthreads = 1\n'
    device = open_device(allowing(signer), f'[source]\nuri = "demo"\nloop = true\n{output}')
    wait_for((tmp_path / "saved.mp4").exists, "the video")
    answer = fleet.order(signer.sign("restart"), "failed")
    assert "saved.mp4 exists already: add --overwrite" in answer["sentence"]
    assert device.end() == 143


def test_a_restart_is_a_reload_for_systemd(
    tmp_path: Path, fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        device = open_device(allowing(signer))
        words: list[str] = []

        def wait(word: str) -> None:
            while not words or words[-1] != word:
                words.append(manager.recv(4096).decode().split("\n")[0])

        wait("READY=1")
        restart = signer.sign("restart")
        fleet.publish("command", restart)
        wait("RELOADING=1")
        wait("READY=1")
        fleet.answer_to(restart, "done")
        assert "STOPPING=1" not in words
        assert device.end() == 143
        wait("STOPPING=1")


def test_commands_are_off_by_default_and_only_those_listed_are_taken(
    fleet: Fleet, signer: Signer, broker: Mosquitto, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device()
    wait_for(lambda: fleet.stored, "the first message")
    fleet.publish("command", signer.sign("restart"))
    device.reload(allowing(signer, "reload"))
    wait_for(lambda: "maskedge/door/command (QoS 1)" in broker.log(), "the device")
    answer = fleet.order(signer.sign("reload"), "done")
    assert answer["status"] == "done"
    restart = signer.sign("restart")
    answer = fleet.order(restart, "refused")
    assert answer["sentence"] == "the device does not allow restart: fleet.commands does not list it."
    device.reload(allowing(signer, "reload", "restart"))
    fleet.order(signer.sign("reload"), "done")
    fleet.publish("command", restart)
    wait_for(lambda: sum(one["id"] == identity_of(restart) for one in fleet.answers) == 2, "the stored answer")
    assert {one["status"] for one in fleet.answers if one["id"] == identity_of(restart)} == {"refused"}
    assert fleet.order(signer.sign("dance"), "refused")["sentence"].startswith("the device does not allow")
    assert len(fleet.answers) == 5
    assert device.end() == 143


def test_a_key_that_a_reload_removes_is_not_trusted_any_more(
    tmp_path: Path, fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    other = Signer(tmp_path, "other")
    both = f'commands = ["reload"]\ntrusted_keys = ["{signer.public}", "{other.public}"]'
    device = open_device(both)
    fleet.order(signer.sign("reload"), "done")
    fleet.order(other.sign("reload"), "done")
    device.reload(allowing(other, "reload"))
    wait_for(lambda: "changed fleet.trusted_keys" in device.log, "the reload")
    fleet.publish("command", signer.sign("reload"))
    fleet.order(other.sign("reload"), "done")
    assert len(fleet.answers) == 3
    (tmp_path / "other.pub").unlink()
    answer = fleet.order(other.sign("reload"), "failed")
    assert "other.pub" in answer["sentence"], "a configuration with a missing key is not taken, and the old one stays"
    assert device.end() == 143


def forge(signer: Signer, stranger: Signer, random: random.Random) -> list[bytes]:
    """Return 1,000 messages that are no commands of the trusted key to this device, or that are too late."""
    raw = signer.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def rebuild(token: str, header: dict[str, Any], secret: bytes | None) -> str:
        """Return the same claims under another header, signed with HMAC or not at all."""
        part = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        text = f"{part}.{token.split('.')[1]}"
        digest = b"" if secret is None else hmac.new(secret, text.encode(), hashlib.sha256).digest()
        return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

    def valid(**claims: Any) -> str:
        return signer.sign("restart", **claims)

    def strange() -> str:
        header = {"kid": random.choice([signer.identity, stranger.identity])}
        return jwt.encode(jwt.decode(stranger.sign("restart"), options={"verify_signature": False}), stranger.key, "EdDSA", header)

    def flipped() -> bytes:
        token = bytearray(valid().encode())
        place = random.randrange(len(token) - 2)
        token[place] ^= 1 << random.randrange(7)
        return bytes(token)

    kinds: list[Callable[[], str | bytes]] = [
        strange,
        flipped,
        lambda: (token := valid())[: random.randrange(len(token) - 2)],
        lambda: rebuild(valid(), {"alg": "none", "kid": signer.identity}, None),
        lambda: rebuild(valid(), {"alg": "none", "kid": signer.identity}, b"x"),
        lambda: rebuild(valid(), {"alg": "HS256", "kid": signer.identity}, random.choice([raw, pem, b""])),
        lambda: rebuild(valid(), {"alg": "EdDSA", "kid": signer.identity}, pem),
        lambda: rebuild(valid(), {"alg": "EdDSA"}, None),
        lambda: valid(aud=random.choice(["window", "", ["door"], ["door", "window"], None, 7, "maskedge/door"])),
        lambda: valid(**{random.choice(["jti", "seq", "cmd", "args", "iat", "exp"]): random.choice([None, [], True, -1])}),
        lambda: valid(exp=random.choice([float("nan"), float("inf"), 1e300])),
        lambda: random.randbytes(random.randrange(1, 2000)),
        lambda: "." * random.randrange(1, 200),
        lambda: b"[" * random.randrange(1, 16000),
        lambda: valid(args={"x": "y" * 20_000}),
    ]
    return [item if isinstance(item := kind(), bytes) else item.encode() for number in range(1000) for kind in [kinds[number % 15]]]


def test_none_of_1000_forged_truncated_and_foreign_commands_is_taken(
    tmp_path: Path, fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device(allowing(signer))
    fleet.order(signer.sign("log_level", {"level": "info"}), "done")
    pid = device.process.pid
    signer.sequence = 10
    chance = random.Random(4)  # noqa: S311  (no secret)
    for message in forge(signer, Signer(tmp_path, "stranger"), chance):
        fleet.publish("command", message)
    fleet.publish("command", b"x" * 10_000_000)
    signer.sequence = 10_000
    answer = fleet.order(signer.sign("log_level", {"level": "debug"}), "done", 60)
    assert answer["status"] == "done"
    assert len(fleet.answers) == 2, "a message that is not verified is not answered"
    assert device.process.poll() is None
    assert device.process.pid == pid
    assert "was started again" not in json.dumps(fleet.answers)
    assert "Traceback" not in device.log
    assert device.log.count("was not taken") <= 3, "the log is not flooded"
    assert device.end() == 143


def test_expired_replayed_and_reordered_commands_are_harmless(
    fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device(allowing(signer, "log_level", "restart"))
    expired = signer.sign("restart", iat=1_700_000_000, exp=1_700_000_060)
    assert "expired at 2023-11-14T22:14:20.000Z" in fleet.order(expired, "refused")["sentence"]
    early = signer.sign("restart", iat=4_000_000_000, exp=4_000_000_060)
    assert "set the clock" in fleet.order(early, "refused")["sentence"]
    first, second, third = (signer.sign("log_level", {"level": level}) for level in ("debug", "info", "warning"))
    fleet.order(first, "done")
    fleet.order(third, "done")
    assert "was taken before" in fleet.order(second, "refused")["sentence"]
    count = len(fleet.answers)
    for _ in range(20):
        for token in (first, second, third, expired, early):
            fleet.publish("command", token)
    wait_for(lambda: len(fleet.answers) == count + 80, "the same answers; none to the one that has expired and is old")
    statuses = {one["id"]: one["status"] for one in fleet.answers}
    assert [statuses[identity_of(token)] for token in (first, second, third, expired, early)] == [
        "done", "refused", "done", "refused", "refused"
    ]  # fmt: skip
    device.kill()
    device.start()
    fleet.publish("command", third)
    wait_for(lambda: len(fleet.answers) == count + 81, "the stored answer")
    again = signer.sign("log_level", {"level": "error"}, seq=2)
    assert "was taken before" in fleet.order(again, "refused")["sentence"], "the numbers survive kill -9"


def test_an_answer_survives_a_broker_that_is_away(
    fleet: Fleet, signer: Signer, broker: Mosquitto, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device(allowing(signer, "log_level", "restart"))
    fleet.order(signer.sign("log_level", {"level": "debug"}), "done")
    restart = signer.sign("restart")
    fleet.publish("command", restart)
    fleet.answer_to(restart, "progress")
    broker.stop()
    wait_for(lambda: device.log.count("was started again") == 1, "the restart", 60)
    device.kill()
    broker.start()
    device.start()
    assert "was started again" in fleet.answer_to(restart, "done", 60)["sentence"]


def test_a_command_that_was_sent_while_the_device_was_off_is_taken_once_it_is_back(
    fleet: Fleet, signer: Signer, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device(allowing(signer, "log_level"))
    fleet.order(signer.sign("log_level", {"level": "info"}), "done")
    device.kill()
    late, expired = signer.sign("log_level", {"level": "debug"}), signer.sign("log_level", {"level": "error"}, exp=1_700_000_000)
    fleet.publish("command", late)
    fleet.publish("command", expired)
    device.start()
    fleet.answer_to(late, "done")
    fleet.answer_to(expired, "refused")


def test_every_event_and_count_of_a_killed_device_reaches_the_fleet(
    fleet: Fleet, broker: Mosquitto, open_device: Callable[..., DeviceProcess], tmp_path: Path
) -> None:
    device = open_device(more=LIVE_DEMO + f'[events]\nfile = "{tmp_path}/events.jsonl"\nframes = false\n')

    def arrived() -> list[dict[str, Any]]:
        return [message for topic, message in list(fleet.stored.values()) if topic == "maskedge/door/events"]

    def counted() -> list[dict[str, Any]]:
        messages = [message for topic, message in list(fleet.stored.values()) if topic == "maskedge/door/statistics"]
        return [entry for message in messages for entry in message["minutes"] if entry["face_s"]]

    needed: list[dict[str, Any]] = []
    for _ in range(2):
        before = len(counted())
        wait_for(lambda before=before: len(counted()) > before, "the counts of faces")
        broker.stop(signal.SIGKILL)
        confirmed = len(arrived())
        wait_for(lambda confirmed=confirmed: len(_events(tmp_path)) > confirmed, "more events")
        needed = _events(tmp_path)
        # An event is in the file before it is in the spool.
        wait_for(lambda needed=needed: _moments(needed) <= _moments(arrived() + _waiting(device)), "the events in the spool")
        device.kill()
        known = len(_events(tmp_path))
        broker.start()
        device.start()
    wait_for(lambda: len(_events(tmp_path)) > known, "events of the new process")
    assert device.end() == 143
    device.start()
    last = _events(tmp_path)[-1]
    written = _moments([*needed, last])
    wait_for(lambda: written <= _moments(arrived()), "every event")
    assert len({message["id"].split("-")[0] for message in arrived()}) == 1


@pytest.mark.parametrize(
    ("fleet_keys", "more", "sentence"),
    [
        ('commands = ["reload"]\ntrusted_keys = ["none.pub"]', "", "none.pub"),
        ('commands = ["reload"]', "", "set [fleet] trusted_keys"),
        ('commands = ["dance"]\ntrusted_keys = ["none.pub"]', "", "fleet.commands takes reload"),
        ("", '[[camera]]\nname = "snapshot"\nsource = "demo"\n', "topics with the name snapshot"),
        ("", '[[camera]]\nname = "a"\nsource = "demo"\n[camera.fleet]\nenabled = false', "is the same for all cameras"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused_before_anything_is_opened(
    fleet_keys: str, more: str, sentence: str, open_device: Callable[..., DeviceProcess]
) -> None:
    device = open_device(fleet_keys, more or LIVE_DEMO)
    assert device.process.wait(60) == 2
    assert sentence in device.log


def _events(folder: Path) -> list[dict[str, Any]]:
    """Return the events in the file that the device writes."""
    lines = (folder / "events.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _waiting(device: DeviceProcess) -> list[dict[str, Any]]:
    """Return the events in the spool of a device, read from a copy: the device keeps the file for itself."""
    (path,) = device.state.rglob("spool.sqlite3")
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(sqlite3.DatabaseError):
        for file in (path, path.with_name(f"{path.name}-wal")):
            shutil.copy(file, folder)
        with contextlib.closing(sqlite3.connect(Path(folder, path.name))) as base:
            return [json.loads(payload) for (payload,) in base.execute("SELECT payload FROM messages WHERE topic = 'events'")]
    return []  # copied in the middle of a change


def _moments(events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Return what tells events apart."""
    return {(event["event"], event["time"], event.get("track")) for event in events}


def _size(jpeg: bytes) -> list[int]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return [image.shape[1], image.shape[0]]
