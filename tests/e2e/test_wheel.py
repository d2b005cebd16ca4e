"""The wheel: what a device installs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from helpers.support import ROOT


def build(folder: Path, **environment: str) -> Path:
    """Build the wheel as outside of a workflow, but for `environment`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=clean | environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_holds_the_packages_and_their_data(tmp_path: Path) -> None:
    with zipfile.ZipFile(build(tmp_path)) as content:
        sizes = {item.filename: item.file_size for item in content.infolist()}
    packages = {name.split("/")[0] for name in sizes if ".dist-info" not in name}
    assert packages == {"maskedge", "maskedge_train", "maskedge_export", "maskedge_bench"}
    for name in ("py.typed", "models/edgenet.onnx", "models/MODELS.json", "sources/demo_faces.jpg", "sources/demo_faces.json"):
        assert f"maskedge/{name}" in sizes
    assert sizes["maskedge/sources/demo_faces.jpg"] <= 400_000
    assert sum(size for name, size in sizes.items() if name.endswith(".onnx")) <= 4_000_000


def test_links_of_the_readme_work_on_a_package_index(tmp_path: Path) -> None:
    def metadata(name: str, **environment: str) -> str:
        with zipfile.ZipFile(build(tmp_path / name, **environment)) as content:
            (path,) = (path for path in content.namelist() if path.endswith("/METADATA"))
            return content.read(path).decode()

    alone = metadata("alone")
    assert "](docs/demo.jpg)" in alone
    assert "\nProject-URL: " not in alone
    text = metadata("workflow", GITHUB_SERVER_URL="https://git.example", GITHUB_REPOSITORY="some/one")
    assert "](https://git.example/some/one/raw/HEAD/docs/demo.jpg)" in text
    assert "](https://git.example/some/one/blob/HEAD/docs/results.md)" in text
    assert "Project-URL: Issues, https://git.example/some/one/issues" in text
    assert not re.search(r"\]\((?!https://)", text)
