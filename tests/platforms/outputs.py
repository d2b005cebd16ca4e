"""Print the outputs of the bundled models for some frames as JSON.

Usage: python outputs.py FOLDER_OF_FRAMES

`compat.py` and `arm64.py` run it where only the base package is installed.
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


def outputs(folder: Path) -> dict[str, object]:
    """Run each bundled model on the frames in the pipeline, and classifiers on known faces, too."""
    frames = {int(path.stem): read_picture(path) for path in list_pictures(folder)}
    models: dict[str, object] = {}
    for path in sorted(MODELS.glob("*.onnx")):
        proof = verify(path)
        is_detector = proof.kind == "detector"
        detector = MaskDetector(detector_model=path) if is_detector else MaskDetector(path)
        known = {index: [] if is_detector else [face.box for face in demo.truth(index)] for index in frames}
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
    print(json.dumps(outputs(Path(sys.argv[1]))))
