"""Splits without leakage: related pictures stay in one part."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.labelled_boxes import is_held_out_name
from maskedge.support.files import write_file
from maskedge.support.text import counted, displayable

from .dataset import DataSet, Picture
from .near_duplicates import find_near_duplicates, find_seen

PARTS = ("train", "val", "test")
FRACTIONS = (0.7, 0.1, 0.2)
"""Share of each part among the pictures of faces."""


def is_held_out(picture: Picture) -> bool:
    """Return True if a scene or background is held out from training.

    The same pictures are held out for all networks, so that detector and classifier can be measured
    together.
    """
    return picture.source != "faces" and is_held_out_name(picture.name)


@dataclass(frozen=True)
class Split:
    """Assignment of pictures to parts.

    Attributes:
        by: `group` if related pictures stay together, `random` if each picture is drawn alone.
        seed: Seed of the draw.
        data_digest: Digest of the split data.
        parts: For each of `PARTS`, the sorted names of its pictures.
        groups: Number of groups of two or more related pictures.
        grouped: Number of pictures in these groups.
        separated: Share of test pictures with a related picture in another part.
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
        """Read a split written by `save`.

        Raises:
            UsageError: The file is not a split.
        """
        try:
            split = cls(**json.loads(path.read_text(encoding="utf-8")))
            every = [name for names in split.parts.values() for name in names]
            valid = set(split.parts) == set(PARTS) and all(isinstance(name, str) for name in every)
            counts = all(isinstance(count, int) for count in (split.groups, split.grouped))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is not a split file of edge-train ({error}).") from error
        if not valid:
            raise UsageError(f"{path} is not a split file of edge-train (its parts must be {', '.join(PARTS)}).")
        if not counts:
            raise UsageError(f"{path} is not a split file of edge-train (groups and grouped must be whole numbers).")
        if twice := [name for name, times in Counter(every).items() if times > 1]:
            raise UsageError(f"{path} has {displayable(twice[0])} twice: leave it in one of {', '.join(PARTS)}.")
        return split

    def part_of(self, dataset: DataSet) -> npt.NDArray[np.int64]:
        """Return the part of each picture as an index into `PARTS`: int64 `[N]`.

        Raises:
            UsageError: The split was made from other data, or lacks a picture.
        """
        if self.data_digest != dataset.digest:
            raise UsageError("the split was made from other data: split again, or use the original data.")
        part = {name: index for index, label in enumerate(PARTS) for name in self.parts[label]}
        if missing := [picture.name for picture in dataset.pictures if picture.name not in part]:
            raise UsageError(
                f"the split lacks {counted(len(missing), 'picture')} of the data, such as {displayable(missing[0])}: "
                f"add it to one of {', '.join(PARTS)}, or split again."
            )
        return np.array([part[picture.name] for picture in dataset.pictures], np.int64)

    def to_card(self) -> dict[str, Any]:
        """Return the facts for the model card."""
        facts = ("by", "seed", "digest", "groups", "grouped", "separated")
        return {name: getattr(self, name) for name in facts} | self.sizes()

    def sizes(self) -> dict[str, int]:
        """Count the pictures of each part."""
        return {part: len(names) for part, names in self.parts.items()}


def split_held_out(
    pictures: Sequence[Picture], *, hold_out: re.Pattern[str] | None = None, people: re.Pattern[str] | None = None
) -> tuple[list[Picture], list[Picture], list[Picture]]:
    """Split pictures for a detector: to train on, held out, and of held-out sources.

    A picture related to one of the last two is in none of the lists, unless it belongs there
    itself.

    Args:
        pictures: All pictures. Those of single faces are never held out.
        hold_out: Pattern of the file names of the held-out sources.
        people: See `split_dataset`.
    """
    tenth = np.array([is_held_out(picture) for picture in pictures], np.bool_)
    source = np.array([_of_source(picture, hold_out) for picture in pictures], np.bool_)
    groups = find_near_duplicates(pictures, people).groups(len(pictures))
    learn = ~np.isin(groups, groups[tenth | source])
    chosen = (learn, tenth & ~source, source)
    learned, held, of_source = ([pictures[row] for row in np.flatnonzero(rows).tolist()] for rows in chosen)
    return learned, held, of_source


def _of_source(picture: Picture, hold_out: re.Pattern[str] | None) -> bool:
    return hold_out is not None and picture.source != "faces" and bool(hold_out.search(PurePosixPath(picture.name).name))


def split_dataset(
    dataset: DataSet,
    seed: int,
    *,
    by: str = "group",
    people: re.Pattern[str] | None = None,
    hold_out: re.Pattern[str] | None = None,
    seen: npt.NDArray[np.uint64] | None = None,
) -> Split:
    """Split into train, val and test.

    Pictures of faces are drawn at random within each label; scenes and backgrounds follow
    `is_held_out`.

    Args:
        dataset: The pictures.
        seed: Seed of the draw.
        by: `group` keeps related pictures together; `random` does not, to measure the leakage.
        people: Pattern that finds a person's name in a file name
            (`near_duplicates.people_pattern`).
        hold_out: Pattern of the file names of scenes and backgrounds that are for the test, with
            all pictures related to them.
        seen: Perceptual hashes of the pictures that the initial weights were trained on
            (`warm_start.find_seen_hashes`). A picture of faces that resembles one of them, and
            all pictures related to it, are not for the test.

    Raises:
        UsageError: No picture has a name that matches `hold_out`.
    """
    pictures = dataset.pictures
    if hold_out and not any(_of_source(picture, hold_out) for picture in pictures):
        raise UsageError(f"no picture of the scenes and backgrounds has a file name that matches {hold_out.pattern!r}.")
    related = find_near_duplicates(pictures, people).groups(len(pictures))
    units = related if by == "group" else np.arange(len(pictures))
    known = np.zeros(len(pictures), np.bool_) if seen is None else np.isin(related, related[find_seen(pictures, seen)])
    random = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for index, unit in enumerate(units.tolist()):
        members.setdefault(unit, []).append(index)
    part = np.zeros(len(pictures), np.int64)
    folders: dict[str, list[list[int]]] = {}
    for rows in members.values():
        # The first picture of a group determines the part, so that groups across labels and sources
        # stay together.
        first = pictures[rows[0]]
        if any(_of_source(pictures[row], hold_out) for row in rows):
            part[rows] = PARTS.index("test")
        elif first.source == "faces":
            folders.setdefault(first.faces[0].label, []).append(rows)
        else:
            part[rows] = PARTS.index("val") if any(is_held_out(pictures[row]) for row in rows) else PARTS.index("train")
    for _, groups in sorted(folders.items()):
        order = random.permutation(len(groups)).tolist()
        # Assign the largest groups first, each to the part with the largest deficit, which keeps
        # the shares.
        order.sort(key=lambda index: (not known[groups[index][0]], -len(groups[index])))
        lacking = np.array(FRACTIONS) * sum(map(len, groups))
        for index in order:
            chosen = int((lacking[:2] if known[groups[index][0]] else lacking).argmax())
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
