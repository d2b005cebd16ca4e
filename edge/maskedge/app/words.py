"""How labels are called, marked and coloured on the page. Colour is never the only signal."""

from __future__ import annotations

from collections.abc import Iterable

from maskedge.draw import COLOURS, OTHER_COLOUR

UNSURE = "unsure"
"""The label of an answer below the threshold that the user chose."""
NAMES = {"with_mask": "with a mask", "without_mask": "without a mask", "incorrect_mask": "mask worn wrongly", UNSURE: "not sure"}
SYMBOLS = {"with_mask": "✓", "without_mask": "✕", "incorrect_mask": "!", UNSURE: "?"}


def name_of(label: str) -> str:
    """Name a label as one says it: `with a mask`."""
    return NAMES.get(label, label.replace("_", " "))


def symbol_of(label: str) -> str:
    """Give the sign that stands for a label beside its colour."""
    return SYMBOLS.get(label, "•")


def colour_of(label: str) -> str:
    """Give the colour of a label as `#rrggbb`: that of its boxes."""
    blue, green, red = COLOURS.get(label, OTHER_COLOUR)
    return f"#{red:02x}{green:02x}{blue:02x}"


def in_order(labels: Iterable[str]) -> list[str]:
    """Sort labels as the page lists them."""
    known = list(NAMES)
    return sorted(set(labels), key=lambda label: (known.index(label) if label in known else len(known), label))
