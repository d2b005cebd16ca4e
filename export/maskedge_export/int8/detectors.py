"""int8 detectors: quantisation, gates and self-test."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import onnx

from maskedge.boxes import box_iou, side
from maskedge.sources import demo
from maskedge.support.pictures import read_picture
from maskedge.types import Box, Image
from maskedge.vision.detectors import Detections
from maskedge.vision.detectors.network import CnnDetector
from maskedge.vision.self_test import DetectorSelfTest
from maskedge_train.data.dataset import DataSet

from ..onnx_file import coarse, open_cpu_session
from .quantise import quantise

LEAST_FOUND = -0.01
"""Smallest admitted change of the share of faces found."""
MOST_FALSE_ALARMS = 1.2
"""Largest admitted factor of the false alarms per picture."""
LEAST_SPEED = 1.1
"""Smallest admitted speed-up of the median time of a picture over float32."""
_HEADS = ("net.smooth", "net.head", "net.objectness", "net.distances")
"""Names of weights that stay in float32: the heads, which decide scores and boxes, and the layers
before them, so that the outputs of three sizes are not converted."""
_OPERATORS = ("Conv", "Add", "Relu", "Transpose", "Reshape")
_OVERLAP = 0.4
_MIN_FACE_SIZE = 0.05
"""Minimum face size relative to the picture's longest side, 32 of 640."""
_TOLERANCE = 1.0
"""Largest admitted difference of a coordinate of the self-test on another machine, in pixels."""
_SELF_TEST_FACES = 4
"""Least number of faces in the frame of the self-test, if a frame has that many."""


def quantise_detector(model: onnx.ModelProto, detector: CnnDetector, calibration: DataSet) -> onnx.ModelProto:
    """Quantise a detector; the activations of the pictures set the ranges."""
    frames = (detector.frame(read_picture(picture.path))[None] for picture in calibration.pictures)
    return quantise(model, frames, _OPERATORS, _HEADS)


def measure_detectors(source: Path, quantised: onnx.ModelProto, tests: DataSet) -> dict[str, Any]:
    """Compare the int8 detector with the float32 one, picture by picture in turn.

    Returns:
        The gates and the figures, as the card holds them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.name
        own = onnx.ModelProto()
        own.CopyFrom(quantised)
        metadata = onnx.load(source).metadata_props
        own.metadata_props.extend(entry for entry in metadata if entry.key != "maskedge.sha256")
        path.write_bytes(own.SerializeToString())
        detectors = [CnnDetector(source), CnnDetector(path)]
    counts = [_Counts(), _Counts()]
    speeds = []
    for number, picture in enumerate(tests.pictures):
        image = read_picture(picture.path)
        seconds: list[list[float]] = [[], []]
        # The first run of each detector at a size prepares its buffers and is not counted.
        for turn in range(-1, 3):
            for which in (0, 1) if (number + turn) % 2 else (1, 0):
                start = time.thread_time()
                found = detectors[which].detect(image)
                if turn >= 0:
                    seconds[which].append(time.thread_time() - start)
                else:
                    counts[which].add(found, [face.box for face in picture.faces], max(picture.size))
        speeds.append(median(seconds[0]) / max(median(seconds[1]), 1e-9))
    fp32, int8 = counts
    speed = median(speeds)
    return {
        "gates": {
            f"faces found at most {-LEAST_FOUND} under fp32": int8.share - fp32.share >= LEAST_FOUND - 1e-9,
            f"false alarms at most {MOST_FALSE_ALARMS} times those of fp32": int8.false_alarms
            <= MOST_FALSE_ALARMS * max(fp32.false_alarms, 1),
            f"median time at least {LEAST_SPEED} times better than fp32 where it was exported": speed >= LEAST_SPEED,
        },
        "faces": fp32.faces,
        "found": round(int8.share, 4),
        "found_fp32": round(fp32.share, 4),
        "false_alarms": round(int8.false_alarms / len(tests.pictures), 4),
        "false_alarms_fp32": round(fp32.false_alarms / len(tests.pictures), 4),
        "speed": round(speed, 3),
    }


class _Counts:
    """Faces found and false alarms of one detector."""

    def __init__(self) -> None:
        self.faces = self.found = self.false_alarms = 0

    @property
    def share(self) -> float:
        return self.found / max(self.faces, 1)

    def add(self, detections: Detections, faces: Sequence[Box], longest: int) -> None:
        large = [face for face in faces if side(face) >= _MIN_FACE_SIZE * longest]
        self.faces += len(large)
        self.found += sum(any(box_iou(face, box) >= _OVERLAP for box in detections.boxes) for face in large)
        self.false_alarms += sum(
            side(box) >= _MIN_FACE_SIZE * longest and all(box_iou(face, box) < _OVERLAP for face in faces)
            for box in detections.boxes
        )


def detector_self_test(model: onnx.ModelProto) -> str:
    """Record the output of an int8 detector for a small frame of the built-in clip."""
    session = open_cpu_session(model.SerializeToString())
    least = next(float(onnx.numpy_helper.to_array(item)[0]) for item in model.graph.initializer if item.name == "least_score")
    answers: list[tuple[float, Image, Any, Any]] = []
    for index in range(0, demo.FRAMES, 10):
        frame = coarse(np.asarray(cv2.resize(demo.draw(index), (160, 128), interpolation=cv2.INTER_AREA), np.uint8))
        boxes, scores = session.run(["boxes", "scores"], {"frame": frame[None]})
        clear = float(np.abs(scores - least).min()) if len(scores) >= _SELF_TEST_FACES else -1.0
        answers.append((clear, frame, boxes, scores))
    # Rounding decides what is found near the threshold, so the frame with the clearest scores is taken.
    _, frame, boxes, scores = max(answers, key=lambda answer: answer[0])
    return DetectorSelfTest(frame, np.asarray(boxes, np.float32), np.asarray(scores, np.float32), _TOLERANCE).to_json()
