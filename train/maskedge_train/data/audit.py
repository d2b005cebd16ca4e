"""What is wrong with a data set: files that cannot be read, copies, augmented copies, label conflicts, people."""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.support.files import write_file
from maskedge.support.pictures import natural_key
from maskedge.support.text import displayable

from .dataset import FACE_LABELS, Picture, PictureFile, load_picture
from .near_duplicates import Relations, find_relations, person_of

MAX_PIXELS = 2**28
"""Greatest number of pixels that is decoded: some 0.8 GB. A header can claim more in a file of a few bytes."""

SMALL = 64
"""Below so many pixels, on the shorter side, a picture counts as small."""

TEST_SHARE = 0.2
"""Share of the random test part of which the audit tells how much of it training would have seen."""

_NO_PAIRS: npt.NDArray[np.int64] = np.empty((0, 2), np.int64)

# Only the beginning counts: a suffix may carry a tail, as in `mask.jpg_1088wx1632h`.
_SUFFIX = re.compile(
    r"\.(?:(?P<jpeg>jpe?g|jpe|jfif)|(?P<png>png)|(?P<gif>gif)|(?P<webp>webp)|(?P<bmp>bmp|dib)|(?P<tiff>tiff?)"
    r"|(?P<avif>avif)|(?P<heif>hei[cf])|(?P<jp2>jp2)|(?P<jxl>jxl)|(?P<pnm>p[bgnp]m))",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    rb"(?P<jpeg>\xff\xd8\xff)|(?P<png>\x89PNG\r\n\x1a\n)|(?P<gif>GIF8[79]a)|(?P<webp>RIFF.{4}WEBP)|(?P<bmp>BM.{4}\0{4})"
    rb"|(?P<tiff>II\*\0|MM\0\*)|(?P<avif>.{4}ftypavi[fs])|(?P<heif>.{4}ftyp(?:hei[cfmsx]|hev[cx]|mif1|msf1))"
    rb"|(?P<jp2>\0{3}\x0cjP  )|(?P<jxl>\xff\n|\0{3}\x0cJXL )|(?P<pnm>P[1-6]\s)",
    re.DOTALL,
)
_HEAD = 32


def named_format(path: Path) -> str | None:
    """Give the format that a file's suffix claims, as `jpeg`."""
    found = _SUFFIX.match(path.suffix)
    return found.lastgroup if found else None


def content_format(head: bytes) -> str | None:
    """Give the format that a file's first 32 bytes show, as `jpeg`."""
    found = _CONTENT.match(head)
    return found.lastgroup if found else None


def damage(data: bytes) -> str | None:
    """Say what is wrong with the bytes of a picture, as far as that shows without decoding them."""
    if not data:
        return "is empty (0 bytes)"
    kind = content_format(data[:_HEAD])
    frame = _jpeg_frame(data) if kind == "jpeg" else 0
    try:
        width, height = _claimed_size(data, kind, frame)
    except struct.error:
        return "is cut short within its header"
    if width * height > MAX_PIXELS:
        return f"has a header that claims {width:,} x {height:,} pixels"
    cut = (
        # A thumbnail before the frame has an end of its own.
        (kind == "jpeg" and data.find(b"\xff\xd9", frame) < 0)
        or (kind == "png" and b"IEND" not in data)
        or (kind == "webp" and int.from_bytes(data[4:8], "little") + 8 > len(data))
    )
    return "is cut short: its end is missing" if cut else None


def _jpeg_frame(data: bytes) -> int:
    """Find the frame header of a JPEG file, which holds its size; 0 where there is none."""
    at = 2
    while at + 1 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return at
        # Any number of 0xFF may stand before a marker.
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def _claimed_size(data: bytes, kind: str | None, jpeg_frame: int) -> tuple[int, int]:
    if kind == "png":
        width, height = struct.unpack_from(">II", data, 16)
    elif kind == "gif":
        width, height = struct.unpack_from("<HH", data, 6)
    elif kind == "jpeg" and jpeg_frame:
        height, width = struct.unpack_from(">HH", data, jpeg_frame + 5)
    else:
        # The others cannot claim as much, or OpenCV refuses them itself.
        return 0, 0
    return width, height


@dataclass(frozen=True)
class Listing:
    """What lies in a data set's folder.

    Attributes:
        folder: The folder.
        classes: Its sub-folders: every one is a class.
        files: The files in them that are pictures by their name or by their first bytes. `name` is the path in the folder.
        ignored: Paths in the folder of what is neither class nor picture; those of folders end in `/`.
        refused: Path in the folder and reason of what could not be looked at.
    """

    folder: Path
    classes: list[str]
    files: list[PictureFile]
    ignored: list[str]
    refused: list[tuple[str, str]]


def list_data(folder: Path) -> Listing:
    """List a data set: a folder with one sub-folder a label.

    Raises:
        UsageError: The folder is not there or has no sub-folder.
    """
    try:
        entries = sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise UsageError(f"{displayable(folder)} cannot be read as a folder ({error.strerror}).") from error
    # Hidden folders belong to other programs, such as .git.
    classes = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if not classes:
        needed = ", ".join(FACE_LABELS[:2])
        raise UsageError(f"{displayable(folder)} has no sub-folder: a data set is a folder with one sub-folder a label ({needed}).")
    listing = Listing(folder, [entry.name for entry in classes], [], [], [])
    listing.ignored.extend(_ignored_name(folder, entry) for entry in entries if entry not in classes)
    for sub_folder in classes:
        try:
            paths = sorted(sub_folder.iterdir(), key=natural_key)
        except OSError as error:
            listing.refused.append((f"{sub_folder.name}/", f"cannot be read ({error.strerror})"))
            continue
        for path in paths:
            if _is_picture(path):
                listing.files.append(PictureFile(f"{sub_folder.name}/{path.name}", path, "faces", sub_folder.name))
            else:
                listing.ignored.append(_ignored_name(folder, path))
    return listing


def _ignored_name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")


def _is_picture(path: Path) -> bool:
    # OpenCV is not asked: it crashes on names that are no UTF-8.
    if not path.is_file():
        return False
    if named_format(path):
        return True
    try:
        with path.open("rb") as file:
            return content_format(file.read(_HEAD)) is not None
    except OSError:
        return False


@dataclass(frozen=True)
class Conflict:
    """Related pictures in different classes: `kind` is `identical`, `near` or `turned`, the closest of their relations."""

    kind: str
    members: list[int]


@dataclass(frozen=True)
class Mismatch:
    """A picture whose suffix claims another format than it has; `named` is None where the suffix is no picture's."""

    name: str
    named: str | None
    content: str


@dataclass(frozen=True)
class Audit:
    """What was found in a data set. Numbers in groups are positions in `pictures`.

    Attributes:
        listing: What lies in the folder.
        pictures: The pictures that can be read.
        unreadable: Path in the folder and reason for what cannot.
        mismatches: Pictures whose suffix claims another format.
        identical: Groups with the same bytes, the largest first, as in all groups.
        near: Groups that look alike, mirrored or not, and are not all identical.
        turned: Groups of which one is the other turned, beyond what looks alike anyway.
        conflicts: Related pictures in different classes.
        pattern: Finds names of augmented copies.
        augmented: Pictures with such a name.
        orphans: Those of them without a relative that has another name.
        people: Pictures by person whom the names tell of; None where no pattern was given.
        seen: Share of a random test part that is expected to have a relative among the other pictures.
        seen_people: The same where the pictures of one person are relatives as well; None as above.
    """

    listing: Listing
    pictures: list[Picture]
    unreadable: list[tuple[str, str]]
    mismatches: list[Mismatch]
    identical: list[list[int]]
    near: list[list[int]]
    turned: list[list[int]]
    conflicts: list[Conflict]
    pattern: str
    augmented: list[int]
    orphans: list[int]
    people: dict[str, list[int]] | None
    seen: float
    seen_people: float | None

    def counts(self) -> dict[str, tuple[int, int]]:
        """Count by class: files that are meant as pictures, and those that can be read."""
        files = [file.label for file in self.listing.files]
        read = [_label(picture) for picture in self.pictures]
        return {label: (files.count(label), read.count(label)) for label in self.listing.classes}

    def findings(self) -> list[str]:
        """Say what keeps the folders from being a data set to train with."""
        known = ", ".join(FACE_LABELS)
        counts = self.counts()
        sentences = [f"{displayable(label)} holds no picture." for label, (files, _) in counts.items() if not files]
        sentences += [
            f"{displayable(label)} holds no readable picture." for label, (files, read) in counts.items() if files and not read
        ]
        if len(counts) == 1:
            sentences.append("There is only one class: training needs two.")
        sentences += [f"There is no folder {label}: training needs it." for label in FACE_LABELS[:2] if label not in counts]
        sentences += [
            f"{displayable(label)} is no label that training knows ({known})." for label in counts if label not in FACE_LABELS
        ]
        return sentences

    def people_in_several_classes(self) -> list[str]:
        """Name the people of whom several classes have pictures."""
        people = self.people or {}
        return [person for person, members in people.items() if len({_label(self.pictures[index]) for index in members}) > 1]

    def small(self) -> list[int]:
        """List the pictures whose shorter side is under 64 pixels, the smallest first."""
        small = [index for index, picture in enumerate(self.pictures) if min(picture.size) < SMALL]
        return sorted(small, key=lambda index: min(self.pictures[index].size))

    def rows(self) -> list[tuple[str, str]]:
        """Give the figures as rows of a name and a value."""
        rows = [
            ("files that cannot be read", f"{len(self.unreadable):,}"),
            ("files and folders passed over", f"{len(self.listing.ignored):,}"),
            ("suffix and content differ", f"{len(self.mismatches):,}"),
            (
                "byte-identical",
                _sizes(self.identical) + (f", {_copies(self.identical):,} of them copies" if self.identical else ""),
            ),
            ("near-identical or mirrored", _sizes(self.near)),
            ("turned copies (augmented by content)", _sizes(self.turned)),
            ("label conflicts", _sizes([conflict.members for conflict in self.conflicts])),
            (
                "augmented by name",
                f"{len(self.augmented):,}, of which {len(self.augmented) - len(self.orphans):,} have their original in the data",
            ),
        ]
        if self.people is not None:
            pictures = sum(map(len, self.people.values()))
            several = len(self.people_in_several_classes())
            rows.append(("people by name", f"{len(self.people):,} with {pictures:,} pictures, {several:,} in several classes"))
        if self.pictures:
            widths, heights = (_quartiles(values) for values in zip(*(picture.size for picture in self.pictures), strict=True))
            smallest, largest = self._extremes()
            rows += [
                ("width: least, quartiles, greatest", " / ".join(map(str, widths.values()))),
                ("height: least, quartiles, greatest", " / ".join(map(str, heights.values()))),
                ("smallest picture", _size_and_name(smallest)),
                ("largest picture", _size_and_name(largest)),
                (f"shorter side under {SMALL} pixels", f"{len(self.small()):,}"),
            ]
        rows.append((f"random {TEST_SHARE:.0%} test part seen in training", f"{self.seen:.1%}"))
        if self.seen_people is not None:
            rows.append(("the same, with the pictures of one person", f"{self.seen_people:.1%}"))
        return rows

    def report(self) -> dict[str, Any]:
        """Give everything as what JSON can hold; names as `displayable` gives them."""
        names = [displayable(picture.name) for picture in self.pictures]
        smallest, largest = self._extremes() if self.pictures else (None, None)
        return {
            "folder": displayable(self.listing.folder),
            "pictures": len(names),
            "classes": {displayable(label): {"files": files, "readable": read} for label, (files, read) in self.counts().items()},
            "findings": self.findings(),
            "unreadable": [{"name": displayable(name), "reason": reason} for name, reason in self.unreadable],
            "ignored": [displayable(name) for name in self.listing.ignored],
            "mismatches": [
                {"name": displayable(item.name), "named": item.named, "content": item.content} for item in self.mismatches
            ],
            "identical": _group_report(self.identical, names) | {"copies": _copies(self.identical)},
            "near": _group_report(self.near, names),
            "turned": _group_report(self.turned, names),
            "conflicts": [{"kind": item.kind, "names": [names[index] for index in item.members]} for item in self.conflicts],
            "augmented": {
                "pattern": self.pattern,
                "pictures": len(self.augmented),
                "with_original": len(self.augmented) - len(self.orphans),
                "names": [names[index] for index in self.augmented],
                "without_original": [names[index] for index in self.orphans],
            },
            "people": None if self.people is None else self._people_report(self.people, names),
            "sizes": {
                "width": _quartiles([picture.size[0] for picture in self.pictures]),
                "height": _quartiles([picture.size[1] for picture in self.pictures]),
                "smallest": smallest and {"name": displayable(smallest.name), "size": smallest.size},
                "largest": largest and {"name": displayable(largest.name), "size": largest.size},
                f"under_{SMALL}": len(self.small()),
            },
            "random_split": {
                "test_share": TEST_SHARE,
                "seen": round(self.seen, 4),
                "seen_with_people": None if self.seen_people is None else round(self.seen_people, 4),
            },
        }

    def _people_report(self, people: dict[str, list[int]], names: Sequence[str]) -> dict[str, Any]:
        return {
            "people": len(people),
            "pictures": sum(map(len, people.values())),
            "in_several_classes": len(self.people_in_several_classes()),
            "names": {displayable(person): [names[index] for index in members] for person, members in people.items()},
        }

    def _extremes(self) -> tuple[Picture, Picture]:
        def area(picture: Picture) -> int:
            return picture.size[0] * picture.size[1]

        return min(self.pictures, key=area), max(self.pictures, key=area)

    def save(self, path: Path) -> None:
        """Write the report as JSON.

        Raises:
            OutputError: The file cannot be written.
        """
        write_file(path, json.dumps(self.report(), indent=1, ensure_ascii=False) + "\n")


def audit_data(
    listing: Listing,
    *,
    augmented: str,
    people: re.Pattern[str] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Audit:
    """Read every picture of a data set and compare it with every other.

    Args:
        listing: What to read (`list_data`).
        augmented: Regular expression that is searched in file names to find augmented copies.
        people: Finds a person's name in a file name (`relations.people_pattern`).
        progress: Called after each file.

    Raises:
        UsageError: `augmented` is no regular expression.
    """
    try:
        pattern = re.compile(augmented)
    except re.error as error:
        raise UsageError(f"{augmented!r} is no regular expression ({error}).") from error

    pictures: list[Picture] = []
    unreadable = list(listing.refused)
    mismatches: list[Mismatch] = []
    with ThreadPoolExecutor() as pool:
        for file, (picture, reason, content) in zip(listing.files, pool.map(_examine, listing.files), strict=True):
            if picture:
                pictures.append(picture)
            else:
                unreadable.append((file.name, reason))
            if content and content != (named := named_format(file.path)):
                mismatches.append(Mismatch(file.name, named, content))
            progress()

    count = len(pictures)
    found = find_relations(pictures, people) if pictures else Relations([], _NO_PAIRS, _NO_PAIRS, {})
    look = Relations(found.identical, found.near, found.turned, {})
    numbers = look.groups(count)
    by_name = [index for index, picture in enumerate(pictures) if pattern.search(PurePosixPath(picture.name).name)]
    with_original = set(np.delete(numbers, by_name).tolist())
    persons: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures if people else ()):
        if people and (person := person_of(picture, people)):
            persons.setdefault(person, []).append(index)
    return Audit(
        listing,
        pictures,
        unreadable,
        mismatches,
        sorted(found.identical, key=len, reverse=True),
        _near_groups(pictures, found),
        _turned_groups(pictures, found),
        _conflicts(pictures, found),
        augmented,
        by_name,
        [index for index in by_name if numbers[index] not in with_original],
        dict(sorted(persons.items())) if people else None,
        expected_seen(numbers),
        expected_seen(found.groups(count)) if people else None,
    )


def expected_seen(groups: npt.NDArray[np.int64], share: float = TEST_SHARE) -> float:
    """Give the share of a test part that is expected to have a relative outside of it when each picture is drawn alone.

    Args:
        groups: int64 `[N]`, the group of each picture.
        share: Share of the pictures that are drawn.
    """
    count = len(groups)
    drawn = round(share * count)
    if not drawn:
        return 0.0
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    # Given one picture in the test part: the chance that every other of its group was drawn too.
    others = np.arange(1, sizes.max())
    chances = np.concatenate([[1.0], np.cumprod(np.maximum(drawn - others, 0) / (count - others))])
    return float(np.mean(1 - chances[sizes[group] - 1]))


def _examine(file: PictureFile) -> tuple[Picture | None, str, str | None]:
    """Read a file: the picture or the reason why there is none, and the format of its content."""
    try:
        data = file.path.read_bytes()
    except OSError as error:
        return None, f"cannot be read ({error.strerror})", None
    content = content_format(data[:_HEAD])
    if reason := damage(data):
        return None, reason, content
    try:
        picture, reasons = load_picture(file)
    except (cv2.error, MemoryError):
        return None, "is far longer than wide, or wider than long: it cannot be compared", content
    if picture:
        return picture, "", content
    if content is None:
        return None, "is no picture", None
    return None, "; ".join(reasons), content


def _label(picture: Picture) -> str:
    return picture.faces[0].label


def _joined(count: int, pairs: npt.NDArray[np.int64], identical: list[list[int]] | None = None) -> list[list[int]]:
    """Join pairs, and groups of identical pictures, to groups of two or more of `count` pictures, the largest first."""
    members: dict[int, list[int]] = {}
    for index, number in enumerate(Relations(identical or [], pairs, _NO_PAIRS, {}).groups(count).tolist()):
        members.setdefault(number, []).append(index)
    return sorted((group for group in members.values() if len(group) > 1), key=len, reverse=True)


def _near_groups(pictures: Sequence[Picture], found: Relations) -> list[list[int]]:
    groups = _joined(len(pictures), found.near, found.identical)
    return [group for group in groups if len({pictures[index].sha256 for index in group}) > 1]


def _turned_groups(pictures: Sequence[Picture], found: Relations) -> list[list[int]]:
    near = set(map(tuple, found.near.tolist()))
    pairs = [pair for pair in found.turned.tolist() if tuple(pair) not in near]
    return _joined(len(pictures), np.array(pairs, np.int64).reshape(-1, 2))


def _conflicts(pictures: Sequence[Picture], found: Relations) -> list[Conflict]:
    identical = [pair for group in found.identical for pair in itertools.combinations(group, 2)]
    kinds: dict[tuple[int, int], str] = {}
    for kind, pairs in (("identical", identical), ("near", found.near.tolist()), ("turned", found.turned.tolist())):
        for first, second in pairs:
            if _label(pictures[first]) != _label(pictures[second]):
                kinds.setdefault((first, second), kind)
    closest = ("identical", "near", "turned")
    conflicts = []
    for members in _joined(len(pictures), np.array(list(kinds), np.int64).reshape(-1, 2)):
        own = {kind for (first, _), kind in kinds.items() if first in members}
        conflicts.append(Conflict(min(own, key=closest.index), members))
    return sorted(conflicts, key=lambda conflict: closest.index(conflict.kind))


def _quartiles(values: Sequence[int]) -> dict[str, int]:
    names = ("least", "q1", "median", "q3", "greatest")
    return dict(zip(names, np.percentile(values, (0, 25, 50, 75, 100)).astype(int).tolist(), strict=True)) if values else {}


def _copies(groups: Iterable[Sequence[int]]) -> int:
    return sum(len(group) - 1 for group in groups)


def _sizes(groups: Sequence[Sequence[int]]) -> str:
    return f"{sum(map(len, groups)):,} pictures in {len(groups):,} group{'s' * (len(groups) > 1)}" if groups else "none"


def _size_and_name(picture: Picture) -> str:
    return f"{picture.size[0]} x {picture.size[1]}, {displayable(picture.name)}"


def _group_report(groups: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    return {"groups": [[names[index] for index in group] for group in groups], "pictures": sum(map(len, groups))}
