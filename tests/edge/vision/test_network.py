"""The network as a detector: the part of a picture that it searches."""

from __future__ import annotations

import numpy as np
import pytest

from maskedge.boxes import box_iou
from maskedge.sources import demo
from maskedge.types import Box
from maskedge.vision.detectors import as_region_detector, load_detector
from maskedge.vision.detectors.network import CnnDetector


@pytest.fixture(scope="module")
def network() -> CnnDetector:
    return CnnDetector()


def test_faces_well_inside_a_region_are_those_of_the_whole_picture(network: CnnDetector) -> None:
    compared = 0
    for index in range(0, demo.FRAMES, 25):
        image = demo.draw(index)
        whole = network.detect(image)
        assert whole.scores is not None
        for box, score in zip(whole.boxes, whole.scores, strict=True):
            margin = 1.5 * (box[3] - box[1])
            region = (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin)
            found = network.detect(image, region)
            assert found.scores is not None
            best = max(range(len(found)), key=lambda row: box_iou(box, found.boxes[row]), default=None)
            inside = min(box[0], box[1], image.shape[1] - box[2], image.shape[0] - box[3]) > 10
            if score < 0.5 or not inside:
                continue
            assert best is not None
            assert box_iou(box, found.boxes[best]) > 0.8
            assert found.scores[best] == pytest.approx(score, abs=0.15)
            compared += 1
    assert compared > 20


def test_the_whole_picture_as_a_region_changes_nothing(network: CnnDetector) -> None:
    image = demo.draw(150)
    whole, region = network.detect(image), network.detect(image, (0, 0, 640, 480))
    assert whole.boxes == region.boxes
    assert len(whole)


@pytest.mark.parametrize(
    "region", [(-50, -50, 10, 10), (630, 470, 900, 900), (700, 500, 800, 600), (-9, -9, -3, -3), (5, 5, 5, 5), (9.5, 9.5, 9.6, 9.7)]
)
def test_any_region_works(network: CnnDetector, region: Box) -> None:
    network.detect(demo.draw(0), region)


def test_the_search_of_a_region_takes_the_scale_of_the_picture(network: CnnDetector) -> None:
    """A region is not enlarged: its input has as many pixels as its share of the picture."""
    sizes: list[tuple[int, ...]] = []

    class Spy(CnnDetector):
        def infer(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            sizes.append(frame.shape)
            return super().infer(frame)

    detector = Spy()
    sizes.clear()
    detector.detect(np.zeros((480, 640, 3), np.uint8), (100, 100, 228, 228))
    assert sizes == [(96, 96, 3)]


def test_a_file_with_a_fixed_input_searches_regions_too() -> None:
    detector = load_detector("cnn")
    assert as_region_detector(detector) is detector
