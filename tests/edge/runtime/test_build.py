"""What a reload changes in a run that goes on."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.streams import until
from maskedge import Face, Frame, UsageError
from maskedge.cli.run import _Run
from maskedge.config import load_config
from maskedge.events import FACE_APPEARED, Event
from maskedge.results import FrameResult
from maskedge.runtime.build import Run, build_run, open_detector
from maskedge.runtime.loop import run
from maskedge.sinks.clips import ClipSink
from maskedge.sources import demo, open_source
from maskedge.sources.base import stamp
from maskedge.support.log import set_up

RULES = """
[zones]
roi = ["door=0,0 1,0 1,1"]
[[alerts]]
name = "crowd"
when = "too_many_people"
threshold = 3
"""


def test_a_rule_for_a_label_that_no_face_gets_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    rule = '[[alerts]]\nname = "door"\nwhen = "person_without_mask"\nlabels = ["without_mask", "{label}"]\n'
    source = open_source("demo")
    for label, section, refused in (
        ("incorrect_mask", "", False),
        ("incorect_mask", "", True),
        ("incorrect_mask", '[model]\nlabels = ["with_mask", "without_mask"]\n', True),
    ):
        file.write_text(section + rule.format(label=label))
        config = load_config(file, {}).config
        with pytest.raises(UsageError, match=f"'door' waits for the label '{label}'") if refused else contextlib.nullcontext():
            build_run(config, source, open_detector(config), [])
    # Who counts people asks for no label.
    file.write_text(RULES + 'labels = ["nobody"]\n')
    config = load_config(file, {}).config
    build_run(config, source, open_detector(config), [])
    source.close()


def test_an_action_that_a_rule_describes_but_does_not_name_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    source = open_source("demo")
    for actions, count in (("", 1), ('actions = ["event", "command"]', 0)):
        file.write_text(f'{RULES}command = ["true"]\n{actions}\n')
        config = load_config(file, {}).config
        warnings = build_run(config, source, open_detector(config), []).warnings
        assert warnings == count * [
            "alert rule 'crowd' has command, but its actions lack it: add 'command' to actions, or remove command."
        ]
    source.close()


def test_a_reload_that_fails_changes_nothing_and_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(RULES)
    loaded = load_config(file, {})
    source = open_source("demo")
    built = build_run(loaded.config, source, open_detector(loaded.config), [])
    before = (built.context.alerts, built.context.zones, built._config)
    reloading = _Run(loaded, {}, set_up())
    for text in (
        *("[limits]\nmax_fps = 1" + "0" * 400, "[detect]\nevery = " + "9" * 5000, "[detect]\nevery = " + "[" * 5000, "[limits", ""),
        RULES + '[[alerts]]\nname = "no"\nwhen = "no"\n',
    ):
        file.write_text(text)
        with monkeypatch.context() as patch:
            if not text:
                patch.setattr(Run, "change", failing)
            reloading._reload(built)
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert "stays as it was" in lines[0]
        assert (built.context.alerts, built.context.zones, built._config) == before
    file.write_text("[detect]\nevery = 7")
    reloading._reload(built)
    assert "configuration reloaded: changed" in capsys.readouterr().err
    source.close()


def test_a_reload_changes_lines_and_keeps_the_counts_of_those_that_stay(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"

    def read(*lines: tuple[str, str]):  # type: ignore[no-untyped-def]
        file.write_text("\n".join(f'[[line]]\nname = "{name}"\npoints = "{points}"' for name, points in lines))
        return load_config(file, {}).config

    config = read(("door", "0.5,0 0.5,1"), ("desk", "0,0.5 1,0.5"))
    detector, source = open_detector(config), open_source("demo")
    detector.start_tracking()
    built = build_run(config, source, detector, [])
    state = built.context.state
    assert state.snapshot()["lines"].keys() == {"door", "desk"}
    run(source, detector, [], max_frames=180, context=built.context)
    before = state.snapshot()["lines"]
    assert before["door"]["out"]["with_mask"] == 1
    assert built.change(read(("door", "0.5,0 0.5,1"), ("desk", "0,0.4 1,0.4"))) == (["line"], [])
    assert state.snapshot()["lines"]["door"] == before["door"]
    assert built._names().lines == ("door", "desk")
    with pytest.raises(UsageError, match="too close"):
        read(("door", "0.5,0 0.5,0"))
    built.change(read())
    assert state.snapshot()["lines"] == {}
    source.close()


def test_lines_are_refused_for_single_pictures(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), demo.draw(0))
    (tmp_path / "edge.toml").write_text('[[line]]\nname = "door"\npoints = "0.5,0 0.5,1"')
    config = load_config(tmp_path / "edge.toml", {}).config
    source = open_source(str(tmp_path / "one.png"))
    with pytest.raises(UsageError, match="nobody moves in a single picture"):
        build_run(config, source, open_detector(config), [])
    source.close()


def test_an_alert_of_a_rule_that_a_reload_removes_ends(tmp_path: Path) -> None:
    file, pictures = tmp_path / "edge.toml", tmp_path / "pictures"
    told = f'command = ["/bin/sh", "-c", "cat >> {tmp_path}/told"]\nactions = ["event", "command", "snapshot"]\n'
    folder = f'[snapshots]\nfolder = "{pictures}"\n'

    def read(text: str):  # type: ignore[no-untyped-def]
        file.write_text(text)
        return load_config(file, {}).config

    config = read(folder + RULES.replace("threshold = 3", "threshold = 0") + told)
    source = open_source("demo")
    built = build_run(config, source, open_detector(config), [])
    face = Face((1.0, 1.0, 3.0, 3.0), "with_mask", 0.9, "with_mask", 0.9, 1)
    assert built.context.alerts is not None
    assert built.context.alerts.observe(FrameResult(Frame(np.zeros((9, 9, 3), np.uint8), 0, 0.0, 0.0, "0", 0.0), [face], {}))
    changed, later = built.change(read("[snapshots]\nkeep = 7\n" + RULES.replace("crowd", "other")))
    # The new actions have been opened with the new section.
    assert (changed, later) == (["alerts", "snapshots.folder", "snapshots.keep"], [])
    event = built.context.event_queue.get(timeout=60)
    assert (event.kind, event.details["rule"], event.camera) == ("alert_ended", "crowd", "camera")
    assert '"alert_ended"' in (tmp_path / "told").read_text()
    assert built.change(read(RULES.replace("crowd", "other"))) == ([], ["snapshots.keep"])
    source.close()


def test_a_reload_to_stricter_privacy_discards_what_outputs_keep(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    rule = RULES + 'actions = ["event", "clip"]\n'
    outputs = f'[web]\nserve = "127.0.0.1:0"\npicture = true\n[clips]\nfolder = "{tmp_path}/clips"\n'

    def read(privacy: str = ""):  # type: ignore[no-untyped-def]
        file.write_text(outputs + privacy + rule)
        return load_config(file, {}).config

    def frame() -> FrameResult:
        face = Face((1.0, 1.0, 30.0, 30.0), "with_mask", 0.9, "with_mask", 0.9, 1)
        image = np.asarray(np.indices((48, 64)).sum(0)[..., None] % 2 * 255 * np.ones(3), np.uint8)
        event = Event(FACE_APPEARED, 0.0, "0", {"track": 1})
        return FrameResult(stamp(image, 0, "0"), [face], {}, events=[event])

    config = read()
    source = open_source("demo")
    built = build_run(config, source, open_detector(config), [])
    sinks = {sink.name: sink for sink in built.sinks}
    clips, web = sinks["clips"], sinks["web"]
    assert isinstance(clips, ClipSink)
    page = str(web.url)

    def is_served() -> bool:
        try:
            return bool(urllib.request.urlopen(page + "snapshot.jpg").read())  # noqa: S310
        except urllib.error.HTTPError as error:
            assert error.code == 503
            return False

    def events() -> bytes:
        with urllib.request.urlopen(page + "api/events?after=0&kinds=happening,status") as feed:  # noqa: S310
            return b"".join(feed.readline() for _ in range(8))

    def show() -> FrameResult:
        shown = built.context.newest = frame()
        for sink in (clips, web):
            sink.write(shown)
        until(lambda: b"happening" in events())
        assert clips.held > 0
        assert is_served()
        return shown

    before = show()
    built.change(read("[privacy]\nanonymize = true\n"))
    assert (clips.held, is_served()) == (0, False)
    assert b"happening" in events(), "events have no pixels"
    kept = built.context.newest
    assert kept is not None
    assert kept.plain.std() < before.plain.std() / 4, "the whole picture is pixelated"
    clips.write(before)
    assert clips.held == 0, "a frame that waited in a queue"
    show()
    built.change(read("[privacy]\nanonymize = true\nstats_only = true\n"))
    assert (clips.held, is_served()) == (0, False)
    until(lambda: b"happening" not in events())
    show()
    built.change(read())
    assert clips.held > 0, "looser privacy keeps what there is"
    for sink in sinks.values():
        sink.close()
    source.close()


def failing(*_: object, **__: object) -> None:
    raise ZeroDivisionError("within a change")


def test_reload_removes_old_rules_and_keeps_detecting_in_every_frame(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"

    def read(text: str):  # type: ignore[no-untyped-def]
        file.write_text(text)
        return load_config(file, {}).config

    config = read(RULES)
    detector, source = open_detector(config), open_source("demo")
    built = build_run(config, source, detector, [])
    state = built.context.state
    state.set_alerts([{"rule": "crowd", "since": 0.0, "details": {}}])
    assert len(state.snapshot()["alerts"]) == 1

    at_once, later = built.change(
        read('[privacy]\nanonymize = true\n[detect]\nevery = 7\nface_threshold = 0.6\ndetector = "cnn"'), every_frame=True
    )
    assert later == ["detect.detector"]
    assert {"alerts", "zones.roi", "detect.every", "detect.face_threshold", "privacy.anonymize"} <= set(at_once)
    assert state.snapshot()["alerts"] == []
    assert built.context.alerts is None
    assert (detector.detect_every, detector.face_threshold) == (1, 0.6), "new faces are hidden at once"
    shown = state.snapshot()["settings"]
    assert (shown["anonymize"], shown["detect_every"], shown["detector"]) == (True, 1, "haar")
    built.change(read("[detect]\nevery = 7"))
    assert detector.detect_every == 7
    assert state.snapshot()["settings"]["anonymize"] is False
    source.close()
