"""The device side stands alone."""

from __future__ import annotations

import re
import subprocess
import sys

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Block())
"""


def python(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    script = BLOCK.format(names=set(blocked) or "()") + code
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_runtime_works_without_torch_and_onnx() -> None:
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


def test_missing_extra_is_named() -> None:
    for module, extra in (("maskedge_train", "train"), ("maskedge_export", "export")):
        arguments = "['classifier', '--data', '.']" if extra == "train" else "['x.ckpt', '-o', 'x.onnx']"
        done = python(f"from {module}.cli import main; main({arguments})", "torch")
        assert done.returncode == 2
        assert re.search(rf"-m pip install .*\[{extra}\]", done.stderr)
        assert "Traceback" not in done.stderr


def test_tests_of_the_device_are_collected_without_pytorch() -> None:
    """Those of the training are left out with a reason."""
    missing = ("torch", "lightning", "kornia", "onnxscript", "streamlit", "selenium", "matplotlib")
    done = python(
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        "import pytest; sys.exit(pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider']))"
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "edge/vision/test_pipeline.py::" in done.stdout
    assert "train/test_" not in done.stdout
    assert "PyTorch is not installed" in done.stdout


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
