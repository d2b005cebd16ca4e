"""The commands of a fleet, except model updates: what each one does to the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from maskedge.config import LOG_LEVELS, PrivacyConfig
from maskedge.errors import MaskedgeError, SourceError
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.support.log import NAME
from maskedge.support.text import utc

from .ledger import CommandLedger
from .verification import RefusedError

_PRIVACY = ("anonymize", "stats_only")
_PICTURE_SECONDS = 15.0
"""Maximum seconds to wait for a new frame."""
_PICTURE_SIDE, _PICTURE_QUALITY = 1280, 85


class CameraView(Protocol):
    """The part of a camera that the command `snapshot` needs: its newest result, and its privacy.

    Attributes:
        newest: The newest published result.
        anonymize: Faces are pixelated.
        stats_only: Positions and identities of people leave the program in no form.
    """

    newest: FrameResult | None
    anonymize: bool
    stats_only: bool


@dataclass(frozen=True)
class RunHooks:
    """The parts of the run that commands need. Every function is safe on any thread.

    Attributes:
        reload: Reloads the configuration, and returns what has changed when that is done. Raises
            MaskedgeError if the configuration is invalid.
        restart: Asks the process to end and to start again. Returns at once. Raises MaskedgeError if
            the next start would fail; the run then goes on.
        cameras: Returns the cameras that run, by name.
        file_privacy: Returns the section `[privacy]` of each camera, as the file has it.
    """

    reload: Callable[[], str]
    restart: Callable[[], None]
    cameras: Callable[[], Mapping[str, CameraView]]
    file_privacy: Callable[[], Sequence[PrivacyConfig]]


class Commands:
    """Executes the commands. Every method returns a sentence and details for the answer.

    Args:
        hooks: The run.
        ledger: Keeps stricter privacy.
        send_picture: Publishes the picture of a camera, JPEG.
    """

    def __init__(self, hooks: RunHooks, ledger: CommandLedger, send_picture: Callable[[str, bytes], None]) -> None:
        self._hooks = hooks
        self._ledger = ledger
        self._send_picture = send_picture

    def execute(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Execute a command.

        Raises:
            RefusedError: There is no such command, or its arguments are not allowed.
            MaskedgeError: It fails.
        """
        if name == "reload":
            _check(name, arguments)
            return self._hooks.reload(), {}
        if name == "log_level":
            _check(name, arguments, level=LOG_LEVELS)
            logging.getLogger(NAME).setLevel(arguments["level"].upper())
            return f"the log has the level {arguments['level']} until the next reload or restart.", {}
        if name == "privacy":
            return self._set_privacy(arguments)
        if name == "snapshot":
            return self._take_picture(arguments)
        raise RefusedError(f"there is no command {name[:20]!r}: update edge-run, if the fleet is newer.")

    def _set_privacy(self, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Turn `anonymize` or `stats_only` on, or leave it to the file again."""
        wrong = [key for key, on in arguments.items() if key not in _PRIVACY or not isinstance(on, bool)]
        if wrong or not arguments:
            raise RefusedError("privacy takes anonymize and stats_only, each true or false.")
        for key, on in arguments.items():
            by_file = any(getattr(privacy, key) for privacy in self._hooks.file_privacy())
            if not on and by_file and not self._ledger.privacy.get(key):
                raise RefusedError(f"the device's own file sets privacy.{key}, and a command cannot turn it off.")
        before = {key: self._ledger.privacy.get(key, False) for key in arguments}
        self._ledger.set_privacy(arguments)
        try:
            self._hooks.reload()
        except MaskedgeError:
            # It is not in effect, and must not be at some later reload either.
            self._ledger.set_privacy(before)
            raise
        on = [key for key in _PRIVACY if self._ledger.privacy.get(key)]
        return f"turned on by the fleet: {', '.join(on) or 'nothing'}; the rest is as in the device's own file.", {"on": on}

    def _take_picture(self, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Publish the next frame of a camera."""
        cameras = self._hooks.cameras()
        _check("snapshot", arguments, camera=tuple(cameras))
        name, start = arguments["camera"], time.perf_counter()
        while time.perf_counter() < start + _PICTURE_SECONDS:
            view = self._hooks.cameras().get(name)
            result = None if view is None else view.newest
            if view is None or result is None or result.frame.arrival <= start:
                time.sleep(0.05)
                continue
            asked = self._ledger.privacy
            if view.stats_only or asked.get("stats_only"):
                raise RefusedError("the device sends no picture with privacy.stats_only, because it shows where people are.")
            if (view.anonymize or asked.get("anonymize")) and result.hidden is None:
                continue  # of before the faces had to be hidden
            height, width = result.plain.shape[:2]
            self._send_picture(name, encode_jpeg(result.plain, _PICTURE_QUALITY, longest_side=_PICTURE_SIDE))
            hidden = result.hidden is not None
            details = {"camera": name, "time": utc(result.frame.time), "size": [width, height], "anonymized": hidden}
            return f"the picture of {name} is published{', with pixelated faces' if hidden else ''}.", details
        raise SourceError(f"the camera {name} delivers no picture: check it.")


def _check(name: str, arguments: Mapping[str, Any], **allowed: Sequence[str]) -> None:
    """Refuse arguments other than those in `allowed`, each with one of its values."""
    if set(arguments) != set(allowed):
        raise RefusedError(f"{name} takes {' and '.join(allowed) or 'no arguments'}.")
    for key, values in allowed.items():
        if arguments[key] not in values:
            raise RefusedError(f"{name} takes as {key} one of {', '.join(values)}.")


def outcome_of(error: MaskedgeError) -> str:
    """Return the status of the answer to a command that has raised an error: `refused` or `failed`."""
    return "refused" if isinstance(error, RefusedError) else "failed"
