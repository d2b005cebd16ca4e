"""Which faces count, and which polygons are refused."""

from __future__ import annotations

import numpy as np
import pytest

from maskedge import Face, UsageError
from maskedge.zones import Zones, parse_zone

LEFT = "left=0,0 0.5,0 0.5,1 0,1"


def face(x: float, y: float, label: str = "with_mask") -> Face:
    """A face of 20 pixels around a point of a frame of 200 x 100."""
    return Face((x - 10, y - 10, x + 10, y + 10), label, 0.9, label, 0.9, 1)


def test_faces_outside_all_zones_are_ignored_and_the_rest_counted() -> None:
    zones = Zones.parse([LEFT, "top=0,0 1,0 1,0.5 0,0.5"])
    faces = [face(20, 80), face(20, 20, "without_mask"), face(180, 20), face(180, 80)]
    assert zones.keep(faces, (200, 100)) == faces[:3]
    assert zones.counts(faces, (200, 100)) == {
        "left": {"with_mask": 1, "without_mask": 1},
        "top": {"without_mask": 1, "with_mask": 1},
    }
    assert Zones().keep(faces, (200, 100)) == faces
    assert not Zones()
    # Relative coordinates: the same zone on a frame of another size.
    assert zones.of((0, 700, 100, 800), (2000, 1000)) == ("left",)


def test_the_centre_of_the_box_decides() -> None:
    zones = Zones.parse([LEFT])
    assert zones.of((0, 0, 198, 50), (200, 100)) == ("left",)
    assert zones.of((2, 0, 200, 50), (200, 100)) == ()


def test_a_concave_polygon_against_opencv() -> None:
    import cv2

    zone = parse_zone("u=0.1,0.1 0.3,0.1 0.3,0.7 0.7,0.7 0.7,0.1 0.9,0.1 0.9,0.9 0.1,0.9")
    corners = np.array(zone.points, np.float32)
    for x, y in np.random.default_rng(1).random((500, 2)):
        assert zone.holds(x, y) == (cv2.pointPolygonTest(corners, (float(x), float(y)), measureDist=False) > 0)
    assert Zones([zone]).outlines((101, 201))[0][1][0] == (10, 20)


def test_names() -> None:
    assert parse_zone("0,0 1,0 1,1", 3).name == "zone3"
    assert parse_zone("front door = 0,0 1,0 1,1 0,0").points == ((0, 0), (1, 0), (1, 1))
    with pytest.raises(UsageError, match="2 zones with the name left"):
        Zones.parse([LEFT, LEFT])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 corners"),
        ("door=", "0 corners"),
        ("door=0,0 1,1", "at least three"),
        ("door=0,0 1,1 0,0", "at least three"),
        ("door=0,0 1 1,1", "is not X,Y"),
        ("door=0,0 a,b 1,1", "is not X,Y"),
        ("door=0,0 1,0,0 1,1", "is not X,Y"),
        ("door=0,0 640,0 640,480", "outside the picture"),
        ("door=0,0 nan,0 1,1", "outside the picture"),
        ("door=0,0 -0.1,0 1,1", "outside the picture"),
        ("door=0,0 inf,0 1,1", "outside the picture"),
        ("door=0,0 1,1 1,0 0,1", "cross"),
        ("door=0,0 1,0 0.5,0", "cross or touch"),
        ("door=0,0 1,0 1,1 1,0.5 1,0.2", "cross or touch"),
        ("door=0,0 0.5,0 0.5,0 1,1", "cross or touch"),
        ("door=0,0 1,0 1,0.0001", "too thin"),
        ("do/or=0,0 1,0 1,1", "needs a name"),
        ("=0,0 1,0 1,1", "needs a name"),
        (f"{'x' * 41}=0,0 1,0 1,1", "needs a name of 40 letters"),
    ],
)
def test_bad_polygons_are_refused_with_a_sentence(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_zone(text)


def test_names_have_letters_of_every_script() -> None:
    # Accents and vowel signs are characters of their own.
    for name in ("Tür", "Tu\u0308r", "दरवाज़ा", "ประตู", "门 1"):
        assert parse_zone(f"{name}=0,0 1,0 1,1").name == name
