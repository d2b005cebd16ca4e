"""`edge-fleet` as a group of commands, whose modules are loaded when they are used."""

from __future__ import annotations

import pytest

import maskedge_fleet.cli as cli
from maskedge_fleet.cli import main


def test_control_c_while_a_command_is_loaded_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["ingest"])
    assert (ended.value.code, capsys.readouterr().err) == (130, "stopped\n")
