"""`make compat`: run the bundled models on the oldest supported onnxruntime and on the newest."""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import requires
from pathlib import Path

from compare import ROOT, describe, differences, fail, outputs_of, run, write_frames
from packaging.requirements import Requirement


def oldest_onnxruntime() -> str:
    """Return the lower bound of the base install."""
    own = next(requirement for requirement in map(Requirement, requires("maskedge") or []) if requirement.name == "onnxruntime")
    return next(bound.version for bound in own.specifier if bound.operator == ">=")


def main() -> None:
    """Compare the outputs of two new environments with this one's."""
    wrong = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_frames(folder / "frames")
        ours = outputs_of([sys.executable], folder / "frames")
        print(f"here: {describe(ours)}")
        for name, requirement in (("oldest", f"onnxruntime=={oldest_onnxruntime()}.*"), ("newest", "onnxruntime")):
            python = folder / name / "bin" / "python"
            run([sys.executable, "-m", "venv", folder / name])
            run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT, requirement])
            theirs = outputs_of([python], folder / "frames", cwd=folder)
            print(f"{name}: {describe(theirs)}")
            wrong += [f"{model} ({name})" for model in differences(ours, theirs)]
            for model in sorted((ROOT / "edge/maskedge/models").glob("*.onnx")):
                run([python.with_name("edge-doctor"), "--model", model])
            print("  edge-doctor --model: passed")
    if wrong:
        fail(f"outputs differ: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
