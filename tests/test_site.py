"""The documentation site builds in strict mode: no broken link, anchor or reference."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.support import ROOT, environment


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    if find_spec("material") is None:
        pytest.skip("MkDocs Material is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env=environment({"NO_MKDOCS_2_WARNING": "1"}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert {name for name in documents if not (site / name / "index.html").is_file()} == set()


def test_the_reference_has_the_python_api_and_all_commands(site: Path) -> None:
    python = (site / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    commands = (site / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert "MaskDetector" in python
    assert "edge-train" in commands
    assert "--camera" in commands


def test_links_to_documents_of_the_root_are_pages(site: Path) -> None:
    page = (site / "architecture" / "index.html").read_text(encoding="utf-8")
    assert 'href="../contributing/#how-to-add-a-part"' in page


def test_the_site_loads_nothing_from_another_server(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "fonts.googleapis" not in page
