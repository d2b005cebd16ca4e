"""The wheels: the device's alone, and the workstation's beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from helpers.support import ROOT

LARGEST = 1_800_000
"""Largest wheel of the device, in bytes."""


def build(project: Path, target: str, folder: Path, **environment: str) -> Path:
    """Build as outside of a workflow, except for `environment`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True, env=clean | environment)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def contents(wheel: Path) -> tuple[dict[str, int], Message]:
    """Return the size of each file in a wheel, and the wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist()}
        (metadata,) = [name for name in sizes if name.endswith(".dist-info/METADATA")]
        return sizes, message_from_bytes(archive.read(metadata))


def packages(sizes: dict[str, int]) -> set[str]:
    return {name.split("/")[0] for name in sizes if ".dist-info" not in name}


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="module")
def workstation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT / "workstation", "wheel", tmp_path_factory.mktemp("workstation"))


def test_device_wheel_has_the_device_package_alone(device: Path) -> None:
    sizes, _ = contents(device)
    assert packages(sizes) == {"maskedge"}
    assert device.stat().st_size <= LARGEST
    models = {name.removeprefix("maskedge/models/") for name in sizes if "/models/" in name}
    assert models == {"MODELS.json", "haar.xml", "haar.xml.sig", "release.pub"} | {
        f"{net}{precision}{suffix}"
        for net in ("edgeface", "edgenet")
        for precision in ("", ".int8")
        for suffix in (".onnx", ".onnx.sig")
    }
    for name in ("py.typed", "sources/demo_faces.jpg", "sources/demo_faces.json"):
        assert f"maskedge/{name}" in sizes
    assert sizes["maskedge/sources/demo_faces.jpg"] <= 400_000


def test_workstation_wheel_has_the_other_packages(workstation: Path) -> None:
    sizes, metadata = contents(workstation)
    assert packages(sizes) == {"maskedge_train", "maskedge_export", "maskedge_bench"}
    for name in packages(sizes):
        assert f"{name}/py.typed" in sizes
    assert "maskedge_bench/models/seednet.onnx" in sizes
    assert not any("__pycache__" in name for name in sizes)
    assert metadata["Requires-Dist"] == f"maskedge=={metadata['Version']}"


def test_extras_of_the_workstation_require_the_same_version(device: Path, workstation: Path) -> None:
    _, metadata = contents(device)
    _, other = contents(workstation)
    assert metadata["Version"] == other["Version"]
    required = [line for line in metadata.get_all("Requires-Dist", []) if "workstation" in line]
    assert {re.sub(".*extra == ", "", line).strip("'\"") for line in required} == {*("train", "export", "bench")}
    assert all(f"maskedge-workstation=={other['Version']};" in line for line in required)


def test_editable_install_has_all_packages_and_needs_no_second_one(tmp_path: Path) -> None:
    code = "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    _, metadata = contents(wheel)
    assert not any("workstation" in line for line in metadata.get_all("Requires-Dist", []))
    with zipfile.ZipFile(wheel) as archive:
        (paths,) = [name for name in archive.namelist() if name.endswith(".pth")]
        folders = archive.read(paths).decode().split()
    assert {Path(folder).name for folder in folders} == {"edge", "train", "export", "benchmarks", "fleet"}


def test_sdist_builds_the_same_wheel(device: Path, tmp_path: Path) -> None:
    sdist = build(ROOT, "sdist", tmp_path)
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "source", filter="data")
    assert not any("seednet" in name or "/tests/" in name for name in names)
    (source,) = (tmp_path / "source").iterdir()
    again = build(source, "wheel", tmp_path)
    assert contents(again)[0] == contents(device)[0]


def test_links_of_the_readme_work_on_a_package_index(device: Path, tmp_path: Path) -> None:
    _, metadata = contents(device)
    assert "](docs/demo.jpg)" in str(metadata.get_payload())
    assert "Project-URL" not in metadata
    repository = {"GITHUB_SERVER_URL": "https://git.example", "GITHUB_REPOSITORY": "some/one"}
    sdist = build(ROOT, "sdist", tmp_path, **repository)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    # A wheel from the source distribution keeps the links, wherever it is built.
    for wheel in (build(ROOT, "wheel", tmp_path / "direct", **repository), build(source, "wheel", tmp_path / "again")):
        _, metadata = contents(wheel)
        text = str(metadata.get_payload())
        assert "](https://git.example/some/one/raw/HEAD/docs/demo.jpg)" in text
        assert "](https://git.example/some/one/blob/HEAD/docs/results.md)" in text
        assert not re.search(r"\]\((?!https://)", text)
        assert "Issues, https://git.example/some/one/issues" in metadata.get_all("Project-URL", [])


def test_all_projects_have_the_same_links(tmp_path: Path) -> None:
    projects = [ROOT, ROOT / "workstation", ROOT / "fleet"]
    repository = {"GITHUB_SERVER_URL": "https://git.example", "GITHUB_REPOSITORY": "some/one"}
    wheels = [build(project, "wheel", tmp_path / project.name, **repository) for project in projects]
    metadata = [contents(wheel)[1] for wheel in wheels]
    links = [own.get_all("Project-URL", []) for own in metadata]
    for own in metadata[1:]:
        assert "](https://git.example/some/one/blob/HEAD/README.md)" in str(own.get_payload())
    assert "Issues, https://git.example/some/one/issues" in links[0]
    assert links[0] == links[1] == links[2]
    keys = [re.findall(r"(?m)^repository = .*", (project / "pyproject.toml").read_text()) for project in projects]
    assert keys[0] == keys[1] == keys[2]
    assert len(keys[0]) == 1
