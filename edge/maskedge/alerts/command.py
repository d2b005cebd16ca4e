"""The action `command`, which runs a program with the event on its standard input."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskedge.errors import UsageError
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.settings import Range
from maskedge.support.text import to_json
from maskedge.support.workers import PermanentError, child_environment

from .action import Action, ActionContext
from .rules import AlertRule

_AT_ONCE = 2
_secret_variables: set[str] = set()
"""Names of variables that programs do not get. They are those of all cameras of the process."""


def hide_variables(names: Iterable[str]) -> None:
    """Leave variables with a secret out of the environment of programs from now on."""
    _secret_variables.update(names)


@dataclass(frozen=True)
class CommandRule(AlertRule):
    """A rule with the keys of the action `command`."""

    command: tuple[str, ...] = field(
        default=(), metadata={"help": "program and arguments; receives the JSON on standard input", "free": True}
    )
    command_timeout: float = field(
        default=10.0, metadata={"help": "seconds after which the program is killed", "range": Range(0.01, 3600)}
    )


class CommandAction(Action):
    """Runs programs, two at a time. A program that fails is not run again."""

    name = "command"
    rule_class = CommandRule

    def __init__(self, rules: Sequence[CommandRule], context: ActionContext) -> None:
        super().__init__(rules, context)
        self._commands = {rule.name: Command(rule) for rule in rules}

    def start(self) -> None:
        """Start the threads that run programs."""
        self._worker = self.context.threads.open("commands", "commands of alerts", threads=_AT_ONCE, retry=False)
        self.workers = [self._worker]

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Queue the program."""
        command, stopping = self._commands[rule.name], self._worker.stopping
        self._worker.submit(self.context.threads.deferred(lambda event: command.run(event, stopping.is_set), event))
        return []


class Command:
    """Runs a program without a shell, with the JSON of an event on its standard input.

    Args:
        rule: The rule, with a `command`.

    Raises:
        UsageError: The rule does not name a program.
    """

    def __init__(self, rule: CommandRule) -> None:
        if not rule.command or not all(rule.command[:1]) or any("\0" in part for part in rule.command):
            raise UsageError(
                f"alert rule {rule.name!r}: command is a list, the program first: command = ['/usr/bin/logger', 'alert']."
            )
        self._where = f"the command {Path(rule.command[0]).name} of alert rule {rule.name!r}"
        self._command = rule.command
        self._timeout = rule.command_timeout

    def run(self, event: Event, stopping: Callable[[], bool]) -> None:
        """Run the program once. On a timeout, kill the program and the processes it has started.

        Args:
            event: The event for its standard input.
            stopping: Returns True when the run ends. The program then has half a second left.

        Raises:
            PermanentError: The program cannot be run, timed out, or returned a code other than 0.
        """
        # Those of edge-run may contain secrets.
        environment = {
            name: value
            for name, value in child_environment().items()
            if not name.startswith("MASKEDGE_") and name not in _secret_variables
        }
        try:
            process = subprocess.Popen(  # noqa: S603  (a list from the user's own configuration, no shell)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            raise PermanentError(f"{self._where} cannot be run ({error.strerror}): check the path and the permissions.") from error
        text: bytes | None = to_json(event.to_json(), ensure_ascii=True).encode() + b"\n"
        end = time.monotonic() + self._timeout
        with process:
            while True:
                try:
                    process.communicate(text, timeout=0.1)
                    break
                except subprocess.TimeoutExpired:
                    text = None
                    if stopping():
                        end = min(end, time.monotonic() + 0.5)
                    if time.monotonic() < end:
                        continue
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    raise PermanentError(f"{self._where} took longer than {self._timeout:g} s and was killed.") from None
        if process.returncode < 0:
            raise PermanentError(f"{self._where} was ended by {_signal_name(-process.returncode)}.")
        if process.returncode:
            raise PermanentError(f"{self._where} ended with code {process.returncode}.")


def _signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGKILL`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
