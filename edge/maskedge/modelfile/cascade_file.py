"""Checks a cascade's XML file and rewrites it for OpenCV.

OpenCV does not check the numbers of a cascade: a wrong index ends the process. This module parses
the file, checks every number, and writes a new text of checked content only. It accepts the format
of OpenCV 2 and later (`opencv-cascade-classifier`, Haar-like features and local binary patterns)
and the older format (`opencv-haar-classifier`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

MOST_BYTES = 16 * 1024 * 1024
MOST_ELEMENTS = 1_000_000
MOST_DEPTH = 16
MOST_STAGES, MOST_TREES, MOST_NODES = 1000, 50_000, 200_000
MOST_FEATURES = 200_000
SIDES = (4, 500)
"""Minimum and maximum side of the window in pixels."""
_LARGEST = 1e9
_CODES = 256
"""Values of a local binary pattern: a node has one bit for each."""
_RECTS = 3
"""Maximum number of rectangles of a Haar-like feature."""
_INTEGER = re.compile(r"[+-]?\d{1,10}\.?")
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,4})?")


class CascadeError(ValueError):
    """A file is refused. The text is a clause with the reason."""


@dataclass
class _Element:
    """An XML element with its children in order."""

    tag: str
    children: list[_Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def child(self, tag: str) -> _Element:
        """Return the only child with a tag."""
        found = [child for child in self.children if child.tag == tag]
        if len(found) != 1:
            raise CascadeError(f"<{self.tag}> holds {len(found) or 'no'} <{tag}>, expected one")
        return found[0]

    def find(self, tag: str) -> _Element | None:
        """Return the only child with a tag; None if there is none."""
        return self.child(tag) if any(child.tag == tag for child in self.children) else None

    @property
    def words(self) -> list[str]:
        """The words of the text."""
        if self.children:
            raise CascadeError(f"<{self.tag}> holds elements, expected numbers")
        return "".join(self.texts).split()

    def word(self) -> str:
        """Return the only word of the text."""
        words = self.words
        if len(words) != 1:
            raise CascadeError(f"<{self.tag}> holds {len(words)} words, expected one")
        return words[0]


def read_cascade(content: bytes) -> str:
    """Check a cascade and return it as text for OpenCV (`cv2.FileStorage` in memory).

    Args:
        content: Bytes of the XML file.

    Raises:
        CascadeError: The file is not a cascade, or a number is out of its range.
    """
    root = _parse(content)
    if root.tag != "opencv_storage":
        raise CascadeError(f"its outermost element is <{root.tag[:40]}>, expected <opencv_storage>")
    if len(root.children) != 1:
        raise CascadeError(f"it holds {len(root.children)} elements, expected one cascade")
    cascade = root.children[0]
    return "\n".join(_modern(cascade) if cascade.find("stageType") is not None else _old(cascade))


def _parse(content: bytes) -> _Element:
    """Parse XML within limits and without entities."""
    if len(content) > MOST_BYTES:
        raise CascadeError(f"it has {len(content) / 1e6:.0f} MB, the limit is {MOST_BYTES / 1e6:.0f} MB")
    top = _Element("")
    open_elements, count = [top], 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MOST_ELEMENTS or len(open_elements) > MOST_DEPTH:
            raise CascadeError(f"it has more than {MOST_ELEMENTS:,} elements, or more than {MOST_DEPTH} inside one another")
        element = _Element(tag)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(tag: str) -> None:
        open_elements.pop()

    def text(part: str) -> None:
        open_elements[-1].texts.append(part)

    def doctype(*_: Any) -> None:
        raise CascadeError("it has a document type, which a cascade does not need")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, CascadeError):
            raise
        raise CascadeError(f"it is not XML ({error})") from None
    return top.children[0]


def _modern(cascade: _Element) -> Iterator[str]:
    """Rewrite a cascade of the current format."""
    if cascade.child("stageType").word() != "BOOST":
        raise CascadeError("its stages are not of the type BOOST")
    kind = cascade.child("featureType").word()
    if kind not in ("HAAR", "LBP"):
        raise CascadeError(f"its features are {kind[:40]!r}, but OpenCV 4 supports only HAAR and LBP")
    width, height = (_integer(cascade.child(name).word(), *SIDES, f"<{name}>") for name in ("width", "height"))
    categories = _integer(cascade.child("featureParams").child("maxCatCount").word(), 0, _CODES, "<maxCatCount>")
    if categories != (0 if kind == "HAAR" else _CODES):
        raise CascadeError(f"maxCatCount is {categories}, expected {0 if kind == 'HAAR' else _CODES} for {kind}")
    features = _items(cascade.child("features"), MOST_FEATURES, "features")
    write = _haar if kind == "HAAR" else _pattern
    written = [write(feature, width, height, number) for number, feature in enumerate(features)]
    stages: list[_Stage] = []
    left = [MOST_TREES, MOST_NODES]
    for place, stage in enumerate(_items(cascade.child("stages"), MOST_STAGES, "stages")):
        trees = []
        for tree in _items(stage.child("weakClassifiers"), left[0], "trees"):
            left[0] -= 1
            nodes = _nodes(tree.child("internalNodes").words, 1 if kind == "HAAR" else _CODES // 32, kind, f"stage {place}")
            leaves = [_number(word, f"a leaf of stage {place}") for word in tree.child("leafValues").words]
            left[1] -= len(nodes)
            _check_tree(nodes, len(leaves), len(features), left[1], f"stage {place}")
            trees.append((nodes, leaves))
        stages.append(_Stage(_number(stage.child("stageThreshold").word(), f"the threshold of stage {place}"), trees))
    yield from _write(kind, width, height, stages, written)


_Node = tuple[int, int, int, "list[str]"]
"""Left and right child (above 0: a node, otherwise minus the number of a leaf), feature, and
threshold or bits."""


@dataclass
class _Stage:
    threshold: str
    trees: list[tuple[list[_Node], list[str]]]


def _nodes(words: Sequence[str], decisions: int, kind: str, where: str) -> list[_Node]:
    step = 3 + decisions
    if not words or len(words) % step:
        raise CascadeError(f"a tree of {where} has {len(words)} numbers, but a node takes {step}")
    nodes = []
    for at in range(0, len(words), step):
        left, right, feature = (_integer(word, -MOST_NODES, MOST_NODES, f"an index of {where}") for word in words[at : at + 3])
        rest = words[at + 3 : at + step]
        if kind == "HAAR":
            decision = [_number(word, f"a threshold of {where}") for word in rest]
        else:
            decision = [str(_integer(word, -(2**31), 2**31 - 1, f"a pattern of {where}")) for word in rest]
        nodes.append((left, right, feature, decision))
    return nodes


def _check_tree(nodes: Sequence[_Node], leaves: int, features: int, left: int, where: str) -> None:
    """Check that every index refers to a later node or a leaf. A cycle would never end."""
    if left < 0:
        raise CascadeError(f"it has more than {MOST_NODES:,} nodes")
    if leaves != len(nodes) + 1:
        raise CascadeError(f"a tree of {where} has {len(nodes)} nodes and {leaves} leaves")
    for number, (low, high, feature, _) in enumerate(nodes):
        if not 0 <= feature < features:
            raise CascadeError(f"a node of {where} uses feature {feature}, but there are {features}")
        for child in (low, high):
            if not (number < child < len(nodes) if child > 0 else -child < leaves):
                raise CascadeError(f"a node of {where} leads to {child}, which is neither a later node nor a leaf")


def _haar(feature: _Element, width: int, height: int, number: int) -> str:
    """Check and rewrite a Haar-like feature."""
    flag = feature.find("tilted")
    tilted = flag is not None and _integer(flag.word(), 0, 1, f"<tilted> of feature {number}") == 1
    rects = []
    for rect in _items(feature.child("rects"), _RECTS, f"rectangles of feature {number}"):
        words = rect.words
        if len(words) != 5:
            raise CascadeError(f"a rectangle of feature {number} has {len(words)} numbers, expected five")
        x, y, w, h = (_integer(word, 0, SIDES[1], f"a rectangle of feature {number}") for word in words[:4])
        # Rotated by 45 degrees it extends left by its height and down by both sides.
        inside = x - h >= 0 and x + w <= width and y + w + h <= height if tilted else x + w <= width and y + h <= height
        if not (w > 0 and h > 0 and inside):
            raise CascadeError(f"a rectangle of feature {number} leaves the window of {width} x {height} pixels")
        rects.append(f"<_>{x} {y} {w} {h} {_number(words[4], f'a weight of feature {number}')}</_>")
    return f"<_><rects>{''.join(rects)}</rects><tilted>{int(tilted)}</tilted></_>"


def _pattern(feature: _Element, width: int, height: int, number: int) -> str:
    """Check and rewrite a local binary pattern, a block of 3 x 3 rectangles."""
    words = feature.child("rect").words
    if len(words) != 4:
        raise CascadeError(f"the rectangle of feature {number} has {len(words)} numbers, expected four")
    x, y, w, h = (_integer(word, 0, SIDES[1], f"the rectangle of feature {number}") for word in words)
    if not (w > 0 and h > 0 and x + 3 * w <= width and y + 3 * h <= height):
        raise CascadeError(f"the pattern of feature {number} leaves the window of {width} x {height} pixels")
    return f"<_><rect>{x} {y} {w} {h}</rect></_>"


def _old(cascade: _Element) -> Iterator[str]:
    """Rewrite a cascade of the older format, where each node has its own feature."""
    size = cascade.find("size")
    if size is None:
        raise CascadeError("it is not a cascade: it has neither <stageType> nor <size>")
    words = size.words
    if len(words) != 2:
        raise CascadeError(f"<size> holds {len(words)} numbers, expected two")
    width, height = (_integer(word, *SIDES, "<size>") for word in words)
    features: list[str] = []
    stages: list[_Stage] = []
    left = [MOST_TREES, MOST_NODES]
    for place, stage in enumerate(_items(cascade.child("stages"), MOST_STAGES, "stages")):
        trees = []
        for tree in _items(stage.child("trees"), left[0], "trees"):
            left[0] -= 1
            nodes: list[_Node] = []
            leaves: list[str] = []
            for node in _items(tree, max(left[1], 1), "nodes"):
                features.append(_haar(node.child("feature"), width, height, len(features)))
                children = []
                for side in ("left", "right"):
                    if (value := node.find(f"{side}_val")) is not None:
                        children.append(-len(leaves))
                        leaves.append(_number(value.word(), f"a leaf of stage {place}"))
                    else:
                        children.append(_integer(node.child(f"{side}_node").word(), 1, MOST_NODES, f"an index of stage {place}"))
                threshold = _number(node.child("threshold").word(), f"a threshold of stage {place}")
                nodes.append((children[0], children[1], len(features) - 1, [threshold]))
            left[1] -= len(nodes)
            _check_tree(nodes, len(leaves), len(features), left[1], f"stage {place}")
            trees.append((nodes, leaves))
        stages.append(_Stage(_number(stage.child("stage_threshold").word(), f"the threshold of stage {place}"), trees))
    yield from _write("HAAR", width, height, stages, features)


def _write(kind: str, width: int, height: int, stages: Sequence[_Stage], features: Sequence[str]) -> Iterator[str]:
    most = max(len(stage.trees) for stage in stages)
    yield '<?xml version="1.0"?>\n<opencv_storage>\n<cascade type_id="opencv-cascade-classifier">'
    yield f"<stageType>BOOST</stageType><featureType>{kind}</featureType><height>{height}</height><width>{width}</width>"
    yield f"<stageParams><maxWeakCount>{most}</maxWeakCount></stageParams>"
    yield f"<featureParams><maxCatCount>{0 if kind == 'HAAR' else _CODES}</maxCatCount></featureParams>"
    yield f"<stageNum>{len(stages)}</stageNum>\n<stages>"
    for stage in stages:
        yield f"<_><maxWeakCount>{len(stage.trees)}</maxWeakCount><stageThreshold>{stage.threshold}</stageThreshold>"
        yield "<weakClassifiers>"
        for nodes, leaves in stage.trees:
            inner = " ".join(f"{left} {right} {feature} {' '.join(decision)}" for left, right, feature, decision in nodes)
            yield f"<_><internalNodes>{inner}</internalNodes><leafValues>{' '.join(leaves)}</leafValues></_>"
        yield "</weakClassifiers></_>"
    yield "</stages>\n<features>"
    yield from features
    yield "</features></cascade>\n</opencv_storage>\n"


def _items(element: _Element, most: int, what: str) -> list[_Element]:
    """Return the items of a list, 1 to `most`."""
    items = element.children
    if any(item.tag != "_" for item in items):
        raise CascadeError(f"<{element.tag}> is not a list of {what}")
    if not 1 <= len(items) <= most:
        raise CascadeError(f"it has {len(items):,} {what}, expected 1 to {most:,}")
    return items


def _integer(word: str, low: int, high: int, what: str) -> int:
    value = int(word.rstrip(".")) if _INTEGER.fullmatch(word) else None
    if value is None or not low <= value <= high:
        raise CascadeError(f"{what} is {word[:40]!r}, expected a whole number from {low} to {high}")
    return value


def _number(word: str, what: str) -> str:
    """Check a number and return its text unchanged, so that OpenCV reads the same digits."""
    if not _NUMBER.fullmatch(word) or not math.isfinite(value := float(word)) or abs(value) > _LARGEST:
        raise CascadeError(f"{what} is {word[:40]!r}, expected a finite number")
    return word
