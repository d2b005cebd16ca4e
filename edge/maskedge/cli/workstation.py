"""`edge-train`, `edge-export` and `edge-bench`, the commands of a workstation, and `edge-fleet`, the server.

The base installation has these commands too. If its packages are missing, a command names the extra
to install.
"""

from __future__ import annotations

from importlib import import_module

from . import leave_at_signals


def train() -> None:
    """Run `edge-train`."""
    _run("maskedge_train.cli", "train")


def export() -> None:
    """Run `edge-export`."""
    _run("maskedge_export.cli", "export")


def bench() -> None:
    """Run `edge-bench`."""
    _run("maskedge_bench.cli.main", "bench")


def fleet() -> None:
    """Run `edge-fleet`."""
    _run("maskedge_fleet.cli", "fleet")


def _run(module: str, extra: str) -> None:
    leave_at_signals()
    # Imported now, because a signal during the imports before would print a traceback.
    from .common import require_extra

    # The module is imported by name, because code for the device must not depend on these packages.
    with require_extra(extra):
        command = import_module(module)
    command.main()
