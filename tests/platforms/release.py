"""Prepare a release: write its version into the packages, and check what a release needs.

Usage: python3 release.py VERSION

The version comes from the tag. CHANGELOG.md must have a section of that version, and the bundled
models must have signatures. The script needs only the standard library.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "edge/maskedge/version.py": ('VERSION = "',),
    "workstation/pyproject.toml": ('version = "', 'dependencies = ["maskedge=='),
    "fleet/pyproject.toml": ('version = "', 'dependencies = ["maskedge=='),
    "deploy/homeassistant/maskedge/config.yaml": ("version: ",),
}
"""Files that have the version, and the starts of the lines in which it follows. Each file has each line once."""


def problems(root: Path, version: str) -> list[str]:
    """Return what is missing for the release of a version."""
    found = []
    if not re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", version):
        found.append(f"{version} is not a version such as 1.2.3 or 1.2.3rc1")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(rf"(?ms)^## \[?{re.escape(version)}\]?(?: .*?)?\n(.*?)(?=^## |\Z)", changes)
    if section is None or not section[1].strip():
        found.append(f"CHANGELOG.md has no section of {version}")
    models = root / "edge" / "maskedge" / "models"
    unsigned = [path.name for path in sorted(models.glob("*.onnx")) if not path.with_name(f"{path.name}.sig").is_file()]
    if unsigned:
        found.append(f"no signature: {', '.join(unsigned)}")
    return found


def write_version(root: Path, version: str) -> None:
    """Write the version into every package, or into none if a file has not exactly the expected lines."""
    texts = {}
    for name, starts in PLACES.items():
        text = (root / name).read_text(encoding="utf-8")
        for start in starts:
            text, count = re.subn(rf'(?m)^({re.escape(start)})[^"\s]+', rf"\g<1>{version}", text)
            if count != 1:
                sys.exit(f"error: {name} must have one line with a version after {start!r}, and has {count}.")
        texts[root / name] = text
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Check, then write."""
    if len(sys.argv) != 2:
        sys.exit("usage: release.py VERSION")
    if found := problems(ROOT, sys.argv[1]):
        sys.exit(f"error: {'; '.join(found)}.")
    write_version(ROOT, sys.argv[1])
    print(f"version {sys.argv[1]}")


if __name__ == "__main__":
    main()
