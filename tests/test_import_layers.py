"""The rules of the tree: small folders, no import circle, and no import from a lower layer to a higher one."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from helpers.support import ROOT

PACKAGES = {
    "maskedge": ROOT / "edge" / "maskedge",
    "maskedge_train": ROOT / "train" / "maskedge_train",
    "maskedge_export": ROOT / "export" / "maskedge_export",
    "maskedge_bench": ROOT / "benchmarks" / "maskedge_bench",
    "maskedge_fleet": ROOT / "fleet" / "maskedge_fleet",
}
LARGEST_FOLDER = 12
"""Modules in a folder, besides `__init__.py`."""
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "types", "version"),
    ("support",),
    ("boxes", "counts", "events", "labelled_boxes", "modelfile", "rendering", "settings", "system", "tracking", "zones"),
    ("history", "sources"),
    ("results",),
    ("sinks",),
    ("alerts",),
    ("config", "privacy"),
    ("vision",),
    ("remote",),
    ("runtime",),
    ("app",),
    ("cli",),
)
"""The layers of `maskedge` by height, the lowest first. A layer imports from itself, its neighbours and below."""
BELOW: Mapping[str, tuple[str, ...]] = {
    "maskedge": (),
    "maskedge_train": ("maskedge",),
    "maskedge_export": ("maskedge", "maskedge_train"),
    # The nets in PyTorch, which it measures beside the exported ones.
    "maskedge_bench": ("maskedge", "maskedge_train.classifier.nets"),
    "maskedge_fleet": ("maskedge",),
}
"""Packages and modules that each package may import, besides its own."""


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module of the five packages, by the module's full name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def syntax(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def in_type_checking(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes that only a type checker reads."""
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


@cache
def imports(module: str, *, at_start: bool = False) -> frozenset[str]:
    """Return the modules of the five packages that a module imports.

    Args:
        module: Full name of the importing module.
        at_start: Count only what runs when the module is loaded: no imports inside functions, none for
            type checkers.
    """
    path, known = modules()[module], modules()
    tree = syntax(path)
    nodes: Iterator[ast.AST] | list[ast.AST] = ast.walk(tree)
    if at_start:
        inside = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for inner in ast.walk(node)
        }
        skipped = inside | in_type_checking(tree)
        nodes = [node for node in ast.walk(tree) if node not in skipped]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *filter(None, [node.module])])
            # `from package import name`: a module of that name, or something of the package.
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
    return frozenset(found & known.keys() - {module})


def layer_of(module: str) -> str:
    """Return the layer of a module of `maskedge`: the part of the name after the package's."""
    return module.split(".")[1]


def height(module: str) -> int:
    """Return how high a module of `maskedge` stands; the package's own `__init__` stands above `vision`."""
    if module == "maskedge":
        return next(number for number, names in enumerate(LAYERS) if "vision" in names)
    return next(number for number, names in enumerate(LAYERS) if layer_of(module) in names)


@pytest.mark.parametrize("folder", ["edge", "train", "export", "benchmarks", "fleet", "tests"])
def test_no_folder_has_over_a_dozen_modules(folder: str) -> None:
    counts: dict[str, int] = {}
    for path in (ROOT / folder).rglob("*.py"):
        if path.name != "__init__.py":
            name = str(path.parent.relative_to(ROOT))
            counts[name] = counts.get(name, 0) + 1
    assert counts
    assert {name: count for name, count in counts.items() if count > LARGEST_FOLDER} == {}


def test_every_layer_has_a_height() -> None:
    known = {name for names in LAYERS for name in names}
    assert {layer_of(module) for module in modules() if module.startswith("maskedge.")} == known


def test_no_import_runs_from_a_lower_layer_to_a_higher_one() -> None:
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if module.split(".")[0] == "maskedge"
        for other in imports(module)
        if other.split(".")[0] == "maskedge" and height(other) > height(module)
    ]
    assert sorted(wrong) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_one_that_is_not_below_it(package: str) -> None:
    allowed = (package, *BELOW[package])
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if module.split(".")[0] == package
        for other in imports(module)
        if not any(f"{other}.".startswith(f"{name}.") for name in allowed)
    ]
    assert sorted(wrong) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    # Depth first: a module that is reached again while it is still open closes a circle.
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> list[str]:
        if module in path:
            return [" -> ".join([*path[path.index(module) :], module])]
        if module in done:
            return []
        found = [circle for other in sorted(imports(module, at_start=True)) for circle in visit(other, (*path, module))]
        done.add(module)
        return found

    assert [circle for module in modules() for circle in visit(module, ())] == []


def test_no_wings_import_each_other_in_a_circle() -> None:
    arrows = {
        (layer_of(module), layer_of(other))
        for module in modules()
        if module.startswith("maskedge.")
        for other in imports(module)
        if other.startswith("maskedge.") and layer_of(module) != layer_of(other)
    }
    assert sorted((one, other) for one, other in arrows if one < other and (other, one) in arrows) == []


def test_every_package_says_what_it_holds() -> None:
    missing = [name for name, path in modules().items() if path.name == "__init__.py" and not ast.get_docstring(syntax(path))]
    assert missing == []
