"""Generator of the tables in docs/fleet-api.md, run by `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from maskedge.cli.config_reference import insert, settings_table

from .alerts.rules import FleetRule
from .settings import SECTIONS


def reference() -> str:
    """Return a heading and a table of keys, defaults, ranges and descriptions for each section of fleet.toml."""
    headings = {f"[{name}]": cls for name, cls in SECTIONS.items()} | {"[[alert]]": FleetRule}
    return "\n".join(line for heading, cls in headings.items() for line in (f"### {heading}", "", *settings_table(cls), ""))


def main() -> None:
    """Update the file given on the command line."""
    path = Path(sys.argv[1])
    path.write_text(insert(path.read_text(encoding="utf-8"), reference()), encoding="utf-8")


if __name__ == "__main__":
    main()
