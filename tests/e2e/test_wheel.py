"""The wheel that a device installs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from helpers.support import ROOT


def test_wheel_holds_the_packages_and_their_data(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        sizes = {item.filename: item.file_size for item in content.infolist()}
    packages = {name.split("/")[0] for name in sizes if ".dist-info" not in name}
    assert packages == {"maskedge", "maskedge_train", "maskedge_export", "maskedge_bench"}
    for name in ("py.typed", "models/edgenet.onnx", "models/MODELS.json", "sources/demo_faces.jpg", "sources/demo_faces.json"):
        assert f"maskedge/{name}" in sizes
    assert sizes["maskedge/sources/demo_faces.jpg"] <= 400_000
    assert sum(size for name, size in sizes.items() if name.endswith(".onnx")) <= 4_000_000
