"""The history as CSV and as a table of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from maskedge.support.text import displayable, guard_formula, to_json

COLUMNS = ("time", "camera", "zone", "line", "direction", "observed_s", "label", "face_s", "people", "share_masked")
"""Columns of the CSV, which has a line for each row and label (docs/contracts.md)."""
EVENT_COLUMNS = ("time", "camera", "event", "details")


def to_csv(answer: Mapping[str, Any]) -> str:
    """Return counts or events as CSV.

    Args:
        answer: What `read_history` or `read_events` returned.
    """
    text = io.StringIO()
    if "events" in answer:
        events = csv.DictWriter(text, EVENT_COLUMNS, lineterminator="\n")
        events.writeheader()
        for event in answer["events"]:
            own = {name: event[name] for name in EVENT_COLUMNS if name in event}
            rest = {name: value for name, value in event.items() if name not in own}
            cells = {**own, "details": to_json(rest) if rest else ""}
            events.writerow({name: guard_formula(value) for name, value in cells.items()})
        return text.getvalue()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for row in answer["rows"]:
        own = {name: guard_formula(value) for name, value in row.items() if name in COLUMNS}
        for label in answer["labels"]:
            rows.writerow(own | {"label": guard_formula(label), "face_s": row["face_s"][label], "people": row["people"][label]})
        if not answer["labels"]:
            rows.writerow({**own, "face_s": "", "people": ""})
    return text.getvalue()


def to_text(answer: Mapping[str, Any]) -> str:
    """Return counts or events as a table for a terminal.

    Args:
        answer: What `read_history` or `read_events` returned.
    """
    if "events" in answer:
        cells = [list(EVENT_COLUMNS)]
        for event in answer["events"]:
            rest = {name: value for name, value in event.items() if name not in EVENT_COLUMNS}
            details = ", ".join(f"{name} {value if isinstance(value, str) else to_json(value)}" for name, value in rest.items())
            cells.append([event["time"], event["camera"], event["event"], details])
        return _table(cells) if len(cells) > 1 else "no events in this range\n"
    labels = answer["labels"]
    places = any(row["zone"] or row["line"] for row in answer["rows"])
    head = ["time", "camera", *(["place"] if places else []), "observed", *labels, "people", "masked"]
    cells = [head]
    for row in answer["rows"]:
        place = row["zone"] or " ".join(filter(None, (row["line"], row["direction"])))
        counted = row["people"] if row["line"] else row["face_s"]
        cells.append(
            [
                *(row["time"][:16].replace("T", " "), row["camera"], *([place] if places else [])),
                f"{row['observed_s'] / 60:.1f} min",
                *(f"{counted[label]:g}" if row["line"] else f"{counted[label]:.0f} s" for label in labels),
                str(sum(row["people"].values())),
                "-" if row["share_masked"] is None else f"{row['share_masked']:.0%}",
            ]
        )
    return _table(cells) if len(cells) > 1 else "no counts in this range\n"


def _table(rows: list[list[str]]) -> str:
    # The file may come from elsewhere: its names must not control the terminal.
    cells = [list(map(displayable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines) + "\n"
