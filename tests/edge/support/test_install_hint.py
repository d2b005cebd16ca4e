"""Installation hints fit the installation that prints them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.support import ROOT
from maskedge.support.install_hint import install_command


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Record an origin for the package, as pip does."""
    info = tmp_path / "maskedge-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: maskedge\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def origin(content: Any) -> None:
        (info / "direct_url.json").write_text(content if isinstance(content, str) else json.dumps(content))

    return origin


def requirement(command: str) -> list[str]:
    python, *words = shlex.split(command)
    assert python == sys.executable
    assert words[:3] == ["-m", "pip", "install"]
    return words[3:]


def test_extra_of_a_clone_of_a_wheel_file_and_of_an_index(installed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    clone = tmp_path / "mask edge"
    clone.mkdir()
    installed({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert requirement(install_command("app")) == ["-e", f"{clone}[app]"]
    installed({"url": clone.as_uri(), "dir_info": {}})
    assert requirement(install_command("app")) == [f"{clone}[app]"]
    wheel = tmp_path / "maskedge-0.1.0-py3-none-any.whl"
    wheel.touch()
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert requirement(install_command("mqtt")) == [f"{wheel}[mqtt]"]
    assert requirement(install_command("bench")) == ["--find-links", str(tmp_path), f"{wheel}[bench]"]
    wheel.unlink()
    assert requirement(install_command("bench")) == ["--find-links", ".", f"{wheel.name}[bench]"]
    assert requirement(install_command("mqtt")) == [f"{wheel.name}[mqtt]"]
    for content in ("no JSON", "[]", "{}"):
        installed(content)
        assert requirement(install_command("mqtt")) == ["maskedge[mqtt]"]
        assert requirement(install_command()) == ["maskedge"]


def test_documents_install_nothing_that_is_not_published() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert not re.search(r"install '?maskedge\b(?!-)", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("what", [(), ("base",)])
def test_what_make_checks_before_it_installs(what: tuple[str, ...], tmp_path: Path) -> None:
    """Everything is available here, except an index for the second case."""
    script = ROOT / "tests" / "platforms" / "preflight.py"
    environment = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, script, *what], capture_output=True, text=True, check=False, env=environment)
    if what:
        assert done.returncode == 1
        assert re.fullmatch(r"error: pip finds no click: is there a network.*\n", done.stderr)
        assert "Fetching about 0.1 GB" in done.stdout
    else:
        assert done.returncode == 0, done.stderr
