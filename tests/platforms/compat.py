"""`make compat`: the bundled models on the oldest onnxruntime that the base install admits and on the newest."""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import requires
from pathlib import Path

from compare import ROOT, answers_of, describe, differences, fail, run, write_frames
from packaging.requirements import Requirement


def oldest_onnxruntime() -> str:
    """Give the lower bound of the base install."""
    own = next(requirement for requirement in map(Requirement, requires("maskedge") or []) if requirement.name == "onnxruntime")
    return next(bound.version for bound in own.specifier if bound.operator == ">=")


def main() -> None:
    """Compare two temporary environments with this one."""
    wrong = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_frames(folder / "frames")
        ours = answers_of([sys.executable], folder / "frames")
        print(f"here: {describe(ours)}")
        for name, requirement in (("oldest", f"onnxruntime=={oldest_onnxruntime()}.*"), ("newest", "onnxruntime")):
            python = folder / name / "bin" / "python"
            run([sys.executable, "-m", "venv", folder / name])
            run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT, requirement])
            theirs = answers_of([python], folder / "frames", cwd=folder)
            print(f"{name}: {describe(theirs)}")
            wrong += [f"{model} ({name})" for model in differences(ours, theirs)]
            verified = run([python.with_name("edge-export"), "verify", next(iter((ROOT / "edge/maskedge/models").glob("*.onnx")))])
            print(f"  edge-export verify, base install only: {verified.splitlines()[-1]}")
    if wrong:
        fail(f"other answers from {', '.join(wrong)}.")


if __name__ == "__main__":
    main()
