"""Generator of the tables in docs/configuration.md, run by `make docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from maskedge.config import section_class, sections

BEGIN = "<!-- begin: sections (make docs) -->"
END = "<!-- end: sections -->"


def reference() -> str:
    """Return a heading and a table of keys, defaults, ranges and descriptions for each section."""
    lines: list[str] = []
    for name, cls in sections().items():
        lines += [f"## [{name}]", "", *settings_table(cls), ""]
    for name in ("alerts", "line"):
        lines += [f"## [[{name}]]", "", *settings_table(section_class(name)), ""]
    return "\n".join(lines)


def update(page: str) -> str:
    """Return a page with the tables between its two markers replaced.

    Raises:
        ValueError: A marker is missing.
    """
    return insert(page, reference())


def insert(page: str, tables: str) -> str:
    """Return a page with the text between its two markers replaced.

    Raises:
        ValueError: A marker is missing.
    """
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return f"{page[:start]}\n\n{tables}\n{page[end:]}"


def settings_table(cls: type[Any]) -> Iterator[str]:
    """Yield the lines of a table of the keys of a section."""
    yield "| key | default | range | description |"
    yield "| --- | --- | --- | --- |"
    for entry in fields(cls):
        bounds = str(entry.metadata.get("range") or "").replace("from ", "")
        text = str(entry.metadata.get("help", "")).rstrip(".").replace("|", "\\|")
        yield f"| `{entry.name}` | {_default(entry)} | {f'{bounds} ' if bounds else ''}| {text} |"


def _default(entry: Field[Any]) -> str:
    value = entry.default_factory() if entry.default_factory is not MISSING else entry.default
    if value is None:
        return "not set"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def main() -> None:
    """Update the file given on the command line."""
    path = Path(sys.argv[1])
    path.write_text(update(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
