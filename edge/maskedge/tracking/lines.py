"""Counting lines: people who cross a line are counted by direction and label.

The direction is `in` for a person who crosses from the left to the right of the line, as seen by
someone who walks along it from its first point to its last, and `out` for the other way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from maskedge.errors import UsageError
from maskedge.events import LINE_CROSSED, Event
from maskedge.rendering.draw import DrawnLine
from maskedge.settings import check_name, check_settings
from maskedge.types import Face, Frame
from maskedge.zones import Point, parse_points, sides_cross

from .elapsed import Elapsed
from .track import ROUNDING, Track, centre

IN, OUT = "in", "out"
DIRECTIONS = (IN, OUT)
MOST_LINES = 50
MOST_POINTS = 50
_EXAMPLE = 'name = "door", points = "0.5,0.1 0.5,0.9"'
_MIN_LENGTH = 0.01
"""Minimum length of a part of a line, as a fraction of the width and the height of the picture."""
BAND = 0.25
"""Distance from the line, in sides of the face's box, from which a person is on one side of it."""
_SMOOTHING = 0.1
"""Time constant in seconds of the place of a face. The boxes of a detector jitter."""
_SETTLE = 1.0
"""Maximum seconds for which a crossing waits until the label is no longer unsure."""


@dataclass(frozen=True)
class LineConfig:
    """A table `[[line]]`.

    Attributes:
        name: Name of the line.
        points: Two or more points in fractions of the picture, such as `0.5,0.1 0.5,0.9`.
    """

    name: str = field(default="", metadata={"help": "name of the line, such as door; each line has its own"})
    points: str = field(
        default="",
        metadata={
            "help": "two or more points 'X,Y X,Y ...', 0..1 of width and height; who crosses from its left to its right, seen "
            "along the line, goes in"
        },
    )

    def __post_init__(self) -> None:
        check_settings(self, "line")


@dataclass(frozen=True)
class Line:
    """A named line of one or more straight parts.

    Attributes:
        name: Name of the line.
        points: Its points in order, as fractions of the picture (0 to 1): at least two, and no two
            parts cross.
    """

    name: str
    points: tuple[Point, ...]

    @property
    def parts(self) -> Iterable[tuple[Point, Point]]:
        """The straight parts in order."""
        return zip(self.points, self.points[1:], strict=False)

    def crossings(self, start: Point, end: Point) -> int:
        """Return how often a straight way crosses the line: to its right less to its left.

        Args:
            start: Start of the way, as fractions of the picture.
            end: End of the way.
        """
        total = 0
        for a, b in self.parts:
            # A point on the line belongs to its right side, so that no crossing is missed or
            # counted twice if a way starts or ends there, or leads through a bend.
            before, after = _is_right(a, b, start), _is_right(a, b, end)
            if before != after and _is_right(start, end, a) != _is_right(start, end, b):
                total += 1 if after else -1
        return total

    def distance(self, point: Point, size: tuple[int, int]) -> float:
        """Return the distance of a point from the line in pixels.

        Args:
            point: The point, as fractions of the picture.
            size: Width and height of the frame in pixels.
        """
        x, y = point[0] * size[0], point[1] * size[1]
        nearest = math.inf
        for (ax, ay), (bx, by) in self.parts:
            ax, ay, dx, dy = ax * size[0], ay * size[1], (bx - ax) * size[0], (by - ay) * size[1]
            along = max(0.0, min(1.0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)))
            nearest = min(nearest, math.hypot(x - ax - along * dx, y - ay - along * dy))
        return nearest


def parse_line(name: str, points: str) -> Line:
    """Parse a line.

    Args:
        name: Its name.
        points: `X,Y X,Y ...`.

    Raises:
        UsageError: The name is invalid, or the text is not a line inside the picture; the message
            gives the reason.
    """
    name = check_name(name, "line.name")
    found = parse_points(points, f"line {name}", "point", _EXAMPLE)
    if not 2 <= len(found) <= MOST_POINTS:
        raise UsageError(f"line {name} has {len(found)} point{'s'[: len(found) != 1]}: 2 to {MOST_POINTS}, as in {_EXAMPLE}.")
    line = Line(name, tuple(found))
    parts = list(line.parts)
    for number, ((ax, ay), (bx, by)) in enumerate(parts, 1):
        if math.hypot(bx - ax, by - ay) < _MIN_LENGTH:
            raise UsageError(f"the points {number} and {number + 1} of line {name} are too close together: move them apart.")
    for index, first in enumerate(parts):
        for second in parts[index + 1 :]:
            if sides_cross(first, second):
                raise UsageError(f"parts of line {name} cross or touch: draw it without a loop.")
    return line


def parse_lines(tables: Sequence[LineConfig]) -> tuple[Line, ...]:
    """Parse the lines of a configuration.

    Raises:
        UsageError: A line is invalid, there are too many, or two have the same name.
    """
    if len(tables) > MOST_LINES:
        raise UsageError(f"{len(tables)} lines are too many: {MOST_LINES} at most.")
    lines = tuple(parse_line(table.name, table.points) for table in tables)
    for name, count in Counter(line.name for line in lines).items():
        if count > 1:
            raise UsageError(f"there are {count} lines with the name {name}: give each its own.")
    return lines


@dataclass(eq=False)
class _Passage:
    """A person and a line.

    Attributes:
        is_beside: True once the person was clearly on one side of the line.
        net: Crossings since then: to the right less to the left.
        crossed: Time at which `net` last changed.
        due: Time from which the crossing may be counted; None before.
    """

    is_beside: bool = False
    net: int = 0
    crossed: float = 0.0
    due: float | None = None


@dataclass(eq=False)
class _Way:
    """The way of a person.

    Attributes:
        place: Smoothed centre of the face, as fractions of the picture.
        time: Time of `place`.
        label: The label that counts.
        passages: By name of the line.
    """

    place: Point
    time: float
    label: str
    passages: dict[str, _Passage] = field(default_factory=dict)


class LineCounter:
    """Counts the people of one camera who cross lines.

    A person is a confirmed track. Its place is the centre of the face's box, smoothed over a tenth
    of a second. A crossing counts once the person, who was at least `BAND` faces away from the line
    on the one side, is as far away on the other side, and the detector has found the face since the
    crossing. Someone who stands on the line, turns back or walks around its end is not counted.
    The way of a person who is lost and found again goes on as a straight line.

    Args:
        lines: The lines.
        labels: Labels that are counted.
    """

    def __init__(self, lines: Sequence[Line] = (), labels: Sequence[str] = ()) -> None:
        self.lines = tuple(lines)
        self._labels = tuple(labels)
        self._counts = {line.name: self._zeros() for line in self.lines}
        self._ways: dict[int, _Way] = {}
        self._elapsed = Elapsed()
        self._now = 0.0

    def __bool__(self) -> bool:
        return bool(self.lines)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the lines, in the order of the configuration."""
        return tuple(line.name for line in self.lines)

    @property
    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Number of crossings by line, direction and label."""
        return {
            line: {direction: dict(labels) for direction, labels in directions.items()} for line, directions in self._counts.items()
        }

    def change(self, lines: Sequence[Line]) -> None:
        """Replace the lines. Lines that stay the same keep their counts."""
        same = {line.name for line in lines} & {line.name for line in self.lines if line in lines}
        self.lines = tuple(lines)
        self._counts = {line.name: self._counts[line.name] if line.name in same else self._zeros() for line in self.lines}
        for way in self._ways.values():
            way.passages = {name: passage for name, passage in way.passages.items() if name in same}

    def observe(self, frame: Frame, faces: Sequence[Face], tracks: Iterable[Track]) -> list[Event]:
        """Count the crossings that became certain in a frame.

        Args:
            frame: The frame.
            faces: The faces of the frame that count.
            tracks: All tracks, including tracks of lost faces.

        Returns:
            An event `line_crossed` for each of them.
        """
        if not self.lines:
            return []
        self._now += self._elapsed.step(frame.moment)
        known = {track.identity: track for track in tracks}
        seen = {face.track: face for face in faces}
        self._ways = {identity: way for identity, way in self._ways.items() if identity in known}
        events = []
        for identity, track in known.items():
            face = seen.get(identity)
            # A place that is only expected, while nothing observes the face, proves no crossing.
            if face is not None and track.unobserved <= ROUNDING:
                self._follow(identity, face, track, frame.size)
            way = self._ways.get(identity)
            if way is None or not track.confirmed:
                continue
            is_unsure = face is not None and face.unsure
            for name, passage in way.passages.items():
                if passage.due is None or (is_unsure and self._now < passage.due + _SETTLE):
                    continue
                direction = IN if passage.net > 0 else OUT
                passage.net, passage.due = 0, None
                counts = self._counts[name][direction]
                counts[way.label] = counts.get(way.label, 0) + 1
                details = {"line": name, "direction": direction, "track": identity, "label": way.label}
                events.append(Event(LINE_CROSSED, frame.time, frame.source, details))
        return events

    def drawn(self, size: tuple[int, int]) -> list[DrawnLine]:
        """Return the lines for the overlay, with the number of crossings in both directions.

        Args:
            size: Width and height of the picture in pixels.
        """
        width, height = size[0] - 1, size[1] - 1
        return [
            DrawnLine(
                line.name,
                tuple((round(x * width), round(y * height)) for x, y in line.points),
                sum(self._counts[line.name][IN].values()),
                sum(self._counts[line.name][OUT].values()),
            )
            for line in self.lines
        ]

    def _zeros(self) -> dict[str, dict[str, int]]:
        return {direction: dict.fromkeys(self._labels, 0) for direction in DIRECTIONS}

    def _follow(self, identity: int, face: Face, track: Track, size: tuple[int, int]) -> None:
        """Move a person to the place of the face, and watch the lines on the way."""
        x, y = centre(face.box)
        place = x / size[0], y / size[1]
        way = self._ways.get(identity)
        if way is None:
            way = self._ways[identity] = _Way(place, self._now, face.label)
        old = math.exp(-(self._now - way.time) / _SMOOTHING)
        last, now = way.place, (old * way.place[0] + (1 - old) * place[0], old * way.place[1] + (1 - old) * place[1])
        way.place, way.time, way.label = now, self._now, face.label
        band = BAND * math.sqrt((face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
        for line in self.lines:
            passage = way.passages.setdefault(line.name, _Passage())
            change = line.crossings(last, now)
            if change:
                passage.net += change
                passage.crossed = self._now
            if not passage.net:
                passage.due = None
            if line.distance(now, size) < band:
                continue
            if not passage.is_beside or not passage.net:
                passage.is_beside, passage.net = True, 0
            elif passage.due is None and self._now - track.since_found >= passage.crossed - ROUNDING:
                passage.due = self._now


def _is_right(start: Point, end: Point, point: Point) -> bool:
    """Return True for a point on the right of a way from `start` to `end`, or on it."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0]) >= 0
