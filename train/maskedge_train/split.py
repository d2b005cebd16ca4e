"""Splits that keep copies together, so that no picture of the test part was seen in training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError

from .dataset import LabelledPictures
from .hashing import near_pairs

PARTS = ("train", "val", "test")
FRACTIONS = (0.7, 0.1, 0.2)


@dataclass(frozen=True)
class Split:
    """Which picture belongs to which part.

    Attributes:
        seed: Seed of the shuffle.
        data_digest: Digest of the data that was split.
        parts: For each of `PARTS`, the names of its pictures.
        groups: Number of groups of two or more pictures that were kept together.
        grouped: Number of pictures in those groups.
    """

    seed: int
    data_digest: str
    parts: dict[str, list[str]]
    groups: int
    grouped: int

    @property
    def digest(self) -> str:
        """SHA-256 of the split's content."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        fields = {
            "seed": self.seed,
            "data_digest": self.data_digest,
            "groups": self.groups,
            "grouped": self.grouped,
            "parts": {part: sorted(names) for part, names in self.parts.items()},
        }
        return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=False)

    def save(self, path: Path) -> None:
        """Write the split as JSON."""
        path.write_text(self._text() + "\n", encoding="utf-8")

    def indices(self, pictures: LabelledPictures) -> dict[str, npt.NDArray[np.int64]]:
        """Give the positions in `pictures` of each part's pictures.

        Raises:
            UsageError: The split was made of other data.
        """
        if self.data_digest != pictures.digest:
            raise UsageError(f"the split was made of other data than {pictures.root}: split again, or use the data it was made of.")
        position = {name: index for index, name in enumerate(pictures.names)}
        return {part: np.array(sorted(position[name] for name in names), np.int64) for part, names in self.parts.items()}


def group_copies(pictures: LabelledPictures) -> npt.NDArray[np.int64]:
    """Give each picture a group number; byte-identical and near-identical pictures share one. int64 `[N]`."""
    parent = list(range(len(pictures.names)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[str, int] = {}
    for index, sha in enumerate(pictures.sha256):
        parent[root(index)] = root(first.setdefault(sha, index))
    for one, other in near_pairs(pictures.hashes):
        parent[root(int(other))] = root(int(one))
    return np.array([root(index) for index in range(len(parent))], np.int64)


def split_by_group(pictures: LabelledPictures, seed: int) -> Split:
    """Split whole groups, label by label, at random into 70 % train, 10 % val and 20 % test."""
    groups = group_copies(pictures)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    random = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(index)
    for target in range(int(pictures.targets.max()) + 1):
        # A group counts for the label of its first picture: look-alikes across labels stay together too.
        own = [group for group, rows in members.items() if pictures.targets[rows[0]] == target]
        total = sum(len(members[group]) for group in own)
        bounds = np.cumsum(FRACTIONS) * total
        placed = 0
        for group in random.permutation(own).tolist():
            part = PARTS[min(int(np.searchsorted(bounds, placed, side="right")), len(PARTS) - 1)]
            parts[part] += [pictures.names[index] for index in members[group]]
            placed += len(members[group])
    shared = [rows for rows in members.values() if len(rows) > 1]
    return Split(seed, pictures.digest, parts, groups=len(shared), grouped=sum(map(len, shared)))
