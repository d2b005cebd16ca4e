"""The help of `edge-bench` lists each command with a whole summary."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from maskedge_bench.cli.main import main


def test_summaries_are_not_cut() -> None:
    done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0
    listed = done.output.split("Commands:")[1]
    assert all(f"  {name} " in listed for name in main.commands)
    assert "..." not in listed


@pytest.mark.parametrize("name", main.commands)
def test_every_option_has_help(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert all(getattr(option, "help", "") for option in main.commands[name].params if option.param_type_name == "option")
