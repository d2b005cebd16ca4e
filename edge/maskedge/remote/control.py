"""Takes the commands of a fleet one after the other, and answers them (docs/fleet-device.md)."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from maskedge.errors import MaskedgeError, OutputError
from maskedge.modelfile.signature import key_id
from maskedge.sinks.mqtt.fleet import FleetConfig
from maskedge.support.log import NAME
from maskedge.support.text import utc
from maskedge.version import VERSION

from .commands import Commands, RunHooks, outcome_of
from .ledger import CommandLedger
from .link import CommandLink
from .verification import Command, RefusedError, UnverifiedError, check_time, read_command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from .model_update import ModelUpdater

_MOST_WAITING = 100
_TICK = 0.5
"""Seconds between two looks at the answers that the broker has confirmed."""
_LOG_EVERY = 60.0
"""Seconds between two lines about messages that are no commands."""
_CLOSE_SECONDS = 0.3
_PERMISSION = {"revert_model": "update_model"}
"""Commands that another name in `fleet.commands` allows."""
_log = logging.getLogger(NAME)


class RemoteControl:
    """Receives, verifies, executes and answers commands. Without allowed commands it has no connection.

    Args:
        device: Name of the device in its topics.
        hooks: The run.
        ledger: Sequence numbers and answers.
        connect: Opens the connection. Takes the function that receives each message.
        updater: Updates the models; None if the configuration does not allow it.

    Attributes:
        rejected: Number of messages that were no commands of a trusted key to this device.
    """

    def __init__(
        self,
        device: str,
        hooks: RunHooks,
        ledger: CommandLedger,
        connect: Callable[[Callable[[bytes], None]], CommandLink],
        updater: ModelUpdater | None = None,
    ) -> None:
        self.rejected = 0
        self._device = device
        self._hooks = hooks
        self._ledger = ledger
        self._connect = connect
        self._updater = updater
        self._fleet = FleetConfig()
        self._keys: tuple[Ed25519PublicKey, ...] = ()
        self._link: CommandLink | None = None
        self._waiting: queue.Queue[Command | None] = queue.Queue(_MOST_WAITING)
        self._commands = Commands(hooks, ledger, self._send_picture)
        self._log_due = 0.0
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        if updater is not None:
            updater.on_late_report = self._report_late

    def start(self) -> None:
        """Start to take commands, and answer those that the last process left."""
        left = self._updater.given_up() if self._updater is not None else []
        for one in left:
            if one.command:
                self._answer(one.command, "update_model", "failed", one.sentence, "rolled_back", one.details)
        for identity, name in self._ledger.interrupted().items():
            if name == "restart":
                self._answer(identity, name, "done", f"edge-run {VERSION} was started again.")
            elif not (name == "update_model" and self._is_on_trial(identity)):
                self._answer(identity, name, "failed", "edge-run ended while it executed the command: send it again.")
        self._thread.start()

    def use(self, fleet: FleetConfig, keys: tuple[Ed25519PublicKey, ...]) -> None:
        """Use these settings from the next command on.

        Args:
            fleet: The section `[fleet]`.
            keys: Its trusted keys.
        """
        self._fleet, self._keys = fleet, keys
        if fleet.commands and self._link is None:
            self._link = self._connect(self._take)
            for answer in self._ledger.unsent():
                self._link.send_answer(answer, final=True)
            self._link.start()
        elif not fleet.commands and self._link is not None:
            link, self._link = self._link, None
            self._note_sent(link.close())

    def close(self) -> None:
        """Send what waits, and disconnect."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
            self._thread.join(_CLOSE_SECONDS)
        if self._link is not None:
            self._note_sent(self._link.close())

    def _take(self, payload: bytes) -> None:
        """Verify a message and queue it. Called on the thread of the connection.

        Messages that are no commands never wait, so they cannot hold up those that are.
        """
        try:
            self._waiting.put_nowait(read_command(payload, self._device, self._keys))
        except UnverifiedError as error:
            self._reject(str(error))
        except queue.Full:
            self._reject("too many commands wait")
        except Exception as error:  # noqa: BLE001  (no message may end the connection)
            self._reject(f"it cannot be read ({type(error).__name__})")

    def _run(self) -> None:
        while True:
            try:
                command = self._waiting.get(timeout=_TICK)
                if command is None:
                    return
                self._handle(command)
            except queue.Empty:
                pass
            except Exception as error:  # noqa: BLE001  (no command may end the device or its control)
                _log.error("a command failed (%.200r).", error)
            link = self._link
            if link is not None:
                self._note_sent(link.take_sent())

    def _handle(self, command: Command) -> None:
        """Execute a command, unless it has expired or is repeated."""
        if command.key not in map(key_id, self._keys):
            self._reject("its key was removed while it waited")
            return
        known = self._ledger.answer_of(command.identity)
        if known is not None:
            if self._link is not None:
                self._link.send_answer(known, final=False)
            return
        if command.identity in self._ledger.interrupted():
            return  # it is being executed
        if command.expires <= time.time() and command.sequence <= self._ledger.last_sequence(command.key):
            # Its answer was known once, and another one would replace it at the server.
            self._reject("it is an old command")
            return
        try:
            check_time(command)
            self._ledger.accept(command)
        except MaskedgeError as error:
            self._answer(command.identity, command.name, outcome_of(error), str(error), kept=False)
            return
        _log.info("command of the fleet: %s", command.name)
        try:
            if _PERMISSION.get(command.name, command.name) not in self._fleet.commands:
                raise RefusedError(f"the device does not allow {command.name[:20]}: fleet.commands does not list it.")
            self._execute(command)
        except MaskedgeError as error:
            self._answer(command.identity, command.name, outcome_of(error), str(error))
        except Exception as error:
            self._answer(command.identity, command.name, "failed", f"the command failed ({type(error).__name__}): see the log.")
            raise

    def _execute(self, command: Command) -> None:
        name, arguments = command.name, command.arguments
        if name in ("update_model", "revert_model"):
            # An update takes minutes. The next command does not wait for it.
            threading.Thread(target=self._change_model, args=(command,), name=name, daemon=True).start()
        elif name == "restart":
            if arguments:
                raise RefusedError("restart takes no arguments.")
            self._hooks.restart()
            self._answer(command.identity, name, "progress", "edge-run ends and starts again.")
        else:
            sentence, details = self._commands.execute(name, arguments)
            self._answer(command.identity, name, "done", sentence, details=details)

    def _change_model(self, command: Command) -> None:
        """Update a model or go back, on a thread of its own."""
        identity, name, updater = command.identity, command.name, self._updater
        stages = [""]

        def report(stage: str, sentence: str, details: Mapping[str, Any]) -> None:
            stages.append(stage)
            self._answer(identity, name, "progress", sentence, stage, details)

        try:
            if updater is None:
                raise RefusedError("the device takes no models: set model.trusted_keys in its configuration, and restart it.")
            if name == "update_model":
                sentence = updater.update(command.arguments, report, identity)
            else:
                sentence = updater.revert(str(command.arguments.get("kind")), report)
            self._answer(identity, name, "done", sentence, stages[-1])
        except MaskedgeError as error:
            self._answer(identity, name, outcome_of(error), str(error), stages[-1])
        except Exception as error:  # noqa: BLE001  (the device goes on with the model that it has)
            _log.error("the command %s failed (%.200r).", name, error)
            self._answer(identity, name, "failed", f"the command failed ({type(error).__name__}): see the log.", stages[-1])

    def _report_late(self, identity: str, stage: str, sentence: str, details: Mapping[str, Any]) -> None:
        """Answer with the result of an update that is known only after its command was answered."""
        if identity:
            self._answer(identity, "update_model", "failed" if stage == "rolled_back" else "done", sentence, stage, details)

    def _is_on_trial(self, identity: str) -> bool:
        """Return True if the model of a command is in use and not confirmed yet. Its result is reported later."""
        if self._updater is None:
            return False
        states = [self._updater.store.state(kind) for kind in ("classifier", "detector")]
        return any(state.command == identity and not state.confirmed for state in states)

    def _answer(
        self,
        identity: str,
        name: str,
        status: str,
        sentence: str,
        stage: str = "",
        details: Mapping[str, Any] | None = None,
        *,
        kept: bool = True,
    ) -> None:
        """Answer a command.

        Args:
            identity: Its identity.
            name: Its name.
            status: `done`, `failed`, `refused` or `progress`.
            sentence: The result, for people.
            stage: Stage of a model update; empty for none.
            details: Facts for programs.
            kept: Keep a final answer on the disk. A command that was not accepted cannot fill the disk.
        """
        answer = {
            "id": identity,
            "command": name,
            "status": status,
            **({"stage": stage} if stage else {}),
            "sentence": sentence,
            "time": utc(time.time()),
            "details": dict(details or {}),
        }
        final = kept and status != "progress"
        if status != "progress":
            _log.info("command %s: %s: %s", name, status, sentence)
        if final:
            try:
                self._ledger.finish(identity, answer)
            except OutputError as error:
                _log.error("%s", error)
        if self._link is not None:
            self._link.send_answer(answer, final=final)

    def _send_picture(self, camera: str, jpeg: bytes) -> None:
        if self._link is not None:
            self._link.send_picture(camera, jpeg)

    def _note_sent(self, identities: Sequence[str]) -> None:
        for identity in identities:
            try:
                self._ledger.note_sent(identity)
            except OutputError as error:
                _log.error("%s", error)

    def _reject(self, reason: str) -> None:
        """Count a message that is no command, and log some of them."""
        self.rejected += 1
        now = time.monotonic()
        if now >= self._log_due:
            self._log_due = now + _LOG_EVERY
            _log.warning("a message on the topic of commands was not taken: %s (%d so far).", reason, self.rejected)
