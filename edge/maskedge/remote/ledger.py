"""What the control of a device keeps on disk: sequence numbers, answers and stricter privacy."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError
from maskedge.support.files import make_folder, read_regular, write_file
from maskedge.support.text import displayable, read_json, to_json

from .verification import Command, RefusedError

_NAME = "commands.json"
_VERSION = 1
_LARGEST = 4 * 1024 * 1024
_MOST_ANSWERS = 64
"""Number of answers that are kept for repeated commands."""


class CommandLedger:
    """A small file in the state folder. Every change is on the disk when its method returns.

    Safe on any thread.

    Args:
        folder: The state folder, created if missing.

    Raises:
        OutputError: The file cannot be read or is damaged. Without its sequence numbers, old commands
            could be replayed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._lock = threading.Lock()
        self._sequences: dict[str, int] = {}
        self._answers: dict[str, dict[str, Any]] = {}
        self._unsent: set[str] = set()
        self._running: dict[str, str] = {}
        self._privacy: dict[str, bool] = {}
        make_folder(folder, private=True)
        try:
            self._take(read_json(read_regular(self._path, _LARGEST).decode()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{displayable(self._path)} cannot be read ({error}): old commands could be repeated without it; "
                "restore it, or remove it and give the fleet a new key."
            ) from error

    @property
    def privacy(self) -> Mapping[str, bool]:
        """Keys of `[privacy]` that a command has turned on."""
        return self._privacy

    def answer_of(self, identity: str) -> dict[str, Any] | None:
        """Return the answer to a command that was executed or refused; None if there is none."""
        with self._lock:
            return self._answers.get(identity)

    def accept(self, command: Command) -> None:
        """Store that a command is about to be executed.

        Raises:
            RefusedError: A later command of the same key was accepted, or this one.
            OutputError: The file cannot be written. The command must not be executed.
        """
        with self._lock:
            last = self._sequences.get(command.key, 0)
            if command.sequence <= last:
                raise RefusedError(
                    f"the command has the number {command.sequence}, and number {last} was taken before: "
                    "send it again, so that it gets a new number."
                )
            self._sequences[command.key] = command.sequence
            self._running[command.identity] = command.name
            try:
                self._write()
            except OutputError:
                # If the disk recovers, the same command may be taken.
                self._sequences[command.key] = last
                del self._running[command.identity]
                raise

    def finish(self, identity: str, answer: Mapping[str, Any]) -> None:
        """Store the answer to a command. It counts as unsent.

        Raises:
            OutputError: The file cannot be written. The answer is kept in memory.
        """
        with self._lock:
            self._running.pop(identity, None)
            self._answers[identity] = dict(answer)
            self._unsent.add(identity)
            for old in [one for one in self._answers if one not in self._unsent][: max(0, len(self._answers) - _MOST_ANSWERS)]:
                del self._answers[old]
            for old in list(self._answers)[: max(0, len(self._answers) - 2 * _MOST_ANSWERS)]:
                self._unsent.discard(old)
                del self._answers[old]
            self._write()

    def note_sent(self, identity: str) -> None:
        """Store that the broker has an answer.

        Raises:
            OutputError: The file cannot be written. The answer is sent again by the next process.
        """
        with self._lock:
            if identity in self._unsent:
                self._unsent.discard(identity)
                self._write()

    def unsent(self) -> list[dict[str, Any]]:
        """Return the answers that the broker does not have, in the order of the commands."""
        with self._lock:
            return [answer for identity, answer in self._answers.items() if identity in self._unsent]

    def interrupted(self) -> dict[str, str]:
        """Return the names of the commands that an earlier process began and did not finish, by their identity."""
        with self._lock:
            return dict(self._running)

    def set_privacy(self, changes: Mapping[str, bool]) -> None:
        """Turn keys of `[privacy]` on, or leave them to the file.

        Raises:
            OutputError: The file cannot be written. Nothing changes.
        """
        with self._lock:
            before = self._privacy
            self._privacy = {name: True for name, on in (before | dict(changes)).items() if on}
            try:
                self._write()
            except OutputError:
                self._privacy = before
                raise

    def _take(self, content: Any) -> None:
        if content["version"] != _VERSION:
            raise ValueError(f"its version is {content['version']}, and this maskedge reads {_VERSION}")
        self._sequences = {str(key): int(number) for key, number in content["sequences"].items()}
        self._answers = {str(identity): dict(answer) for identity, answer in content["answers"].items()}
        self._unsent = {str(identity) for identity in content["unsent"]}
        self._running = {str(identity): str(name) for identity, name in content["running"].items()}
        self._privacy = {str(name): bool(on) for name, on in content["privacy"].items()}

    def _write(self) -> None:
        content = {
            "version": _VERSION,
            "sequences": self._sequences,
            "answers": self._answers,
            "unsent": sorted(self._unsent),
            "running": self._running,
            "privacy": self._privacy,
        }
        write_file(self._path, to_json(content), remedy="free some space in the state folder", private=True, durable=True)
