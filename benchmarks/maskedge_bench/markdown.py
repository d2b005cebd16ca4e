"""Building blocks of Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Report: TypeAlias = Mapping[str, Any]
"""A report, as read from its JSON file."""
UNKNOWN = "-"
"""A figure that was not measured."""


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def ranged(figure: Mapping[str, float], digits: int = 1, unit: str = "") -> str:
    """Return a median and its range, such as `41.8 ms (40.3 - 46.4)`."""
    return f"{figure['median']:.{digits}f}{f' {unit}' * bool(unit)} ({figure['min']:.{digits}f} - {figure['max']:.{digits}f})"


def known(value: float | None, form: str = ".3f") -> str:
    """Return a formatted number, or a dash for an unknown one."""
    return UNKNOWN if value is None else format(value, form)


def machine(facts: Report) -> str:
    """Return machine and versions."""
    return f"{facts['machine']}, {facts['cores']} cores, {versions(facts)}"


def versions(facts: Report) -> str:
    """Return the versions of Python, OpenCV and onnxruntime."""
    return f"Python {facts['python']}, OpenCV {facts['opencv']}, onnxruntime {facts['onnxruntime']}"
