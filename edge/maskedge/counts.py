"""Counts of faces by label: for the state and the summary of a run, for zones and for pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol


class Labelled(Protocol):
    """Anything with a label: a `Face`, or a `FaceLabel` without position."""

    @property
    def label(self) -> str:
        """The label that counts."""
        ...


def count_labels(faces: Iterable[Labelled], labels: Iterable[str] = ()) -> Counter[str]:
    """Count faces by label.

    Args:
        faces: The faces of a frame.
        labels: Labels that are listed first and in this order, with 0 where no face has them.
    """
    counts = Counter(dict.fromkeys(labels, 0))
    counts.update(face.label for face in faces)
    return counts
