"""The checks of a configuration by edge-doctor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from maskedge.cli.doctor.config_check import check_config, read_config
from maskedge.cli.doctor.finding import Finding, problem_of


def findings(folder: Path, text: str) -> list[Finding]:
    file = folder / "edge.toml"
    file.write_text(text)
    loaded, found = read_config(file)
    return found if loaded is None else [*found, *check_config(loaded)]


def test_an_invalid_common_rule_is_found_although_every_camera_has_its_own(tmp_path: Path) -> None:
    text = (
        '[[alerts]]\nname = "c"\nwhen = "{}"\nthreshold = 0.5\nzone = "desk"\n[[camera]]\nname = "door"\nsource = "demo"\n'
        '[[camera.alerts]]\nname = "own"\nwhen = "camera_lost"\n'
    )
    (found,) = findings(tmp_path, text.format("typo"))
    assert found.state == "FAIL"
    assert found.text.startswith("alert rule 'c': when = 'typo' is unknown")
    states = [one.state for one in findings(tmp_path, text.format("person_without_mask"))]
    assert states == ["note", "ok"], "a threshold without effect; the zone may be that of a camera"


@pytest.mark.parametrize("section", ["[events]\nfile", "[history]\nfile", "[snapshots]\nfolder"])
def test_a_name_that_is_too_long_is_a_finding(tmp_path: Path, section: str) -> None:
    found = findings(tmp_path, f'[source]\nuri = "demo"\n{section} = "{tmp_path / ("a" * 300)}"\n')
    name = section.replace("\n", " ")
    assert any(one.text.startswith(name) and "it cannot be checked (File name too long)" in one.text for one in found), found


def test_the_folder_of_a_history_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, who may write everything.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    file = tmp_path / "history.sqlite3"
    file.touch()
    (found,) = findings(tmp_path, f'[source]\nuri = "demo"\n[history]\nfile = "{file}"\n')
    assert (found.state, found.text) == ("FAIL", f"[history] file {file}: this user may not write {tmp_path}")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ModuleNotFoundError("No module named 'paho'", name="paho"), "install the extra mqtt"),
        (ModuleNotFoundError("No module named '_sqlite3'", name="_sqlite3"), "install the package again"),
        (ImportError("libfoo.so.1: cannot open"), "install the package again"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_a_problem(error: ImportError, remedy: str) -> None:
    def check() -> Any:
        raise error

    (problem,) = problem_of(check)
    assert remedy in problem
