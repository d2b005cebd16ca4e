"""A new output, condition or action is one class and one line in its registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from maskedge.config_reference import reference

from maskedge import Face, UsageError
from maskedge.alerts.action import Action
from maskedge.alerts.conditions import CONDITIONS, Condition, Details
from maskedge.alerts.registry import ACTIONS
from maskedge.alerts.rules import AlertRule
from maskedge.config import load_config, to_toml
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.runtime.build import build_run, open_detector
from maskedge.runtime.loop import run
from maskedge.settings import Range, check_settings
from maskedge.sinks import SINKS
from maskedge.sinks.base import Sink, SinkContext
from maskedge.sources import open_source


@dataclass(frozen=True)
class CounterConfig:
    file: Path | None = field(default=None, metadata={"help": "file for the number of frames"})
    step: int = field(default=1, metadata={"help": "count every Nth frame", "range": Range(1, 10)})

    def __post_init__(self) -> None:
        check_settings(self, "counter")


class CounterSink(Sink):
    """Writes the number of frames to a file."""

    name = "counter"
    section = "counter"
    settings_class = CounterConfig

    def __init__(self, path: Path, step: int) -> None:
        self._path, self._step, self._count = path, step, 0

    @classmethod
    def is_wanted(cls, settings: CounterConfig) -> bool:
        return settings.file is not None

    @classmethod
    def open(cls, settings: CounterConfig, context: SinkContext) -> Sink | None:
        assert settings.file is not None
        return cls(settings.file, settings.step)

    def write(self, result: FrameResult) -> bool:
        self._count += result.frame.index % self._step == 0
        return True

    def close(self) -> None:
        self._path.write_text(str(self._count))


class Somebody(Condition):
    """A face is in view."""

    name = "somebody"

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        return {"faces": len(faces)} if faces else None


@dataclass(frozen=True)
class DiaryRule(AlertRule):
    diary: Path | None = field(default=None, metadata={"help": "file for a line per alert"})


class DiaryAction(Action):
    """Appends a line to a file."""

    name = "diary"
    rule_class = DiaryRule

    def perform(self, rule: Any, event: Event, result: FrameResult | None) -> list[Event]:
        with rule.diary.open("a") as file:
            file.write(f"{event.kind}\n")
        return []


@pytest.fixture(autouse=True)
def extended() -> Iterator[None]:
    additions: list[tuple[list[Any], Any]] = [
        (SINKS, f"{__name__}:CounterSink"),
        (CONDITIONS, Somebody),
        (ACTIONS, DiaryAction),
    ]
    for registry, entry in additions:
        registry.append(entry)
    yield
    for registry, entry in additions:
        registry.remove(entry)


def test_a_run_takes_new_outputs_conditions_and_actions(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        f"[output]\nshow = false\n[counter]\nfile = '{tmp_path / 'count'}'\nstep = 2\n"
        f"[[alerts]]\nname = 'seen'\nwhen = 'somebody'\nactions = ['event', 'diary']\ndiary = '{tmp_path / 'diary'}'\n"
    )
    loaded = load_config(file, {}, {"source.uri": "demo"})
    source, detector, sinks = open_source("demo"), open_detector(loaded.config), list[Sink]()
    detector.start_tracking()
    built = build_run(loaded.config, source, detector, sinks)
    assert [sink.name for sink in sinks] == ["counter"]
    assert run(source, detector, sinks, max_frames=9, context=built.context).failure is None
    assert (tmp_path / "count").read_text() == "5"
    assert (tmp_path / "diary").read_text().startswith("alert\n")
    assert "[counter]" in to_toml(loaded)
    assert "| `diary` | not set | |" in reference()


def test_their_keys_are_checked_as_all_are(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    for text, message in (
        ("[counter]\nstep = 11\n", "counter.step takes a number from 1 to 10, got 11"),
        ("[conter]\nstep = 1\n", "did you mean counter"),
        ("[[alerts]]\ndiery = 'x'\n", "did you mean diary"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            load_config(file, {})
