"""The kinds of commands, and the checks of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from maskedge.config import LOG_LEVELS
from maskedge.errors import UsageError
from maskedge.remote.model_store import UPDATED_KINDS
from maskedge.settings import check_name, shown


@dataclass(frozen=True)
class CommandKind:
    """A kind of command.

    Attributes:
        name: Its name in commands and in `[fleet] commands` of a device.
        check: Takes the arguments and returns them in the form that the device receives.
        admin: True if only an admin may send it.
        allowed_by: Name in `[fleet] commands` of the device that allows it.
    """

    name: str
    check: Callable[[Mapping[str, Any]], dict[str, Any]]
    admin: bool = False
    allowed_by: str = ""

    @property
    def permission(self) -> str:
        """Name in `[fleet] commands` of the device that allows this kind."""
        return self.allowed_by or self.name


def _none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    _only(arguments)
    return {}


def _snapshot(arguments: Mapping[str, Any]) -> dict[str, Any]:
    _only(arguments, "camera")
    camera = arguments.get("camera", "camera")
    if not isinstance(camera, str):
        raise UsageError(f"camera is the name of a camera, got {shown(camera)}.")
    return {"camera": check_name(camera, "camera")}


def _privacy(arguments: Mapping[str, Any]) -> dict[str, Any]:
    _only(arguments, "anonymize", "stats_only")
    wrong = [name for name, value in arguments.items() if not isinstance(value, bool)]
    if wrong or not arguments:
        raise UsageError("privacy takes anonymize, stats_only or both, each true or false.")
    return dict(arguments)


def _log_level(arguments: Mapping[str, Any]) -> dict[str, Any]:
    _only(arguments, "level")
    if arguments.get("level") not in LOG_LEVELS:
        raise UsageError(f"level is one of {', '.join(LOG_LEVELS)}, got {shown(arguments.get('level'))}.")
    return {"level": arguments["level"]}


def _update_model(arguments: Mapping[str, Any]) -> dict[str, Any]:
    names = ("url", "sha256", "size", "signature", "kind")
    _only(arguments, *names)
    if missing := [name for name in names if name not in arguments]:
        raise UsageError(f"update_model lacks {missing[0]}.")
    return dict(arguments) | _revert_model({"kind": arguments["kind"]})


def _revert_model(arguments: Mapping[str, Any]) -> dict[str, Any]:
    _only(arguments, "kind")
    kind = arguments.get("kind", UPDATED_KINDS[0])
    if kind not in UPDATED_KINDS:
        raise UsageError(f"kind is one of {', '.join(UPDATED_KINDS)}, got {shown(kind)}.")
    return {"kind": kind}


def _only(arguments: Mapping[str, Any], *names: str) -> None:
    unknown = next((name for name in arguments if name not in names), None)
    if unknown is not None:
        known = f"it takes {', '.join(names)}" if names else "it takes none"
        raise UsageError(f"the command has no argument {shown(unknown)}: {known}.")


KINDS = {
    kind.name: kind
    for kind in (
        CommandKind("reload", _none),
        CommandKind("restart", _none, admin=True),
        CommandKind("snapshot", _snapshot),
        CommandKind("privacy", _privacy),
        CommandKind("log_level", _log_level),
        CommandKind("update_model", _update_model, admin=True),
        CommandKind("revert_model", _revert_model, admin=True, allowed_by="update_model"),
    )
}
"""All kinds, by name."""


def find_kind(name: str) -> CommandKind:
    """Return a kind of command.

    Raises:
        UsageError: There is no such kind.
    """
    if name not in KINDS:
        raise UsageError(f"there is no command {shown(name)}: use one of {', '.join(KINDS)}.")
    return KINDS[name]
