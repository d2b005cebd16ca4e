"""The commands edge-run, edge-doctor and edge-app.

This module imports almost nothing, so that a signal during the slow imports of a command ends it as later ones do.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def leave_at_signal(number: int, frame: FrameType | None) -> None:
    """End the process with exit code 128 + number. Nothing is open yet that has to be completed."""
    os._exit(128 + number)


def leave_at_signals() -> None:
    """End the process at once at SIGINT and SIGTERM, until the command runs (`common`)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell ignores SIGINT for a command in the background
            signal.signal(number, leave_at_signal)


def edge_run() -> None:
    """Run the command edge-run."""
    leave_at_signals()
    # It asks for a reload. The configuration is not read yet, so there is nothing to do.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from .run import main

    main()


def edge_doctor() -> None:
    """Run the command edge-doctor."""
    leave_at_signals()
    from .doctor import main

    main()


def edge_app() -> None:
    """Run the command edge-app."""
    leave_at_signals()
    from .app import main

    main()
