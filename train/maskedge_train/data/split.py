"""Splits that keep what belongs together in one part, so that no picture of the test part was seen in training."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.support.files import write_file

from .dataset import DataSet, Picture
from .near_duplicates import find_relations

PARTS = ("train", "val", "test")
FRACTIONS = (0.7, 0.1, 0.2)
"""Share of each part, of pictures of faces."""
HELD_OUT = 0.1
"""Share of scenes and backgrounds that only measure (val). Their test files are others, made from other pictures."""


def held_out(picture: Picture) -> bool:
    """Tell by its name whether a whole picture only measures: the same for every net, so that the chain can be measured."""
    return picture.source != "faces" and only_measures(picture.name)


def only_measures(name: str) -> bool:
    """Tell the same of a picture by its name: `scenes/` and what the CSV says, `backgrounds/` and its file name."""
    return int(hashlib.sha256(f"detector {name}".encode()).hexdigest()[:8], 16) < HELD_OUT * 2**32


@dataclass(frozen=True)
class Split:
    """Which picture belongs to which part.

    Attributes:
        by: `group` where related pictures were kept together, `random` where each picture was drawn alone.
        seed: Seed of the draw.
        data_digest: Digest of the data that was split.
        parts: For each of `PARTS`, the names of its pictures, sorted.
        groups: Number of groups of two or more related pictures.
        grouped: Number of pictures in those groups.
        separated: Share of the test pictures that have a relative in another part.
    """

    by: str
    seed: int
    data_digest: str
    parts: dict[str, list[str]]
    groups: int
    grouped: int
    separated: float

    @property
    def digest(self) -> str:
        """SHA-256 of the split's content."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    def save(self, path: Path) -> None:
        """Write the split as JSON.

        Raises:
            OutputError: The file cannot be written.
        """
        write_file(path, self._text() + "\n")

    @classmethod
    def load(cls, path: Path) -> Split:
        """Read a split that `save` wrote.

        Raises:
            UsageError: The file is no split.
        """
        try:
            split = cls(**json.loads(path.read_text(encoding="utf-8")))
            valid = set(split.parts) == set(PARTS) and all(
                isinstance(name, str) for names in split.parts.values() for name in names
            )
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is no split file of edge-train ({error}).") from error
        if not valid:
            raise UsageError(f"{path} is no split file of edge-train (its parts must be {', '.join(PARTS)}).")
        return split

    def part_of(self, dataset: DataSet) -> npt.NDArray[np.int64]:
        """Give each picture's part as an index into `PARTS`: int64 `[N]`.

        Raises:
            UsageError: The split was made of other data.
        """
        if self.data_digest != dataset.digest:
            raise UsageError("the split was made of other data than this: split again, or use the data it was made of.")
        part = {name: index for index, label in enumerate(PARTS) for name in self.parts[label]}
        return np.array([part[picture.name] for picture in dataset.pictures], np.int64)

    def to_card(self) -> dict[str, Any]:
        """Give what a model's card tells of the split."""
        told = ("by", "seed", "digest", "groups", "grouped", "separated")
        return {name: getattr(self, name) for name in told} | self.sizes()

    def sizes(self) -> dict[str, int]:
        """Count the pictures of each part."""
        return {part: len(names) for part, names in self.parts.items()}


def split_dataset(dataset: DataSet, seed: int, *, by: str = "group", people: re.Pattern[str] | None = None) -> Split:
    """Split into train, val and test: faces at random, label by label; whole pictures by `held_out`.

    Args:
        dataset: The pictures.
        seed: Seed of the draw.
        by: `group` keeps related pictures together; `random` does not, to measure what that is worth.
        people: Finds a person's name in a file name (`relations.people_pattern`).
    """
    pictures = dataset.pictures
    related = find_relations(pictures, people).groups(len(pictures))
    units = related if by == "group" else np.arange(len(pictures))
    random = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for index, unit in enumerate(units.tolist()):
        members.setdefault(unit, []).append(index)
    part = np.zeros(len(pictures), np.int64)
    folders: dict[str, list[list[int]]] = {}
    for rows in members.values():
        # A group counts for its first picture: look-alikes across labels and sources stay together too.
        first = pictures[rows[0]]
        if first.source == "faces":
            folders.setdefault(first.faces[0].label, []).append(rows)
        else:
            part[rows] = PARTS.index("val") if any(held_out(pictures[row]) for row in rows) else PARTS.index("train")
    for _, groups in sorted(folders.items()):
        order = random.permutation(len(groups)).tolist()
        # The largest first, each to the part that lacks most: the shares come out right whatever the sizes.
        order.sort(key=lambda index: -len(groups[index]))
        lacking = np.array(FRACTIONS) * sum(map(len, groups))
        for index in order:
            chosen = int(lacking.argmax())
            part[groups[index]] = chosen
            lacking[chosen] -= len(groups[index])
    counts = np.bincount(related, minlength=len(pictures))
    test = np.flatnonzero(part == PARTS.index("test"))
    elsewhere = set(related[part != PARTS.index("test")].tolist())
    return Split(
        by,
        seed,
        dataset.digest,
        {name: sorted(pictures[row].name for row in np.flatnonzero(part == index)) for index, name in enumerate(PARTS)},
        groups=int((counts > 1).sum()),
        grouped=int(counts[counts > 1].sum()),
        separated=round(float(np.mean([group in elsewhere for group in related[test].tolist()])) if len(test) else 0.0, 4),
    )
