"""The inputs and answers that travel in a model file, for `maskedge.vision.self_test`."""

from __future__ import annotations

import numpy as np

from maskedge.modelfile.crop import crop_faces
from maskedge.sources import demo
from maskedge.types import Image
from maskedge.vision.self_test import SelfTest
from maskedge_train.classifier.checkpoint import ClassifierSpec

from .parity import open_plainly

TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-2}
"""Greatest difference of a probability that another machine may show: integer kernels round as the processor does."""


def selftest_crops(spec: ClassifierSpec) -> Image:
    """Cut the composite faces out of the built-in clip, as the model wants them, and add black and white."""
    crops = []
    for label in ("with_mask", "without_mask"):
        people: set[int] = set()
        for index in range(0, demo.FRAMES, 10):
            for face in demo.truth(index):
                if face.label == label and face.visible > 0.99 and face.person not in people:
                    people.add(face.person)
                    crops.append(crop_faces(demo.draw(index), [face.box], spec.crop, spec.size))
    flat = [np.full((1, spec.size, spec.size, 3), value, np.uint8) for value in (0, 255)]
    return np.concatenate([*crops, *flat])


def make_selftest(model: bytes, spec: ClassifierSpec, precision: str) -> SelfTest:
    """Let a model answer its self-test on this machine."""
    crops = selftest_crops(spec)
    answers = np.concatenate(open_plainly(model).run(None, {"faces": crops}), axis=1)
    return SelfTest(crops, np.asarray(answers, np.float32), TOLERANCE[precision])
