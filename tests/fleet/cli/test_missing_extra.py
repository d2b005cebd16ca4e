"""`edge-fleet` in an installation without the extra `fleet`, such as the one of `make run`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers.support import environment

SCRIPT = """
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "sqlalchemy" else find(name, *rest)
sys.argv = ["edge-fleet", *sys.argv[1:]]
from maskedge.cli.workstation import fleet
fleet()
"""


@pytest.mark.parametrize("arguments", [("--help",), ("serve",), ()])
def test_the_missing_extra_is_named_in_one_line(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: sqlalchemy is not installed: install the extra fleet: ")
    assert done.stderr.count("\n") == 1
