"""Related pictures: copies, near-duplicates, rotated copies, and pictures of one person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge_train.shared.hashing import is_near, near_pairs, rotated_pairs

from .dataset import Picture


@dataclass(frozen=True)
class NearDuplicates:
    """Related pictures among N. Indices are positions in the searched list.

    Attributes:
        identical: Groups of pictures with the same bytes.
        near: int64 `[P, 2]`, pairs of similar pictures, mirrored or not, including identical ones.
        rotated: int64 `[P, 2]`, pairs of rotated copies, mirrored or not, including most pairs of
            `near`.
        people: The pictures of each person identified by the file names.
    """

    identical: list[list[int]]
    near: npt.NDArray[np.int64]
    rotated: npt.NDArray[np.int64]
    people: dict[str, list[int]]

    def groups(self, count: int) -> npt.NDArray[np.int64]:
        """Return a group number for each of `count` pictures, int64 `[count]`.

        Pictures related directly or through others share a number.
        """
        parent = list(range(count))

        def root(index: int) -> int:
            while parent[index] != index:
                parent[index] = parent[parent[index]]
                index = parent[index]
            return index

        for members in (*self.identical, *self.people.values(), *self.near.tolist(), *self.rotated.tolist()):
            for other in members[1:]:
                parent[root(other)] = root(members[0])
        return np.array([root(index) for index in range(count)], np.int64)


def people_pattern(text: str | None) -> re.Pattern[str] | None:
    """Compile a pattern that finds a person's name, in its group `person` or its first group.

    Raises:
        UsageError: The pattern cannot be used.
    """
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{text!r} is not a regular expression ({error}).") from error
    if not pattern.groups:
        raise UsageError(rf"{text!r} has no group for the person, such as in '^\d+_\d+_(?P<person>[a-z]+)_\d+'.")
    return pattern


def person_of(picture: Picture, pattern: re.Pattern[str]) -> str | None:
    """Return the person named in a picture's file name, or None."""
    found = pattern.search(PurePosixPath(picture.name).name)
    if not found:
        return None
    return found["person"] if "person" in pattern.groupindex else found[1]


def find_near_duplicates(pictures: Sequence[Picture], people: re.Pattern[str] | None = None) -> NearDuplicates:
    """Find the related pictures among `pictures`."""
    by_digest: dict[str, list[int]] = {}
    by_person: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        by_digest.setdefault(picture.sha256, []).append(index)
        if people and (person := person_of(picture, people)):
            by_person.setdefault(person, []).append(index)
    return NearDuplicates(
        [members for members in by_digest.values() if len(members) > 1],
        near_pairs(np.stack([picture.hashes for picture in pictures])),
        rotated_pairs(np.stack([picture.polar for picture in pictures])),
        {person: members for person, members in by_person.items() if len(members) > 1},
    )


def find_seen(pictures: Sequence[Picture], seen: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which pictures resemble one that a model was trained on, bool `[N]`.

    Args:
        pictures: N pictures.
        seen: uint64 `[M]`, perceptual hashes of the pictures that the model was trained on.
    """
    return np.array([any(is_near(seen, own).any() for own in picture.hashes) for picture in pictures], np.bool_)
