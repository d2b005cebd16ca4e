"""Zones: the parts of the picture in which faces count.

A face is in a zone if the centre of its box is in the zone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from .counts import count_labels
from .errors import UsageError
from .settings import check_settings, is_plain_name, shown
from .types import Box, Face

Point: TypeAlias = tuple[float, float]
"""x and y as fractions of the width and the height of the picture, 0 to 1."""

_EXAMPLE = "--roi 'door=0.1,0.2 0.5,0.2 0.5,0.9'"
_MIN_AREA = 1e-4
"""Minimum area of a zone, as a fraction of the picture."""
_LONGEST_NAME = 40
MOST_ZONES = 100
MOST_CORNERS = 100


@dataclass(frozen=True)
class ZonesConfig:
    """The section `[zones]`.

    Attributes:
        roi: Zones, for example `door=0.1,0.2 0.5,0.2 0.5,0.9`.
    """

    roi: tuple[str, ...] = field(
        default=(),
        metadata={"help": "polygons 'NAME=X,Y X,Y X,Y ...', 0..1 of width and height; faces outside all of them are ignored"},
    )

    def __post_init__(self) -> None:
        check_settings(self, "zones")
        if len(self.roi) > MOST_ZONES:
            raise UsageError(f"zones.roi takes {MOST_ZONES} zones at most, got {len(self.roi)}.")


@dataclass(frozen=True)
class Zone:
    """A named polygon.

    Attributes:
        name: Name of the zone.
        points: Corners in order, as fractions of the picture (0 to 1): at least three, and no two
            sides cross.
    """

    name: str
    points: tuple[Point, ...]

    def holds(self, x: float, y: float) -> bool:
        """Return True if a point is inside (ray casting).

        Args:
            x: Distance from the left as a fraction of the width.
            y: Distance from the top as a fraction of the height.
        """
        inside = False
        for (x1, y1), (x2, y2) in _sides(self.points):
            # Each side that a ray to the right crosses switches between outside and inside.
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
        return inside


def parse_zone(text: str, number: int = 1) -> Zone:
    """Parse a zone.

    Args:
        text: `NAME=X,Y X,Y X,Y ...`; the name is optional.
        number: Number for a zone without a name, such as `zone1`.

    Raises:
        UsageError: The text is not a polygon inside the picture; the message gives the reason.
    """
    name, equals, corners = text.rpartition("=")
    name = name.strip() if equals else f"zone{number}"
    if not is_plain_name(name, _LONGEST_NAME):
        allowed = f"{_LONGEST_NAME} letters, digits, '_', '-', '.' or blanks at most"
        raise UsageError(f"the zone {shown(text)} needs a name of {allowed}: as in {_EXAMPLE}.")
    points = parse_points(corners, f"zone {name}", "corner", _EXAMPLE)
    if len(points) > 1 and points[0] == points[-1]:
        points.pop()
    if len(points) > MOST_CORNERS:
        raise UsageError(f"zone {name} has {len(points)} corners: {MOST_CORNERS} at most.")
    if len(points) < 3:
        raise UsageError(f"zone {name} has {len(points)} corners: a polygon needs at least three, as in {_EXAMPLE}.")
    sides = list(_sides(points))
    for index, first in enumerate(sides):
        for second in sides[index + 1 :]:
            if sides_cross(first, second):
                raise UsageError(f"sides of zone {name} cross or touch: give its corners in order around it.")
    if abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in sides)) / 2 < _MIN_AREA:
        raise UsageError(f"zone {name} is too thin to hold a face: move its corners apart.")
    return Zone(name, tuple(points))


def parse_points(text: str, owner: str, noun: str, example: str) -> list[Point]:
    """Parse the points of a zone or a line.

    Args:
        text: `X,Y X,Y ...`.
        owner: What the points belong to, for messages.
        noun: What a point is called, for messages.
        example: A correct setting, for messages.

    Raises:
        UsageError: A point is not a pair of numbers, or is outside the picture.
    """
    points = []
    for point in text.split():
        try:
            x, y = (float(value) for value in point.split(","))
        except ValueError:
            raise UsageError(f"the {noun} {shown(point)} of {owner} is not X,Y: write it as in {example}.") from None
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise UsageError(
                f"the {noun} {shown(point)} of {owner} is outside the picture: X and Y go from 0 (left, top) to 1 (right, bottom)."
            )
        points.append((x, y))
    return points


class Zones:
    """The zones of a run. Without zones the whole picture counts.

    Args:
        zones: The zones, with different names.

    Raises:
        UsageError: Two zones have the same name.
    """

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self.zones = tuple(zones)
        for name, count in Counter(zone.name for zone in self.zones).items():
            if count > 1:
                raise UsageError(f"there are {count} zones with the name {name}: give each its own.")

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Zones:
        """Parse zones (see `parse_zone`).

        Raises:
            UsageError: A text is not a polygon, or two zones have the same name.
        """
        return cls(parse_zone(text, number) for number, text in enumerate(texts, 1))

    def __bool__(self) -> bool:
        return bool(self.zones)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the zones, in the order of the configuration."""
        return tuple(zone.name for zone in self.zones)

    def of(self, box: Box, size: tuple[int, int]) -> tuple[str, ...]:
        """Return the names of the zones that contain the centre of a box.

        Args:
            box: x1, y1, x2, y2 in pixels of the frame.
            size: Width and height of the frame in pixels.
        """
        x, y = (box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]
        return tuple(zone.name for zone in self.zones if zone.holds(x, y))

    def keep(self, faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
        """Return the faces whose centre is inside a zone; without zones, all faces.

        Args:
            faces: Faces of a frame.
            size: Width and height of the frame in pixels.
        """
        return [face for face in faces if not self.zones or self.of(face.box, size)]

    def counts(self, faces: Sequence[Face], size: tuple[int, int]) -> dict[str, dict[str, int]]:
        """Count faces by zone and label. In overlapping zones a face counts in each.

        Args:
            faces: Faces of a frame.
            size: Width and height of the frame in pixels.
        """
        inside: dict[str, list[Face]] = {name: [] for name in self.names}
        for face in faces:
            for name in self.of(face.box, size):
                inside[name].append(face)
        return {name: dict(count_labels(found)) for name, found in inside.items()}

    def outlines(self, size: tuple[int, int]) -> list[tuple[str, list[tuple[int, int]]]]:
        """Return name and corners in pixels of each zone, for the overlay.

        Args:
            size: Width and height of the picture in pixels.
        """
        width, height = size[0] - 1, size[1] - 1
        return [(zone.name, [(round(x * width), round(y * height)) for x, y in zone.points]) for zone in self.zones]


def _sides(points: Sequence[Point]) -> Iterable[tuple[Point, Point]]:
    return zip(points, (*points[1:], points[0]), strict=True)


def sides_cross(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Return True if two sides share a point other than the corner between neighbours."""
    (a, b), (c, d) = first, second
    if b == c:
        return _folds(a, b, d)
    if d == a:
        return _folds(c, a, b)
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if 0 not in turns:
        return turns[0] != turns[1] and turns[2] != turns[3]
    ends = ((c, first), (d, first), (a, second), (b, second))
    return any(turn == 0 and _between(point, side) for turn, (point, side) in zip(turns, ends, strict=True))


def _folds(a: Point, corner: Point, b: Point) -> bool:
    """Return True if two neighbouring sides overlap."""
    return _turn(a, corner, b) == 0 and (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1]) >= 0


def _turn(a: Point, b: Point, c: Point) -> int:
    """Return on which side of the line from `a` to `b` the point `c` is: -1, 0 or 1."""
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return 0 if abs(area) < 1e-12 else int(math.copysign(1, area))


def _between(point: Point, side: tuple[Point, Point]) -> bool:
    return all(min(a, b) <= value <= max(a, b) for value, a, b in zip(point, *side, strict=True))
