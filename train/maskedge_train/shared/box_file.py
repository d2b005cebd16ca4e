"""`BoxFile`: a file of labelled boxes, and where its boxes begin.

This module must import quickly, because the commands' `--help` needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskedge.errors import UsageError
from maskedge.support.text import displayable

EYEBROWS, FOREHEAD = "eyebrows", "forehead"
CONVENTIONS = (EYEBROWS, FOREHEAD)
"""Upper edges of face boxes. The lower edge is the chin in both."""
COLUMN = "convention"
"""Column of a file that states the convention."""


@dataclass(frozen=True)
class BoxFile:
    """A CSV file of labelled boxes.

    Attributes:
        path: The file.
        convention: Convention that the user stated; None if the file has to state it.
    """

    path: Path
    convention: str | None = None

    def find_convention(self) -> str | None:
        """Return the stated convention, or that of the file's column `convention`, or None.

        Raises:
            UsageError: The file cannot be read, or the column is not the same known convention in every row, or differs from
                the stated one.
        """
        from maskedge.labelled_boxes import COLUMNS, read_rows

        found = {row.cells[COLUMN] for row in read_rows(self.path, COLUMNS) if COLUMN in row.cells}
        if len(found) > 1 or not found <= set(CONVENTIONS):
            names = ", ".join(sorted(displayable(name) or "an empty cell" for name in found))
            raise UsageError(
                f"the column {COLUMN} of {self.path} has {names}: it must be {' or '.join(CONVENTIONS)}, the same in every row."
            )
        own = found.pop() if found else None
        if own and self.convention and own != self.convention:
            raise UsageError(f"the boxes of {self.path} begin at the {own}, as the file states, not at the {self.convention}.")
        return self.convention or own


def parse_box_file(text: str) -> BoxFile:
    """Parse `FILE` or `FILE=CONVENTION`."""
    path, _, convention = text.rpartition("=")
    return BoxFile(Path(path), convention) if path and convention in CONVENTIONS else BoxFile(Path(text))
