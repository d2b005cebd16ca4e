"""The third part of the loop. It closes all parts of a run, and limits the time if one hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from maskedge.errors import MaskedgeError, OutputError
from maskedge.sinks.base import Sink
from maskedge.sources import Source

CLOSE_SECONDS = 1.7
"""Maximum time for parts that may hang, in seconds. A run ends within two seconds of a signal."""


class Closable(Protocol):
    """An object with a method `close`."""

    def close(self) -> None:
        """Close it."""
        ...


def close_run(
    source: Source, sinks: Sequence[Sink], others: Sequence[Closable] = (), *, seconds: float = CLOSE_SECONDS
) -> list[MaskedgeError]:
    """Close a source, its sinks and other parts of a run.

    Parts that may hang are closed in parallel on threads. The threads are abandoned after
    `seconds`. These parts are the source, `others` and, with a live source, the sinks, each of
    which has a queue or its own thread. Without a live source, a sink writes the user's file
    directly, and is completed without a time limit. A sink with `main_thread` is always closed on
    the calling thread.

    Args:
        source: The source.
        sinks: The sinks.
        others: Further parts, such as the actions of alerts.
        seconds: Maximum time for the threads, in seconds.

    Returns:
        The failures. All other parts are closed in spite of a failure.
    """
    end = time.monotonic() + seconds
    failures: list[MaskedgeError] = []

    def close(part: Closable) -> None:
        try:
            part.close()
        except MaskedgeError as error:
            failures.append(error)
        except Exception as error:  # noqa: BLE001  (the other parts must still be closed)
            failures.append(OutputError(f"{getattr(part, 'name', 'an output')} could not be closed ({error!r})."))

    apart = [sink for sink in sinks if source.live and not sink.main_thread]
    threads = []
    parts: list[Closable] = [source, *apart, *others]
    for part in parts:
        thread = threading.Thread(target=close, args=(part,), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no memory for another thread
            close(part)
        else:
            threads.append(thread)
    for sink in sinks:
        if sink not in apart:
            close(sink)
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return failures
