"""Damaged, odd and hostile cascade files; the same seed yields the same files."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from maskedge.modelfile.contract import MODELS
from maskedge.vision.detectors.cascade import opencv_cascade

_STOCK = ("frontalface_alt2", "eye_tree_eyeglasses", "frontalface_alt", "license_plate_rus_16stages", "smile", "fullbody")
_WORDS = (
    "0", "-1", "1", "2", "-2", "3", "24", "25", "255", "256", "-99999", "99999", "2147483647", "2147483648", "-2147483648",
    "4294967296",
    "99999999999999999999", "1e30", "-1e30", "1e308", "1e999", "inf", "-inf", ".Inf", "nan", ".Nan", "", " ", "x", "0x10", "1.5",
    "--1", "1-", ".", "-", "e",
    "0 0", "\u0662", "9" * 400, "1" * 100_000,
)  # fmt: skip
_TAGS = (
    "stages", "features", "_", "rects", "rect", "internalNodes", "leafValues", "stageThreshold", "weakClassifiers", "width",
    "height", "stageType",
    "featureType", "featureParams", "maxCatCount", "tilted", "size", "trees", "threshold", "left_val", "left_node", "feature",
    "stageNum",
)  # fmt: skip


def cases(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of `count` cascade files."""
    source = random.Random(seed)  # noqa: S311  (no secret)
    bases = [_shorter((MODELS / "haar.xml").read_text(), 4), (MODELS / "haar.xml").read_text(), _patterns(source)]
    bases += [_shorter(opencv_cascade(name).read_text(), 3) for name in _STOCK]
    for number in range(count):
        text = source.choice(bases)
        if source.random() < 0.08:
            content = source.choice(_HOSTILE)(text)
        else:
            for _ in range(source.choice((1, 1, 1, 2, 5, 50))):
                text = _CHANGES[source.randrange(len(_CHANGES))](source, text)
            content = text.encode(errors="replace")
            if source.random() < 0.15:
                content = _bytes(source, content)
        yield f"{number:05}.xml", content


def _shorter(text: str, stages: int) -> str:
    """Remove the comments and all stages after the first `stages`."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    start, end = text.index("<stages>") + len("<stages>"), text.index("</stages>")
    depth, at = 0, start
    for match in re.finditer(r"<(/?)[^>]*>", text[start:end]):
        depth += -1 if match[1] else 1
        if depth == 0:
            stages, at = stages - 1, start + match.end()
            if stages == 0:
                break
    return text[:at] + text[end:]


def _patterns(source: random.Random) -> str:
    """Return a cascade of local binary patterns."""
    features = "".join(f"<_><rect>{source.randrange(6)} {source.randrange(6)} 2 3</rect></_>" for _ in range(20))
    trees = "".join(
        f"<_><internalNodes>0 -1 {number} {' '.join(str(source.randrange(-(2**31), 2**31)) for _ in range(8))}</internalNodes>"
        "<leafValues>-0.5 0.6</leafValues></_>"
        for number in range(20)
    )
    return (
        '<?xml version="1.0"?><opencv_storage><cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType>'
        "<featureType>LBP</featureType><height>24</height><width>24</width><stageParams><maxWeakCount>20</maxWeakCount></stageParams>"
        "<featureParams><maxCatCount>256</maxCatCount></featureParams><stageNum>1</stageNum><stages><_><maxWeakCount>20</maxWeakCount>"
        f"<stageThreshold>-1.</stageThreshold><weakClassifiers>{trees}</weakClassifiers></_></stages><features>{features}</features>"
        "</cascade></opencv_storage>"
    )


def _number(source: random.Random, text: str) -> str:
    """Replace a number with another word.

    Half of the changes are in the head, because most of the text is features.
    """
    places = list(re.finditer(r"(?<=[>\s])[-+.\deE]+(?=[<\s])", text[:3000] if source.random() < 0.5 else text))
    if not places:
        return text
    place = source.choice(places)
    return text[: place.start()] + source.choice(_WORDS) + text[place.end() :]


def _step(source: random.Random, text: str) -> str:
    """Change a number by an amount that a plausibility check would accept."""
    places = list(re.finditer(r"(?<=[>\s])-?\d+(?=[<\s])", text[:3000] if source.random() < 0.3 else text))
    if not places:
        return text
    place = source.choice(places)
    return text[: place.start()] + str(int(place[0][:30]) + source.choice((-20, -1, 1, 2, 20, 300))) + text[place.end() :]


def _tag(source: random.Random, text: str) -> str:
    old, new = source.choice(_TAGS), source.choice(_TAGS)
    match source.randrange(3):
        case 0:
            return text.replace(f"<{old}>", f"<{new}>").replace(f"</{old}>", f"</{new}>")
        case 1:
            return text.replace(f"<{old}>", f"<{old}><{new}>", 1).replace(f"</{old}>", f"</{new}></{old}>", 1)
        case _:
            return text.replace(f"<{old}>", "", 1).replace(f"</{old}>", "", 1)


def _element(source: random.Random, text: str) -> str:
    """Remove an element, or repeat it."""
    places = list(re.finditer(r"<(\w+)>[^<>]*</\1>", text[:5000] if source.random() < 0.5 else text))
    if not places:
        return text
    place = source.choice(places)
    return text[: place.start()] + place[0] * source.choice((0, 0, 2, 3)) + text[place.end() :]


def _cut(source: random.Random, text: str) -> str:
    at = source.randrange(len(text) + 1)
    return text[:at] + text[at + source.choice((1, 10, 1000, 10**9)) :]


def _kind(source: random.Random, text: str) -> str:
    return text.replace("HAAR", source.choice(("LBP", "HOG", "", "haar"))).replace("LBP", source.choice(("HAAR", "LBP")))


def _bytes(source: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(source.choice((1, 3, 30))):
        if damaged:
            damaged[source.randrange(len(damaged))] = source.choice((0, 0x20, 0x3C, 0x3E, 0x80, 0xFF, source.randrange(256)))
    return bytes(damaged)


_CHANGES: tuple[Callable[[random.Random, str], str], ...] = (
    _number,
    _number,
    _number,
    _step,
    _step,
    _step,
    _tag,
    _element,
    _element,
    _cut,
    _kind,
)

_ENTITIES = "".join(f'<!ENTITY e{number} "{f"&e{number - 1};" * 10 if number else "1 " * 10}">' for number in range(12))
_HOSTILE: tuple[Callable[[str], bytes], ...] = (
    lambda text: b"",
    lambda text: b"<" * 100_000,
    lambda text: b"<_>" * 1_000_000,
    lambda text: b'<?xml version="1.0"?><opencv_storage>' + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</opencv_storage>",
    lambda text: f'<?xml version="1.0"?><!DOCTYPE x [{_ENTITIES}]><opencv_storage>&e11;</opencv_storage>'.encode(),
    lambda text: b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><opencv_storage/>',
    lambda text: text.encode("utf-16"),
    lambda text: text.replace('version="1.0"', 'version="1.0" encoding="latin-1"').encode(),
    lambda text: text.replace('version="1.0"', 'version="1.0" encoding="no-such"').encode(),
    lambda text: text.replace("<stages>", "<stages>" + "<_>1</_>" * 200_000).encode(),
    lambda text: text.replace("<features>", "<features>" + "<_></_>" * 400_000).encode(),
    lambda text: text.encode() + b" " * 20_000_000,
    lambda text: b"%YAML:1.0\n---\ncascade:\n   stageType: BOOST\n",
    lambda text: b'{"cascade": {"stageType": "BOOST"}}',
    lambda text: b"\x1f\x8b\x08\x00" + b"\x00" * 100,
    lambda text: re.sub(r"(<stageThreshold>|<stage_threshold>)[^<]*", r"\g<1>-1e9", text).encode(),
)  # fmt: skip
