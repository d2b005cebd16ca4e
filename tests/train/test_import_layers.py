"""The packages of maskedge_train: imports run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import maskedge_train

ROOT = Path(maskedge_train.__file__).parent
RANKS = {
    "shared": 0, "data": 1, "teachers": 1,
    "classifier": 2, "detector": 2, "cascade": 2, "synthesis": 2, "reports": 3, "cli": 4,
}  # fmt: skip
"""Packages of the same rank must not import from one another."""


def imported_packages(path: Path) -> Iterator[str]:
    package = ("maskedge_train", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [(*base, *(node.module or "").split("."))]
            if len(names[0]) == 1 or names[0][1:] == ("",):
                names = [(*names[0][:1], alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == "maskedge_train" and len(name) > 1)


def test_packages_import_only_lower_ones() -> None:
    arrows = {
        (path.relative_to(ROOT).parts[0], package, path.name)
        for path in ROOT.rglob("*/*.py")
        for package in imported_packages(path)
        if package in RANKS
    }
    assert len({arrow[:2] for arrow in arrows}) > 10
    assert not [arrow for arrow in arrows if arrow[0] != arrow[1] and RANKS[arrow[0]] <= RANKS[arrow[1]]]


def test_every_module_is_in_a_package() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert {path.parent.name for path in ROOT.glob("*/*.py")} == set(RANKS)
