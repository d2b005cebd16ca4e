"""The self-test of a classifier file: its inputs and expected outputs."""

from __future__ import annotations

import numpy as np

from maskedge.modelfile.crop import crop_faces
from maskedge.sources import demo
from maskedge.types import Image
from maskedge.vision.self_test import SelfTest
from maskedge_train.classifier.checkpoint import ClassifierSpec

from ..onnx_file import TOLERANCE, coarse, open_cpu_session


def self_test_crops(spec: ClassifierSpec) -> Image:
    """Return the crops of the self-test: the faces of the built-in clip, a black and a white crop.

    Returns:
        uint8 `[N, S, S, 3]`, BGR, cut by the model's crop rule.
    """
    crops = []
    for label in ("with_mask", "without_mask"):
        people: set[int] = set()
        for index in range(0, demo.FRAMES, 10):
            for face in demo.truth(index):
                if face.label == label and face.visible > 0.99 and face.person not in people:
                    people.add(face.person)
                    crops.append(coarse(crop_faces(demo.draw(index), [face.box], spec.crop, spec.size)))
    flat = [np.full((1, spec.size, spec.size, 3), value, np.uint8) for value in (0, 255)]
    return np.concatenate([*crops, *flat])


def make_self_test(model: bytes, spec: ClassifierSpec, precision: str) -> SelfTest:
    """Record the outputs of a model on this machine as its self-test.

    Args:
        model: Bytes of the .onnx file.
        spec: Labels, size and crop rule.
        precision: `fp32`, `fp16` or `int8`; it sets the tolerance.
    """
    crops = self_test_crops(spec)
    outputs = np.concatenate(open_cpu_session(model).run(None, {"faces": crops}), axis=1)
    return SelfTest(crops, np.asarray(outputs, np.float32), TOLERANCE[precision])
