"""Pictures with labelled boxes that do not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge.errors import UsageError
from maskedge.labelled_boxes import LabelledBox
from maskedge_bench.accuracy.scored_pictures import read_scene


@pytest.mark.parametrize("box", [(900_000.0, 10.0, 1_000_000.0, 50.0), (-90.0, 10.0, 20.0, 50.0), (10.0, 48.0, 50.0, 500.0)])
def test_a_box_outside_of_its_picture_is_refused(tmp_path: Path, box: tuple[float, float, float, float]) -> None:
    path = tmp_path / "small.png"
    cv2.imwrite(str(path), np.zeros((50, 60, 3), np.uint8))
    assert read_scene(path, [LabelledBox((-10.0, 10.0, 40.0, 60.0), "with_mask")]).shape == (50, 60, 3)
    with pytest.raises(UsageError, match=r"small\.png has a box outside of its 60 x 50 pixels: .*; correct or remove it"):
        read_scene(path, [LabelledBox(box, "with_mask")])
