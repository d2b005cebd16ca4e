"""Which pictures belong together: copies, near-copies, turned copies, and the pictures of one person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError

from .dataset import Picture
from .hashing import near_pairs, turned_pairs


@dataclass(frozen=True)
class Relations:
    """What was found among N pictures. Indices are positions in the list that was searched.

    Attributes:
        identical: Groups of pictures with the same bytes.
        near: int64 `[P, 2]`, pairs that look alike, mirrored or not (the identical ones among them).
        turned: int64 `[P, 2]`, pairs of which one is the other turned, mirrored or not (most near ones among them).
        people: The pictures of each person whom the file names tell of.
    """

    identical: list[list[int]]
    near: npt.NDArray[np.int64]
    turned: npt.NDArray[np.int64]
    people: dict[str, list[int]]

    def groups(self, count: int) -> npt.NDArray[np.int64]:
        """Give each of `count` pictures a group number; whatever is related, however far, shares one. int64 `[count]`."""
        parent = list(range(count))

        def root(index: int) -> int:
            while parent[index] != index:
                parent[index] = parent[parent[index]]
                index = parent[index]
            return index

        for members in (*self.identical, *self.people.values(), *self.near.tolist(), *self.turned.tolist()):
            for other in members[1:]:
                parent[root(other)] = root(members[0])
        return np.array([root(index) for index in range(count)], np.int64)


def people_pattern(text: str | None) -> re.Pattern[str] | None:
    """Compile the pattern that finds a person's name in a file name, in its group `person` (or its first group).

    Raises:
        UsageError: The pattern cannot be used.
    """
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{text!r} is no regular expression ({error}).") from error
    if not pattern.groups:
        raise UsageError(rf"{text!r} has no group for the person, as in '^\d+_\d+_(?P<person>[a-z]+)_\d+'.")
    return pattern


def person_of(picture: Picture, pattern: re.Pattern[str]) -> str | None:
    """Give the person whom the picture's file name tells of."""
    found = pattern.search(PurePosixPath(picture.name).name)
    if not found:
        return None
    return found["person"] if "person" in pattern.groupindex else found[1]


def find_relations(pictures: Sequence[Picture], people: re.Pattern[str] | None = None) -> Relations:
    """Find what belongs together among `pictures`."""
    by_digest: dict[str, list[int]] = {}
    by_person: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        by_digest.setdefault(picture.sha256, []).append(index)
        if people and (person := person_of(picture, people)):
            by_person.setdefault(person, []).append(index)
    return Relations(
        [members for members in by_digest.values() if len(members) > 1],
        near_pairs(np.stack([picture.hashes for picture in pictures])),
        turned_pairs(np.stack([picture.polar for picture in pictures])),
        {person: members for person, members in by_person.items() if len(members) > 1},
    )
