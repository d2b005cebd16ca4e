"""When alerts begin and end, and what they do: a real web server, real programs, real files."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.brokers import wait_for
from helpers.support import free_port
from maskedge import Face, Frame, UsageError
from maskedge.alerts.actions import Actions
from maskedge.alerts.engine import AlertEngine
from maskedge.alerts.registry import rule_class
from maskedge.alerts.rules import AlertRule
from maskedge.events import ALERT, ALERT_ENDED, OUTPUT_BACK, OUTPUT_LOST, SOURCE_BACK, SOURCE_LOST, Event
from maskedge.results import FrameResult
from maskedge.sinks.base import Sink
from maskedge.sinks.clips import ClipsConfig, ClipSink
from maskedge.sinks.retention import Retention, prune
from maskedge.sinks.snapshots import SnapshotsConfig, SnapshotStore
from maskedge.support.workers import Worker, child_environment
from maskedge.zones import Zones

TEXTS = ["left=0,0 0.5,0 0.5,1 0,1"]
ZONES = Zones.parse(TEXTS)
WAITS = (0.05, 0.05, 0.05)


def answer(seconds: float, labels: str = "", *, x: float = 10, image: Any = None) -> FrameResult:
    """A frame at a time, with a face for each letter: m with a mask, n without, u unsure."""
    names = {"m": "with_mask", "n": "without_mask", "u": "without_mask"}
    faces = [
        Face((x - 5, 10, x + 5, 20), names[sign], 0.9, names[sign], 0.9, track, unsure=sign == "u")
        for track, sign in enumerate(labels)
    ]
    picture = np.zeros((50, 100, 3), np.uint8) if image is None else image
    return FrameResult(Frame(picture, round(seconds * 10), 1e9 + seconds, seconds, "0", seconds), faces, {})


def play(rule: AlertRule, scenes: str | list[str], *, step: float = 0.5, x: float = 10) -> list[tuple[float, str, dict[str, Any]]]:
    """Show frames every half second; give when which event came with which details."""
    engine = AlertEngine([rule], ZONES, "0")
    return [
        (index * step, event.kind, dict(event.details))
        for index, labels in enumerate(scenes)
        for _, event in engine.observe(answer(index * step, labels.strip(), x=x))
    ]


def rule(when: str, **options: Any) -> AlertRule:
    return rule_class()(**({"name": "rule one", "when": when, "cooldown": 0.0} | options))


def test_fraction_without_a_mask_over_a_window() -> None:
    fraction = rule("no_mask_fraction", threshold=0.5, seconds=5)
    begun, ended = play(fraction, ["mn"] * 20 + ["mmn"] * 20)
    assert begun == (5.0, ALERT, {"rule": "rule one", "when": "no_mask_fraction", "fraction": 0.5, "faces": 20, "window_s": 5})
    assert ended[:2] == (10.0, ALERT_ENDED)
    assert ended[2]["lasted_s"] == 5.0
    # The window must be full; nobody is no alert; who is unsure does not count.
    assert play(fraction, ["n"] * 10) == []
    assert play(fraction, [""] * 40) == []
    assert play(fraction, ["mnu"] * 12)[0][0] == 5.0
    assert play(fraction, ["mmn"] * 40) == []


def test_person_without_a_mask_for_long() -> None:
    person = rule("person_without_mask", seconds=3)
    assert [found[:2] for found in play(person, ["n"] * 10 + ["m"] * 4)] == [(3.0, ALERT), (5.0, ALERT_ENDED)]
    assert [found[:2] for found in play(person, ["n"] * 10 + ["u"] * 4)] == [(3.0, ALERT), (6.0, ALERT_ENDED)]
    # Two people, one after the other, are no one for long; a face that is missed for a moment is still the same.
    assert play(person, ["nm"] * 5 + ["mn"] * 5 + ["mm"] * 9) == []
    (begun, *_) = play(person, ["n", "n", " ", "n", "n", " ", "n", "n", "n"])
    assert begun == (3.0, ALERT, {"rule": "rule one", "when": "person_without_mask", "tracks": [0], "longest_s": 3.0})
    strict = replace(person, labels=("with_mask",))
    assert play(strict, ["m"] * 8)[0][0] == 3.0


@pytest.mark.parametrize("when", ["no_mask_fraction", "person_without_mask", "too_many_people"])
@pytest.mark.parametrize(("gap", "kinds"), [(600.0, []), (0.5, [ALERT])])
def test_the_time_without_a_camera_counts_for_no_alert(
    monkeypatch: pytest.MonkeyPatch, when: str, gap: float, kinds: list[str]
) -> None:
    engine = AlertEngine([rule(when, threshold=0.5, seconds=2.5)], ZONES, "0")
    found = [engine.observe(answer(second, "n")) for second in (0.0, 0.5, 1.0)]
    for kind, moment in ((SOURCE_LOST, 1.2), (SOURCE_BACK, 1.2 + gap)):
        monkeypatch.setattr("maskedge.alerts.engine.time.perf_counter", lambda moment=moment: moment)
        found.append(engine.handle_event(Event(kind, 1e9 + moment, "0", {})))
    found += [engine.observe(answer(1.2 + gap + second, "n")) for second in (0.3, 0.8, 1.3)]
    assert [change.event.kind for changes in found for change in changes] == kinds


def test_alerts_of_rules_that_stay_the_same_go_on_after_a_reload() -> None:
    first = rule("too_many_people", name="stays", threshold=0, zone="left", cooldown=10.0)
    second, third = replace(first, name="changes"), replace(first, name="goes")
    engine = AlertEngine([first, second, third], ZONES, "0")
    assert [change.rule.name for change in engine.observe(answer(0, "m"))] == ["stays", "changes", "goes"]
    engine.observe(answer(4, "m"))
    following = AlertEngine([replace(second, threshold=5), first], Zones.parse(["right=1,0 1,1 0.5,1", *TEXTS]), "0")
    ended = engine.hand_over(following)
    assert [(change.rule.name, change.event.kind, change.event.details["lasted_s"]) for change in ended] == [
        ("changes", ALERT_ENDED, 4.0),
        ("goes", ALERT_ENDED, 4.0),
    ]
    assert [active["rule"] for active in following.active()] == ["stays"]
    # It neither begins again nor forgets its beginning and its cooldown.
    assert following.observe(answer(5, "m")) == []
    ((_, event),) = following.observe(answer(6.5))
    assert (event.kind, event.details["lasted_s"]) == (ALERT_ENDED, 6.5)
    assert following.observe(answer(8, "m")) == []
    # Another zone of the same name is another rule.
    following.observe(answer(11, "m"))
    moved = AlertEngine([first], Zones.parse(["left=0,0 0.4,0 0.4,1 0,1"]), "0")
    assert [change.rule.name for change in following.hand_over(moved)] == ["stays"]
    assert [change.event.kind for change in moved.observe(answer(12, "m"))] == [ALERT]
    assert [change.event.kind for change in moved.hand_over(None)] == [ALERT_ENDED]


def test_a_reload_while_the_camera_is_lost_keeps_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr("maskedge.alerts.engine.time.perf_counter", lambda: float(next(clock)))
    lost, added = rule("camera_lost"), rule("camera_lost", name="added", seconds=1.5)
    engine = AlertEngine([lost], ZONES, "0")
    assert [change.event.kind for change in engine.handle_event(Event(SOURCE_LOST, 1e9, "0", {}))] == [ALERT]
    following = AlertEngine([lost, added], ZONES, "0")
    assert engine.hand_over(following) == []
    found = [(rule.name, event.kind) for _ in range(4) for rule, event in following.tick()]
    assert found == [("added", ALERT)]
    found = [(rule.name, event.kind) for rule, event in following.handle_event(Event(SOURCE_BACK, 1e9, "0", {}))]
    assert found == [("rule one", ALERT_ENDED), ("added", ALERT_ENDED)]


def test_too_many_people_and_zones() -> None:
    many = rule("too_many_people", threshold=2, zone="left")
    assert play(many, ["mm", "mmn", "mmn", "m", "m", "m", "m"]) == [
        (0.5, ALERT, {"rule": "rule one", "when": "too_many_people", "zone": "left", "people": 3}),
        (2.5, ALERT_ENDED, {"rule": "rule one", "when": "too_many_people", "zone": "left", "lasted_s": 2.0}),
    ]
    assert play(many, ["mmm"] * 5, x=90) == []


def test_cooldown_counts_from_the_beginning() -> None:
    scenes = (["mmm"] + ["m"] * 3) * 10
    many = rule("too_many_people", threshold=2)
    begins = [seconds for seconds, kind, _ in play(replace(many, cooldown=5), scenes) if kind == ALERT]
    assert begins == [0.0, 6.0, 12.0, 18.0]
    assert len([kind for _, kind, _ in play(many, scenes) if kind == ALERT]) == 10


def test_camera_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("maskedge.alerts.engine.time.perf_counter", lambda: clock[0])
    engine = AlertEngine([rule("camera_lost", seconds=3), rule("too_many_people", threshold=0, name="people")], ZONES, "0")
    assert [found.kind for _, found in engine.observe(answer(0, "m"))] == [ALERT]
    found = engine.handle_event(Event(SOURCE_LOST, 1e9, "0"))
    assert [(one.kind, by.name) for by, one in found] == [(ALERT_ENDED, "people")], "nobody knows any more"
    clock[0] = 2.9
    assert engine.tick(1e9 + 2.9) == []
    clock[0] = 3.0
    (begun,) = engine.tick(1e9 + 3)
    assert begun.event.to_json() == {
        "event": "alert",
        "source": "0",
        "camera": "camera",
        "device": "",
        "time": "2001-09-09T01:46:43.000Z",
        "rule": "rule one",
        "when": "camera_lost",
    }
    assert engine.active() == [{"rule": "rule one", "since": 1e9 + 3, "details": {}}]
    assert [one.kind for _, one in engine.handle_event(Event(SOURCE_BACK, 1e9 + 4, "0"))] == [ALERT_ENDED]
    assert engine.active() == []


def test_time_of_a_file_goes_by_its_frames() -> None:
    engine = AlertEngine([rule("person_without_mask", seconds=3)], ZONES, "clip.mp4", live=False)
    frames = [answer(index / 10, "n") for index in range(40)]
    for frame in frames:
        frame.frame = replace(frame.frame, arrival=0.0)
    assert [index for index, frame in enumerate(frames) if engine.observe(frame)] == [30]


def test_memory_of_a_long_window_is_bounded() -> None:
    engine = AlertEngine([rule("no_mask_fraction", threshold=1, seconds=3600)], ZONES, "0")
    for index in range(20_000):
        engine.observe(answer(index, "m"))
    condition: Any = engine._alerts[0].condition
    assert len(condition._buckets) <= 61


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": ""}, "needs a name"),
        ({"name": "a/b"}, "needs a name of 60 letters, .* got 'a/b'"),
        ({"name": "a" * 61}, "needs a name of 60 letters"),
        ({"when": "no_masks"}, "is unknown"),
        ({"actions": ("shell",)}, "is unknown"),
        ({"when": "no_mask_fraction"}, "needs a threshold"),
        ({"when": "no_mask_fraction", "threshold": 50}, "needs a threshold"),
        ({"when": "no_mask_fraction", "threshold": 0.5, "seconds": 0}, "needs a window"),
        ({"threshold": None}, "needs a threshold"),
        ({"seconds": -1}, "from 0 to 86400"),
        ({"seconds": float("nan")}, "0 to 86400"),
        ({"cooldown": -1}, "from 0 to 31536000"),
        ({"zone": "door"}, "no zone 'door'; zones: left"),
        ({"when": "camera_lost", "zone": "left"}, "has no zone"),
        ({"labels": ()}, "at least one label"),
    ],
)
def test_rules_that_make_no_sense_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        AlertEngine([rule(**({"when": "too_many_people", "threshold": 2} | options))], ZONES, "0")


def test_similar_names_are_refused() -> None:
    with pytest.raises(UsageError, match="two alert rules"):
        AlertEngine([rule("camera_lost", name="a b"), rule("camera_lost", name="a.b")], ZONES, "0")


# --- actions -----------------------------------------------------------------------------------------------------------------


class Server:
    """A web server that notes what it gets.

    Attributes:
        answers: Status codes to give, the last one for ever; 0 for no answer at all.
        got: Headers and body of each request.
    """

    def __init__(self) -> None:
        self.answers = [200]
        self.got: list[tuple[dict[str, str], Any]] = []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((dict(self.headers), json.loads(body)))
                code = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if code == 0:
                    outer.release.wait(30)
                    return
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?token=geheim"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


EVENT = Event(ALERT, 1e9, "0", {"rule": "rule one"})


def collected(actions: Actions, count: int) -> list[Event]:
    found: list[Event] = []

    def enough() -> bool:
        found.extend(actions.problems())
        return len(found) >= count

    wait_for(enough, f"{count} events")
    return found


def test_webhook_gets_the_happening_and_the_header(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "header").write_text("X-Secret: from a file\n")
    monkeypatch.setenv("HOOK_HEADER", "X-Secret: from the environment")
    for options, expected in (
        ({"webhook_header": "X-Secret: plain"}, "plain"),
        ({"webhook_header_env": "HOOK_HEADER"}, "from the environment"),
        ({"webhook_header_file": tmp_path / "header"}, "from a file"),
        ({}, None),
    ):
        hooked = rule("camera_lost", actions=("webhook",), webhook=server.url, **options)
        actions = Actions([hooked], "0", waits=WAITS)
        actions.perform(hooked, EVENT, None)
        wait_for(lambda: server.got, "the request")
        headers, body = server.got.pop()
        actions.close()
        assert body == EVENT.to_json()
        assert headers["Content-Type"] == "application/json"
        assert headers.get("X-Secret") == expected


def test_webhook_is_retried_and_reported_once(server: Server) -> None:
    hooked = rule("camera_lost", actions=("webhook",), webhook=server.url)
    server.answers = [500, 503, 200]
    actions = Actions([hooked], "0", waits=WAITS)
    actions.perform(hooked, EVENT, None)
    lost, back = collected(actions, 2)
    assert (lost.kind, back.kind) == (OUTPUT_LOST, OUTPUT_BACK)
    assert lost.details == {
        "output": "webhook rule one",
        "error": "the webhook of alert rule 'rule one' at 127.0.0.1 answered 500: check its URL and header.",
    }
    assert len(server.got) == 3
    # What another try would not change is not tried again, and a redirection is not followed: it could carry the secret away.
    for code in (404, 302):
        server.answers = [code, 200]
        actions.perform(hooked, EVENT, None)
        assert f"answered {code}" in collected(actions, 1)[0].details["error"]
        actions.perform(hooked, EVENT, None)
        collected(actions, 1)
    assert len(server.got) == 7
    actions.close()


def test_what_waits_for_an_action_is_sent_after_a_reload(server: Server) -> None:
    hooked = rule("person_without_mask", actions=("webhook",), webhook=server.url)
    server.answers = [503]
    before = Actions([hooked], "0", waits=(0.05,) * 1000)
    before.perform(hooked, Event(ALERT, 1e9, "0", {"rule": "rule one", "tracks": [7]}), None)
    (lost,) = collected(before, 1)
    following = Actions([rule("camera_lost", name="new"), replace(hooked, cooldown=9.0)], "0", before=before)
    following.forget_identities()
    before.close(following)
    sent = len(server.got)
    wait_for(lambda: len(server.got) > sent + 1, "further attempts")
    # A failure of before the reload is over when the action works again.
    server.answers = [200]
    (back,) = collected(following, 1)
    assert (lost.kind, back.kind) == (OUTPUT_LOST, OUTPUT_BACK)
    # One attempt may have begun before the identities were forgotten.
    assert server.got[0][1]["tracks"] == [7]
    assert server.got[-1][1] == EVENT.to_json()
    # A rule that a reload removes has no thread any more.
    (worker,) = following._workers()
    following.close(Actions([], "0", before=following))
    assert worker.stopping.is_set()


def test_a_corrected_webhook_does_not_wait_for_the_one_before(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [503]
    wrong = rule("person_without_mask", actions=("webhook",), webhook=server.url)
    before = Actions([wrong], "0", waits=(600.0,))
    before.perform(wrong, EVENT, None)
    (lost,) = collected(before, 1)
    server.answers = [200]
    corrected = rule("person_without_mask", actions=("webhook",), webhook=server.url, webhook_header="X-Key: right")
    following = Actions([corrected], "0", before=before)
    before.close(following)
    (ended,) = before._workers()
    wait_for(lambda: not any(thread.is_alive() for thread in ended._threads), "the end of the thread of before")
    following.perform(corrected, EVENT, None)
    (back,) = collected(following, 1)
    assert (lost.kind, back.kind) == (OUTPUT_LOST, OUTPUT_BACK)
    assert server.got[-1][0]["X-Key"] == "right"
    # The last request of before may fail late.
    ended.problem = None
    ended._set_state("late")
    following.perform(corrected, EVENT, None)
    assert [event.kind for event in collected(following, 2)] == [OUTPUT_LOST, OUTPUT_BACK]
    # If the system allows no further thread, the threads so far go on, and none is left over.
    others = [rule("camera_lost", name=name, actions=("webhook",), webhook=server.url) for name in ("a", "b")]
    opened: list[Worker[Any]] = []
    start = Worker.__init__

    def start_one(worker: Worker[Any], *args: Any, **options: Any) -> None:
        if opened:
            raise RuntimeError("can't start new thread")
        opened.append(worker)
        start(worker, *args, **options)

    monkeypatch.setattr(Worker, "__init__", start_one)
    with pytest.raises(RuntimeError):
        Actions([corrected, *others], "0", before=following)
    (kept,) = following._workers()
    assert (opened[0].stopping.is_set(), kept.stopping.is_set()) == (True, False)
    following.close()
    assert kept.stopping.is_set()


def test_hanging_and_absent_webhooks_delay_nothing(server: Server) -> None:
    server.answers = [0]
    slow = rule("camera_lost", name="slow", actions=("webhook",), webhook=server.url, webhook_timeout=0.3)
    gone = rule("camera_lost", name="gone", actions=("webhook",), webhook=f"https://127.0.0.1:{free_port()}/geheim")
    plain = rule(
        "camera_lost", name="plain", actions=("webhook",), webhook=server.url.replace("http:", "https:"), webhook_timeout=1
    )
    actions = Actions([slow, gone, plain], "0", waits=WAITS)
    for _ in range(100):
        for hooked in (slow, gone, plain):
            actions.perform(hooked, EVENT, None)
    errors = {found.details["output"]: found.details["error"] for found in collected(actions, 3)}
    assert set(errors) == {"webhook slow", "webhook gone", "webhook plain"}
    assert "geheim" not in "".join(errors.values())
    actions.close()


def test_a_webhook_that_cannot_be_called_at_all_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy..example:8080")
    hooked = rule("camera_lost", actions=("webhook",), webhook="http://camera.example/geheim")
    actions = Actions([hooked], "0", waits=WAITS)
    actions.perform(hooked, EVENT, None)
    (lost,) = collected(actions, 1)
    actions.close()
    assert (lost.kind, lost.details["output"]) == (OUTPUT_LOST, "webhook rule one")
    assert lost.details["error"] == (
        "the webhook of alert rule 'rule one' at camera.example cannot be called: "
        "its URL, http_proxy or https_proxy is not valid; correct it."
    )


PROGRAM = """#!/bin/sh
cat > "$1"
env > "$1.environment"
"""


def test_command_gets_the_event_and_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEDGE_MQTT_PASSWORD", "geheim")
    monkeypatch.setenv("HOOK_HEADER", "X-Secret: geheim")
    program = tmp_path / "hook"
    program.write_text(PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    written = tmp_path / "$(touch pwned); out"
    hooked = rule("camera_lost", actions=("command",), command=(str(program), str(written)))
    other = rule("camera_lost", name="other", webhook="https://example.org", webhook_header_env="HOOK_HEADER", actions=("webhook",))
    actions = Actions([hooked, other], "0")
    actions.perform(hooked, EVENT, None)
    environment = Path(f"{written}.environment")
    wait_for(lambda: environment.is_file() and "PATH" in environment.read_text(), "the program")
    actions.close()
    assert json.loads(written.read_text()) == EVENT.to_json()
    assert "geheim" not in environment.read_text()
    assert "HOOK_HEADER" in child_environment(), "edge-run itself needs it after a restart"


def test_commands_that_fail_or_hang(tmp_path: Path) -> None:
    hang = f"import subprocess, time; subprocess.Popen(['sleep', '60']); open({str(tmp_path / 'started')!r}, 'w'); time.sleep(60)"
    for command, options, complaint in (
        (("/missing/program",), {}, "cannot be run"),
        ((sys.executable, "-c", "exit(3)"), {}, "ended with code 3"),
        ((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), {}, "was ended by SIGKILL"),
        ((sys.executable, "-c", hang), {"command_timeout": 0.5}, "took longer than 0.5 s and was killed"),
    ):
        hooked = rule("camera_lost", actions=("command",), command=command, **options)
        actions = Actions([hooked], "0")
        actions.perform(hooked, EVENT, None)
        assert complaint in collected(actions, 1)[0].details["error"]
        actions.close()


def test_a_command_does_not_outlive_the_run(tmp_path: Path) -> None:
    script = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    hooked = rule("camera_lost", actions=("command",), command=(sys.executable, "-c", script))
    actions = Actions([hooked], "0")
    actions.perform(hooked, EVENT, None)
    wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text(), "the program")
    actions.close()
    process = Path("/proc") / (tmp_path / "pid").read_text()
    wait_for(lambda: not process.exists(), "its end")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"actions": ("webhook",)}, "is an http"),
        ({"actions": ("webhook",), "webhook": "file:///etc/passwd"}, "is an http"),
        ({"actions": ("webhook",), "webhook": "http://user:geheim@host/"}, "is an http"),
        ({"actions": ("webhook",), "webhook": "http://[::1/geheim"}, "is an http"),
        ({"actions": ("webhook",), "webhook": "http://camera..example/geheim"}, "is an http"),
        ({"actions": ("webhook",), "webhook": f"http://{'a' * 64}.example/geheim"}, "is an http"),
        ({"actions": ("webhook",), "webhook": "http://host:99999/geheim"}, "is an http"),
        ({"actions": ("webhook",), "webhook": "http://host/geheim\u00fc"}, "not ASCII as %XX"),
        ({"actions": ("webhook",), "webhook": "http://host", "webhook_header": "geheim"}, "one line 'NAME: VALUE'"),
        ({"actions": ("webhook",), "webhook": "http://host", "webhook_header": "A: b\nC: geheim"}, "one line 'NAME: VALUE'"),
        ({"actions": ("webhook",), "webhook": "http://host", "webhook_header_env": "MISSING"}, "is not set"),
        ({"actions": ("webhook",), "webhook": "http://host", "webhook_header_file": Path("missing")}, "cannot be read"),
        ({"actions": ("webhook",), "webhook": "http://host", "webhook_timeout": 0}, "to 60, got 0"),
        ({"actions": ("command",)}, "is a list"),
        ({"actions": ("snapshot",)}, "set \\[snapshots\\] folder"),
        ({"actions": ("clip",)}, "set \\[clips\\] folder"),
        ({"actions": ("mqtt",)}, "set \\[mqtt\\] url"),
    ],
)
def test_actions_that_cannot_be_done_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        Actions([rule("camera_lost", **options)], "0")
    assert "geheim" not in str(refused.value)


def test_mqtt_topic_and_engine_together() -> None:
    published: list[tuple[str, bool]] = []
    many = rule("too_many_people", threshold=1, actions=("mqtt",))

    class Topics(Sink):
        """Keeps what an MQTT output would publish."""

        def set_alert(self, name: str, *, on: bool) -> None:
            published.append((name, on))

    actions = Actions([many], "0", sinks={"mqtt": Topics()})
    engine = AlertEngine([many], ZONES, "0")
    for index, labels in enumerate(["mm", "mm", "", "", "", ""]):
        for change in engine.observe(answer(index * 0.5, labels)):
            actions.perform(*change, None)
    assert published == [("rule one", True), ("rule one", False)]
    actions.close()


# --- snapshots and clips -----------------------------------------------------------------------------------------------------


def test_snapshot_of_the_outgoing_picture(tmp_path: Path) -> None:
    shot = rule("camera_lost", actions=("snapshot",))
    folder = tmp_path / "new" / "snapshots"
    actions = Actions([shot], "0", settings={"snapshots": SnapshotsConfig(folder=folder, keep=2)})
    frame = answer(0, "m", image=np.full((50, 100, 3), 128, np.uint8))
    for second in range(4):
        actions.perform(shot, replace(EVENT, time=1e9 + second), frame)
        actions.perform(shot, replace(EVENT, kind=ALERT_ENDED), frame)
        name = f"rule_one-20010909T01464{second}.000Z.jpg"
        wait_for(lambda name=name: (folder / name).is_file(), "the snapshot")
    actions.close()
    assert sorted(path.name for path in folder.iterdir()) == [f"rule_one-20010909T01464{second}.000Z.jpg" for second in (2, 3)]
    picture = cv2.imread(str(folder / "rule_one-20010909T014643.000Z.jpg"))
    assert picture is not None
    assert cv2.absdiff(picture, frame.picture).mean() < 10
    assert cv2.absdiff(picture, frame.frame.image).mean() > 10, "the overlay is drawn"


def test_failed_storage_is_reported_once_and_retried(tmp_path: Path) -> None:
    """A file takes the place of the folder. When it goes, the folder is created again."""
    shot = rule("camera_lost", actions=("snapshot", "clip"))
    folder = tmp_path / "pictures"
    clips = ClipSink(ClipsConfig(folder=folder, after=0))
    actions = Actions(
        [shot], "0", settings={"snapshots": SnapshotsConfig(folder=folder)}, sinks={"clips": clips}, waits=(0.1,) * 100
    )
    clips._writer._waits = (0.1,) * 100
    folder.rename(tmp_path / "away")
    folder.touch()
    frame = answer(time.perf_counter())
    clips.write(frame)
    actions.perform(shot, EVENT, frame)
    lost = collected(actions, 2)
    assert {(one.kind, one.details["output"]) for one in lost} == {(OUTPUT_LOST, "snapshots"), (OUTPUT_LOST, "clips")}
    assert all("cannot be created (File exists)" in one.details["error"] for one in lost)
    folder.unlink()
    assert {one.kind for one in collected(actions, 2)} == {OUTPUT_BACK}
    assert len(list(folder.iterdir())) == 2
    actions.close()
    clips.close()


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_clip_holds_the_seconds_before_and_after(tmp_path: Path, suffix: str) -> None:
    clips = ClipSink(ClipsConfig(folder=tmp_path, before=2, after=1, fps=10, suffix=suffix))
    now = time.perf_counter()
    # Grey tells the time: 10 a second, at 30 frames a second, from 10 s before to 5 s after.
    for index in range(-300, 150):
        seconds = index / 30
        clips.write(answer(now + seconds, image=np.full((50, 101, 3), 100 + round(10 * seconds), np.uint8)))
        if index == 0:
            clips.trigger("rule one", 1e9)
    clips.close()
    (path,) = tmp_path.iterdir()
    assert path.name == f"rule_one-20010909T014640.000Z{suffix}"
    capture = cv2.VideoCapture(str(path))
    greys = []
    while (read := capture.read())[0]:
        greys.append(read[1].mean())
    assert len(greys) == pytest.approx(30, abs=2)
    assert greys[0] == pytest.approx(80, abs=4)
    assert greys[-1] == pytest.approx(110, abs=4)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.3)


def test_clip_of_a_video_file_holds_its_seconds(tmp_path: Path) -> None:
    """However fast it is read."""
    clips = ClipSink(ClipsConfig(folder=tmp_path, before=2, after=1, fps=10, suffix=".avi"))
    for index in range(100):
        clips.write(answer(index / 10, image=np.full((50, 100, 3), 2 * index, np.uint8)))
        if index == 50:
            clips.trigger("rule one", 1e9, 5.0)
    clips.close()
    (path,) = tmp_path.iterdir()
    capture = cv2.VideoCapture(str(path))
    greys = []
    while (read := capture.read())[0]:
        greys.append(read[1].mean())
    assert len(greys) == pytest.approx(31, abs=1)
    assert (greys[0], greys[-1]) == (pytest.approx(60, abs=4), pytest.approx(120, abs=4))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.3)


def test_memory_of_clips_is_bounded(tmp_path: Path) -> None:
    clips = ClipSink(ClipsConfig(folder=tmp_path, before=500, fps=100, memory_mb=0.1))
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    for index in range(100):
        clips.write(answer(index, image=noise))
        assert clips.held <= 100_000
    assert clips.held > 50_000
    clips.close()
    assert list(tmp_path.iterdir()) == [], "nothing is stored without an alert"


def test_what_a_killed_run_left_behind_is_removed(tmp_path: Path) -> None:
    stem = "rule_one-20010909T014640.000Z"
    left = [f"{stem}.jpg.tmp", f"{stem}.jpg", f".{stem}.mp4.tmp.mp4", f"{stem}.mp4", "mine.jpg.tmp"]
    for name in left:
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    # Another run, or the actions before a reload, may be writing these.
    written = [f".{stem}.jpg.0123abcd.tmp", f".{stem}.mp4.0123abcd.tmp.mp4"]
    for name in written:
        (tmp_path / name).write_bytes(b"x")
    SnapshotStore(SnapshotsConfig(folder=tmp_path))
    ClipSink(ClipsConfig(folder=tmp_path)).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{stem}.jpg", f"{stem}.mp4", "mine.jpg.tmp", *written])


def test_prune_by_count_age_and_size(tmp_path: Path) -> None:
    def files(count: int) -> list[Path]:
        paths = [tmp_path / f"{number}" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_bytes(b"x" * 1000)
            os.utime(path, (time.time() - number * 86400,) * 2)
        return paths

    for keep, left in (
        (Retention(count=3), 3),
        (Retention(days=2.5), 3),
        (Retention(megabytes=0.0025), 2),
        (Retention(), 6),
        (Retention(count=4, days=100, megabytes=0.003), 3),
    ):
        prune(files(6), keep)
        assert sorted(path.name for path in tmp_path.iterdir()) == [str(number) for number in range(left)]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: SnapshotStore(SnapshotsConfig()),
        lambda folder: SnapshotStore(SnapshotsConfig(folder=folder, quality=0)),
        lambda folder: SnapshotStore(SnapshotsConfig(folder=folder, keep=-1)),
        lambda folder: ClipSink(ClipsConfig()),
        lambda folder: ClipSink(ClipsConfig(folder=folder, suffix=".gif")),
        lambda folder: ClipSink(ClipsConfig(folder=folder, before=-1)),
        lambda folder: ClipSink(ClipsConfig(folder=folder, before=0, after=0)),
        lambda folder: ClipSink(ClipsConfig(folder=folder, fps=0)),
        lambda folder: ClipSink(ClipsConfig(folder=folder, memory_mb=0)),
    ],
)
def test_sections_that_make_no_sense_are_refused(make: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        make(tmp_path)
