"""The device's package needs no library and no package of the workstation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from maskedge.sources import demo

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name in {names} or name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def python(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    script = BLOCK.format(names=set(blocked) or "()") + code
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_runtime_and_benchmarks_work_without_torch_and_onnx() -> None:
    done = python(
        "from maskedge import MaskDetector\n"
        "from maskedge.sources import demo\n"
        "import maskedge.cli.run, maskedge.cli.doctor, maskedge.runtime.loop, maskedge.sinks\n"
        "import maskedge_bench.speed.measure, maskedge_bench.cli.main\n"
        "print(len(MaskDetector()(demo.draw(150))))\n",
        *("torch", "onnx", "onnxscript", "lightning", "kornia", "maskedge_train", "maskedge_export"),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3


def test_missing_library_of_an_extra_is_named() -> None:
    for module, extra in (("maskedge_train", "train"), ("maskedge_export", "export")):
        arguments = "['classifier', '--data', '.']" if extra == "train" else "['x.ckpt', '-o', 'x.onnx']"
        done = python(f"from {module}.cli import main; main({arguments})", "torch")
        assert done.returncode == 2
        assert re.search(rf"-m pip install .*\[{extra}\]", done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("extra", ["train", "export", "bench"])
def test_command_of_a_package_that_a_device_lacks_names_its_extra(extra: str) -> None:
    done = python(f"from maskedge.cli.workstation import {extra}; {extra}()", "maskedge_train", "maskedge_export", "maskedge_bench")
    assert done.returncode == 2
    assert re.fullmatch(rf"error: maskedge_{extra} is not installed: .*-m pip install .*\[{extra}\]'?\n", done.stderr)


def test_device_tests_are_collected_without_pytorch_and_the_others_skipped() -> None:
    missing = ("torch", "lightning", "kornia", "onnxscript", "streamlit", "selenium", "matplotlib")
    done = python(
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        "import pytest; sys.exit(pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider']))"
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "edge/vision/test_pipeline.py::" in done.stdout
    assert "train/test_" not in done.stdout
    assert "PyTorch is not installed" in done.stdout


def test_onnx_runtime_reports_nothing_to_its_maker() -> None:
    """From 1.29 on it does so unless this variable is set when it is loaded."""
    code = "import maskedge.errors, os, sys; print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    for own, expected in ((None, "1 False\n"), ("0", "0 False\n")):
        environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        environment |= {} if own is None else {"ORT_DISABLE_TELEMETRY": own}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
        assert done.stdout == expected, done.stderr


def test_help_loads_neither_opencv_nor_onnxruntime() -> None:
    for module in (
        "maskedge.cli.run",
        "maskedge.cli.doctor",
        "maskedge_bench.cli.main",
        "maskedge_train.cli",
        "maskedge_export.cli",
    ):
        done = python(f"from {module} import main; main(['--help'])", "cv2", "onnxruntime", "torch", "numpy")
        assert done.returncode == 0, done.stderr


def test_a_run_on_a_picture_loads_only_what_it_uses(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), demo.draw(150))
    unused = ("asyncio", "http.client", "importlib.metadata", "numpy.ma", "numpy.random", "sqlite3", "ssl", "urllib.request")
    done = python(
        f"from maskedge.cli.run import main\n"
        f"main(['--source', {str(picture)!r}, '--no-show', '--events', '-'], standalone_mode=False)\n",
        *unused,
    )
    assert done.returncode == 0, done.stderr
    assert '"faces"' in done.stdout
