from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from maskedge.boxes import contained
from maskedge.tracking.motion_gate import WHOLE_EVERY, MotionGate, SearchPlan, is_inside
from maskedge.tracking.optical_flow import shrink
from maskedge.types import Box, Image

SIZE = (480, 640)


def room(seed: int = 0, noise: float = 3) -> Image:
    """A textured room with the noise of a sensor."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    walls = 120 + 60 * np.sin(x / 40) * np.cos(y / 30)
    noisy = walls[..., None] + np.random.default_rng(seed).normal(0, noise, (*SIZE, 3))
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def put(image: Image, box: Box, value: int = 220) -> Image:
    x1, y1, x2, y2 = (round(side) for side in box)
    image[y1:y2, x1:x2] = value
    return image


def search(gate: MotionGate, image: Image, young: tuple[Box, ...] = (), known: tuple[Box, ...] = ()) -> list[Box] | None:
    plan = gate.plan(shrink(image), young, known)
    gate.mark_searched(plan)
    return plan.regions


def test_first_frame_is_searched_whole_and_a_quiet_room_not_at_all() -> None:
    gate = MotionGate()
    found = [search(gate, room(seed)) for seed in range(2 * WHOLE_EVERY)]
    assert found[0] is None
    assert found[1:WHOLE_EVERY] == [[]] * (WHOLE_EVERY - 1)
    assert found[WHOLE_EVERY] is None, "every fifth detection searches the whole picture"


def test_what_appears_is_searched_with_its_surroundings_once() -> None:
    gate, person = MotionGate(), (300.0, 200.0, 380.0, 300.0)
    search(gate, room(0))
    regions = search(gate, put(room(1), person))
    assert regions is not None
    assert len(regions) == 1
    assert is_inside((270, 170, 410, 330), regions)
    assert (regions[0][2] - regions[0][0]) * (regions[0][3] - regions[0][1]) < 0.3 * 640 * 480
    assert search(gate, put(room(2), person)) == []


def test_a_change_that_was_not_searched_is_not_forgotten() -> None:
    gate, person = MotionGate(), (300.0, 200.0, 380.0, 300.0)
    search(gate, room(0))
    for seed in (1, 2):
        plan = gate.plan(shrink(put(room(seed), person)), ())
        assert plan.regions, "the detection of the first plan did not take place"


@pytest.mark.parametrize(
    "image",
    [np.asarray(np.clip(room(1).astype(int) + 40, 0, 255), np.uint8), np.roll(room(1), 37, axis=1)],
    ids=["light", "camera"],
)
def test_light_and_moved_camera_are_searched_whole(image: npt.NDArray[np.uint8]) -> None:
    gate = MotionGate()
    search(gate, room(0))
    assert search(gate, image) is None


def test_another_size_is_searched_whole() -> None:
    gate = MotionGate()
    search(gate, room(0))
    assert search(gate, np.ascontiguousarray(room(1)[:240, :320])) is None
    assert search(gate, room(2)) is None


def test_faces_are_searched_if_they_are_young_or_moved() -> None:
    gate, face = MotionGate(), (100.0, 100.0, 160.0, 170.0)
    search(gate, room(0))
    assert search(gate, room(1), (), (face,)) == []
    young = search(gate, room(2), (face,))
    assert young is not None
    assert is_inside((60, 60, 200, 210), young)
    moved = search(gate, put(room(3), (110, 110, 130, 130)), (), (face,))
    assert moved is not None
    assert is_inside((60, 60, 200, 210), moved)


def test_regions_are_disjoint_and_in_the_picture() -> None:
    gate, random = MotionGate(), np.random.default_rng(3)
    for count in range(1, 12):
        search(gate, room(0))
        image = room(1)
        for x, y in random.uniform(0, 1, (count, 2)):
            put(image, (x * 600, y * 440, x * 600 + 30, y * 440 + 30))
        regions = gate.plan(shrink(image), [(-20.0, -20.0, 30.0, 30.0)]).regions
        for index, region in enumerate(regions or []):
            assert 0 <= region[0] < region[2] <= 640
            assert 0 <= region[1] < region[3] <= 480
            assert all(contained(region, other) == 0 for other in (regions or [])[:index])


def test_tiny_pictures() -> None:
    gate = MotionGate()
    for shape in ((1, 1, 3), (1, 500, 3), (300, 1, 3)):
        for _ in range(3):
            small = shrink(np.zeros(shape, np.uint8))
            plan = gate.plan(small, [(0.0, 0.0, 1.0, 1.0)])
            assert isinstance(plan, SearchPlan)
            gate.mark_searched(plan)
