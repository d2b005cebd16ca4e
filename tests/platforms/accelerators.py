"""`make accelerators`: run the bundled models with the OpenVINO build of ONNX Runtime.

Each model is tried as `model.provider = "openvino"` tries it: the self-test must pass, and the time
is compared with the processor's in the same process, in turn. Only x86-64 has this build.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from compare import ROOT, run

REQUIREMENTS = ("onnxruntime-openvino", "opencv-python-headless>=4.10,<5", "click", "numpy")
SCRIPT = """
from pathlib import Path
import maskedge, onnxruntime
from maskedge.modelfile.onnx_session import available_accelerators
from maskedge.vision.acceleration import try_accelerator
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector
print("onnxruntime", onnxruntime.__version__)
assert available_accelerators() == ["openvino"]
for path in sorted((Path(maskedge.__file__).parent / "models").glob("*.onnx")):
    model = (CnnDetector if path.name.startswith("edgeface") else MaskClassifier)(path)
    trial = try_accelerator(model, "openvino", keep=lambda _: True)
    print(f"{path.name}: {trial.problem or f'same outputs, {trial.ratio:.2f} times the time of the processor'}")
"""


def main() -> None:
    """Print the result of each model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        python = folder / "bin" / "python"
        run([sys.executable, "-m", "venv", folder])
        # Without its dependencies, the package does not bring the other onnxruntime.
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS])
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", ROOT])
        print(run([python, "-c", SCRIPT], cwd=folder), end="")


if __name__ == "__main__":
    main()
