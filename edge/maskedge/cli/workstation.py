"""`edge-train`, `edge-export` and `edge-bench`, the commands of a workstation.

The base install has these commands too: without its packages, each names the extra to install.
"""

from __future__ import annotations

from importlib import import_module

from .common import require_extra


def train() -> None:
    """Run `edge-train`."""
    _run("maskedge_train.cli", "train")


def export() -> None:
    """Run `edge-export`."""
    _run("maskedge_export.cli", "export")


def bench() -> None:
    """Run `edge-bench`."""
    _run("maskedge_bench.cli.main", "bench")


def _run(module: str, extra: str) -> None:
    # By name: no module of the device depends on these packages.
    with require_extra(extra):
        command = import_module(module)
    command.main()
