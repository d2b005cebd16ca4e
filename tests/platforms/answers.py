"""What the bundled models answer on some frames: run by `compat.py` and `arm64.py` where only the base package is.

python answers.py FRAMES prints JSON.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from maskedge.modelfile.contract import MODELS
from maskedge.sources import demo
from maskedge.support.pictures import list_pictures, read_picture
from maskedge.vision.pipeline import MaskDetector
from maskedge.vision.self_test import verify


def answers(folder: Path) -> dict[str, object]:
    """Let every bundled file answer for the frames in the whole pipeline, and a classifier for their known faces."""
    frames = {int(path.stem): read_picture(path) for path in list_pictures(folder)}
    models: dict[str, object] = {}
    for path in sorted(MODELS.glob("*.onnx")):
        proof = verify(path)
        finds = proof.kind == "detector"
        detector = MaskDetector(detector_model=path) if finds else MaskDetector(path)
        known = {index: [] if finds else [face.box for face in demo.truth(index)] for index in frames}
        models[path.name] = {
            "selftest": {"inputs": proof.inputs, "worst": proof.worst, "passed": proof.passed},
            "probabilities": {index: detector.classifier.classify(image, known[index]).tolist() for index, image in frames.items()},
            "faces": {
                index: sorted([*face.box, face.label, round(face.score, 5)] for face in detector(image))
                for index, image in frames.items()
            },
        }
    versions = {"onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
    return {"machine": platform.machine(), "python": platform.python_version(), **versions, "models": models}


if __name__ == "__main__":
    print(json.dumps(answers(Path(sys.argv[1]))))
