"""What a reload changes in a run that goes on."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from maskedge import UsageError
from maskedge.config import load_config
from maskedge.sources import open_source
from maskedge.wiring import Wiring, open_detector

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
            Wiring(config, source, open_detector(config), [])
    # Who counts people asks for no label.
    file.write_text(RULES + 'labels = ["nobody"]\n')
    config = load_config(file, {}).config
    Wiring(config, source, open_detector(config), [])
    source.close()


def test_reload_forgets_rules_that_are_gone_and_keeps_looking_in_every_frame(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"

    def read(text: str):  # type: ignore[no-untyped-def]
        file.write_text(text)
        return load_config(file, {}).config

    config = read(RULES)
    detector, source = open_detector(config), open_source("demo")
    wiring = Wiring(config, source, detector, [])
    state = wiring.controls.state
    state.set_alerts([{"rule": "crowd", "since": 0.0, "details": {}}])
    assert len(state.snapshot()["alerts"]) == 1

    at_once, later = wiring.change(
        read('[privacy]\nanonymize = true\n[detect]\nevery = 7\nleast_face = 0.6\ndetector = "cnn"'), every_frame=True
    )
    assert later == ["detect.detector"]
    assert {"alerts", "zones.roi", "detect.every", "detect.least_face", "privacy.anonymize"} <= set(at_once)
    assert state.snapshot()["alerts"] == []
    assert wiring.controls.alerts is None
    assert (detector.detect_every, detector.least_face) == (1, 0.6), "new faces are hidden at once"
    wiring.change(read("[detect]\nevery = 7"))
    assert detector.detect_every == 7
    source.close()
