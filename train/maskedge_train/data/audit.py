"""Audit of a data set: unreadable files, copies, augmented copies, label conflicts, people."""

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
from maskedge.support.text import counted, displayable

from .dataset import FACE_LABELS, Picture, PictureFile, load_picture
from .near_duplicates import NearDuplicates, find_near_duplicates, person_of

MAX_PIXELS = 2**28
"""Maximum number of pixels that is decoded, about 0.8 GB. A tiny file's header can claim more."""

SMALL = 64
"""Pictures whose shorter side has fewer pixels count as small."""

TEST_SHARE = 0.2
"""Share of the random test part for which the audit estimates the leakage."""

_NO_PAIRS: npt.NDArray[np.int64] = np.empty((0, 2), np.int64)

# Match only the beginning, because a suffix may have a tail, for example `mask.jpg_1088wx1632h`.
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


def suffix_format(path: Path) -> str | None:
    """Return the format that a file's suffix claims, such as `jpeg`."""
    found = _SUFFIX.match(path.suffix)
    return found.lastgroup if found else None


def content_format(head: bytes) -> str | None:
    """Return the format that a file's first 32 bytes show, such as `jpeg`."""
    found = _CONTENT.match(head)
    return found.lastgroup if found else None


def find_damage(data: bytes) -> str | None:
    """Describe the damage of a picture that is visible without decoding; None without damage."""
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
        # A thumbnail before the frame has its own end marker.
        (kind == "jpeg" and data.find(b"\xff\xd9", frame) < 0)
        or (kind == "png" and b"IEND" not in data)
        or (kind == "webp" and int.from_bytes(data[4:8], "little") + 8 > len(data))
    )
    return "is cut short: its end is missing" if cut else None


def _jpeg_frame(data: bytes) -> int:
    """Return the offset of a JPEG file's frame header, which holds its size; 0 if there is none."""
    at = 2
    while at + 1 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return at
        # Any number of 0xFF may precede a marker.
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
        # The headers of other formats cannot claim so many pixels, or OpenCV refuses them.
        return 0, 0
    return width, height


@dataclass(frozen=True)
class Listing:
    """Content of a data set's folder.

    Attributes:
        folder: The folder.
        classes: Names of its sub-folders. Each is a class.
        files: Files in them that are pictures by name or by their first bytes. `name` is the path
            within the folder.
        ignored: Paths within the folder of all other files and folders. Names of folders end in
            `/`.
        refused: Path within the folder and reason for everything that could not be examined.
    """

    folder: Path
    classes: list[str]
    files: list[PictureFile]
    ignored: list[str]
    refused: list[tuple[str, str]]


def list_data(folder: Path) -> Listing:
    """List a data set: a folder with one sub-folder per label.

    Raises:
        UsageError: The folder does not exist or has no sub-folder.
    """
    try:
        entries = sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise UsageError(f"{displayable(folder)} cannot be read as a folder ({error.strerror}).") from error
    # Hidden folders such as .git belong to other programs.
    classes = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if not classes:
        needed = ", ".join(FACE_LABELS[:2])
        raise UsageError(
            f"{displayable(folder)} has no sub-folder: a data set is a folder with one sub-folder per label ({needed})."
        )
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
    # OpenCV crashes on names that are not UTF-8, so its own check cannot be used.
    if not path.is_file():
        return False
    if suffix_format(path):
        return True
    try:
        with path.open("rb") as file:
            return content_format(file.read(_HEAD)) is not None
    except OSError:
        return False


@dataclass(frozen=True)
class Conflict:
    """Similar pictures in different classes.

    Attributes:
        kind: Closest similarity among them: `identical`, `near` or `rotated`.
        members: Positions in `Audit.pictures`.
    """

    kind: str
    members: list[int]


@dataclass(frozen=True)
class Mismatch:
    """A picture whose suffix claims another format than its content.

    Attributes:
        name: Path within the folder.
        named: Format of the suffix; None if the suffix is not that of a picture.
        content: Format of the content.
    """

    name: str
    named: str | None
    content: str


@dataclass(frozen=True)
class Audit:
    """Findings about a data set. Numbers in groups are positions in `pictures`.

    Attributes:
        listing: Content of the folder.
        pictures: The readable pictures.
        unreadable: Path within the folder and reason for each unreadable file.
        mismatches: Pictures whose suffix claims another format.
        identical: Groups with the same bytes. All groups are sorted by size, the largest first.
        near: Groups of similar pictures, mirrored or not, that are not all identical.
        rotated: Groups of rotated copies that are not near-duplicates.
        conflicts: Similar pictures in different classes.
        pattern: Pattern of the names of augmented copies.
        augmented: Pictures with such a name.
        orphans: Augmented copies without a related picture of another name.
        people: Pictures by person, from the file names; None without a pattern.
        seen: Expected share of a random test part with a related picture in the training part.
        seen_people: The same share if pictures of one person are related, too; None without a
            pattern.
    """

    listing: Listing
    pictures: list[Picture]
    unreadable: list[tuple[str, str]]
    mismatches: list[Mismatch]
    identical: list[list[int]]
    near: list[list[int]]
    rotated: list[list[int]]
    conflicts: list[Conflict]
    pattern: str
    augmented: list[int]
    orphans: list[int]
    people: dict[str, list[int]] | None
    seen: float
    seen_people: float | None

    def counts(self) -> dict[str, tuple[int, int]]:
        """Count by class: picture files, and readable pictures."""
        files = [file.label for file in self.listing.files]
        read = [_label(picture) for picture in self.pictures]
        return {label: (files.count(label), read.count(label)) for label in self.listing.classes}

    def findings(self) -> list[str]:
        """List the faults that prevent training with the data, one sentence each."""
        known = ", ".join(FACE_LABELS)
        counts = self.counts()
        sentences = [f"{displayable(label)} has no pictures." for label, (files, _) in counts.items() if not files]
        sentences += [
            f"{displayable(label)} has no readable pictures." for label, (files, read) in counts.items() if files and not read
        ]
        if len(counts) == 1:
            sentences.append("There is only one class: training needs two.")
        sentences += [f"The folder {label} is missing: training needs it." for label in FACE_LABELS[:2] if label not in counts]
        sentences += [
            f"{displayable(label)} is not a label of the training ({known})." for label in counts if label not in FACE_LABELS
        ]
        return sentences

    def people_in_several_classes(self) -> list[str]:
        """Return the people with pictures in several classes."""
        people = self.people or {}
        return [person for person, members in people.items() if len({_label(self.pictures[index]) for index in members}) > 1]

    def small(self) -> list[int]:
        """Return the pictures whose shorter side is under 64 pixels, the smallest first."""
        small = [index for index, picture in enumerate(self.pictures) if min(picture.size) < SMALL]
        return sorted(small, key=lambda index: min(self.pictures[index].size))

    def rows(self) -> list[tuple[str, str]]:
        """Return the figures as rows of name and value."""
        rows = [
            ("Unreadable files", f"{len(self.unreadable):,}"),
            ("Ignored files and folders", f"{len(self.listing.ignored):,}"),
            ("Suffix and content differ", f"{len(self.mismatches):,}"),
            (
                "Byte-identical",
                _sizes(self.identical) + (f", {_copies(self.identical):,} of them copies" if self.identical else ""),
            ),
            ("Near-identical or mirrored", _sizes(self.near)),
            ("Rotated copies (augmented by content)", _sizes(self.rotated)),
            ("Label conflicts", _sizes([conflict.members for conflict in self.conflicts])),
            (
                "Augmented by name",
                f"{len(self.augmented):,}, of which {len(self.augmented) - len(self.orphans):,} have their original in the data",
            ),
        ]
        if self.people is not None:
            pictures = sum(map(len, self.people.values()))
            several = len(self.people_in_several_classes())
            rows.append(
                ("People by name", f"{len(self.people):,} with {counted(pictures, 'picture')}, {several:,} with several labels")
            )
        if self.pictures:
            widths, heights = (_quartiles(values) for values in zip(*(picture.size for picture in self.pictures), strict=True))
            smallest, largest = self._extremes()
            rows += [
                ("Width: minimum, quartiles, maximum", " / ".join(map(str, widths.values()))),
                ("Height: minimum, quartiles, maximum", " / ".join(map(str, heights.values()))),
                ("Smallest picture", _size_and_name(smallest)),
                ("Largest picture", _size_and_name(largest)),
                (f"Shorter side under {SMALL} pixels", f"{len(self.small()):,}"),
            ]
        rows.append((f"Random {TEST_SHARE:.0%} test part seen in training", f"{self.seen:.1%}"))
        if self.seen_people is not None:
            rows.append(("Seen in training, counting pictures of one person", f"{self.seen_people:.1%}"))
        return rows

    def report(self) -> dict[str, Any]:
        """Return all findings as JSON types; names are converted by `displayable`."""
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
            "rotated": _group_report(self.rotated, names),
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
    """Read every picture of a data set and compare it with all others.

    Args:
        listing: Result of `list_data`.
        augmented: Regular expression that finds augmented copies by file name.
        people: Pattern that finds a person's name in a file name
            (`near_duplicates.people_pattern`).
        progress: Called after each file.

    Raises:
        UsageError: `augmented` is not a regular expression.
    """
    try:
        pattern = re.compile(augmented)
    except re.error as error:
        raise UsageError(f"{augmented!r} is not a regular expression ({error}).") from error

    pictures: list[Picture] = []
    unreadable = list(listing.refused)
    mismatches: list[Mismatch] = []
    with ThreadPoolExecutor() as pool:
        for file, (picture, reason, content) in zip(listing.files, pool.map(_examine, listing.files), strict=True):
            if picture:
                pictures.append(picture)
            else:
                unreadable.append((file.name, reason))
            if content and content != (named := suffix_format(file.path)):
                mismatches.append(Mismatch(file.name, named, content))
            progress()

    count = len(pictures)
    found = find_near_duplicates(pictures, people) if pictures else NearDuplicates([], _NO_PAIRS, _NO_PAIRS, {})
    similar = NearDuplicates(found.identical, found.near, found.rotated, {})
    numbers = similar.groups(count)
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
        _rotated_groups(pictures, found),
        _conflicts(pictures, found),
        augmented,
        by_name,
        [index for index in by_name if numbers[index] not in with_original],
        dict(sorted(persons.items())) if people else None,
        expected_seen(numbers),
        expected_seen(found.groups(count)) if people else None,
    )


def expected_seen(groups: npt.NDArray[np.int64], share: float = TEST_SHARE) -> float:
    """Return the expected share of a random test part with a related picture outside of it.

    Args:
        groups: int64 `[N]`, the group of each picture.
        share: Share of the pictures in the test part.
    """
    count = len(groups)
    test_size = round(share * count)
    if not test_size:
        return 0.0
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    # For a picture in the test part, this is the probability that all other pictures of its group
    # are in the test part, too.
    others = np.arange(1, sizes.max())
    chances = np.concatenate([[1.0], np.cumprod(np.maximum(test_size - others, 0) / (count - others))])
    return float(np.mean(1 - chances[sizes[group] - 1]))


def _examine(file: PictureFile) -> tuple[Picture | None, str, str | None]:
    """Read a file; return the picture or the reason for its absence, and the content's format."""
    try:
        data = file.path.read_bytes()
    except OSError as error:
        return None, f"cannot be read ({error.strerror})", None
    content = content_format(data[:_HEAD])
    if reason := find_damage(data):
        return None, reason, content
    try:
        picture, reasons = load_picture(file)
    except (cv2.error, MemoryError):
        return None, "has an extreme aspect ratio and cannot be compared", content
    if picture:
        return picture, "", content
    if content is None:
        return None, "is not a picture", None
    return None, "; ".join(reasons), content


def _label(picture: Picture) -> str:
    return picture.faces[0].label


def _joined(count: int, pairs: npt.NDArray[np.int64], identical: list[list[int]] | None = None) -> list[list[int]]:
    """Join pairs and groups of identical pictures to groups of two or more, the largest first."""
    members: dict[int, list[int]] = {}
    for index, number in enumerate(NearDuplicates(identical or [], pairs, _NO_PAIRS, {}).groups(count).tolist()):
        members.setdefault(number, []).append(index)
    return sorted((group for group in members.values() if len(group) > 1), key=len, reverse=True)


def _near_groups(pictures: Sequence[Picture], found: NearDuplicates) -> list[list[int]]:
    groups = _joined(len(pictures), found.near, found.identical)
    return [group for group in groups if len({pictures[index].sha256 for index in group}) > 1]


def _rotated_groups(pictures: Sequence[Picture], found: NearDuplicates) -> list[list[int]]:
    near = set(map(tuple, found.near.tolist()))
    pairs = [pair for pair in found.rotated.tolist() if tuple(pair) not in near]
    return _joined(len(pictures), np.array(pairs, np.int64).reshape(-1, 2))


def _conflicts(pictures: Sequence[Picture], found: NearDuplicates) -> list[Conflict]:
    identical = [pair for group in found.identical for pair in itertools.combinations(group, 2)]
    kinds: dict[tuple[int, int], str] = {}
    for kind, pairs in (("identical", identical), ("near", found.near.tolist()), ("rotated", found.rotated.tolist())):
        for first, second in pairs:
            if _label(pictures[first]) != _label(pictures[second]):
                kinds.setdefault((first, second), kind)
    closest = ("identical", "near", "rotated")
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
    return f"{sum(map(len, groups)):,} pictures in {counted(len(groups), 'group')}" if groups else "none"


def _size_and_name(picture: Picture) -> str:
    return f"{picture.size[0]} x {picture.size[1]}, {displayable(picture.name)}"


def _group_report(groups: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    return {"groups": [[names[index] for index in group] for group in groups], "pictures": sum(map(len, groups))}
