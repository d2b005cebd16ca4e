"""What an alert does: a webhook, a command, a snapshot, a clip, a topic. Nothing here can hold up the loop."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from maskedge.errors import OutputError, UsageError
from maskedge.events import ALERT, OUTPUT_BACK, OUTPUT_LOST, Event
from maskedge.results import FrameResult
from maskedge.sinks.clips import ClipSink
from maskedge.sinks.snapshots import SnapshotStore
from maskedge.support.files import MOST_SECRET, read_text
from maskedge.support.text import to_json
from maskedge.support.workers import WAITS, PermanentError, Worker
from maskedge.version import VERSION

from .rules import AlertRule

_COMMANDS_AT_ONCE = 2
_TRY_AGAIN = (408, 425, 429)


class Webhook:
    """POSTs the JSON of an event.

    Args:
        rule: The rule, with a `webhook`.

    Raises:
        UsageError: It is no http(s) URL, or the header is none or cannot be read.
    """

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule.name
        self._url = rule.webhook or ""
        self._timeout = rule.webhook_timeout
        try:
            parts = urlsplit(self._url)
            host = parts.hostname
        except ValueError:
            parts, host = urlsplit(""), None
        # Only the host is ever said: many services put a secret into the path.
        if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or re.search(r"[\s\x00-\x1f]", self._url):
            raise UsageError(f"alert rule {rule.name!r}: webhook is an http:// or https:// URL without user and password.")
        self._host = host
        self._headers = {"Content-Type": "application/json", "User-Agent": f"maskedge/{VERSION}"} | _header(rule)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def post(self, event: Event) -> None:
        """Send it once.

        Raises:
            OutputError: It did not arrive.
        """
        body = to_json(event.to_json(), ensure_ascii=True).encode()
        request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310  (http or https: checked above)
        where = f"the webhook of alert rule {self._rule!r} at {self._host}"
        try:
            with self._opener.open(request, timeout=self._timeout):
                pass
        except urllib.error.HTTPError as error:
            with error:
                sentence = f"{where} answered {error.code}: check its URL and header."
            if error.code < 500 and error.code not in _TRY_AGAIN:
                raise PermanentError(sentence) from None
            raise OutputError(sentence) from None
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            words = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason) or type(reason).__name__
            # Without the error as cause: its text may hold the URL.
            raise OutputError(f"{where} cannot be reached ({words}): check the network and the URL.") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The secret header goes where the user said and nowhere else."""

    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        """Follow nothing: the answer counts as a failure."""


def _header(rule: AlertRule) -> dict[str, str]:
    """Give the header that a rule wants to be sent."""
    given = [value for value in (rule.webhook_header, rule.webhook_header_env, rule.webhook_header_file) if value is not None]
    if not given:
        return {}
    who = f"alert rule {rule.name!r}"
    if len(given) > 1:
        raise UsageError(f"{who}: give one of webhook_header, webhook_header_env and webhook_header_file.")
    text = rule.webhook_header
    if rule.webhook_header_env is not None:
        text = os.environ.get(rule.webhook_header_env)
        if text is None:
            raise UsageError(f"{who}: the environment variable {rule.webhook_header_env} (webhook_header_env) is not set.")
    if rule.webhook_header_file is not None:
        try:
            text = read_text(rule.webhook_header_file.expanduser(), MOST_SECRET)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"{who}: {rule.webhook_header_file} (webhook_header_file) cannot be read ({reason}).") from error
    found = re.fullmatch(r"([\w-]+):[ \t]*([\x20-\x7e]+)", (text or "").strip())
    if not found:
        raise UsageError(f"{who}: the header of the webhook is one line 'NAME: VALUE' of plain letters.")
    return {found[1]: found[2]}


class Command:
    """Runs a program, without a shell, with the JSON of an event on its standard input.

    Args:
        rule: The rule, with a `command`.

    Raises:
        UsageError: It names no program.
    """

    def __init__(self, rule: AlertRule) -> None:
        if not rule.command or not all(rule.command[:1]) or any("\0" in part for part in rule.command):
            raise UsageError(
                f"alert rule {rule.name!r}: command is a list, the program first: command = ['/usr/bin/logger', 'alert']."
            )
        self._where = f"the command {Path(rule.command[0]).name} of alert rule {rule.name!r}"
        self._command = rule.command
        self._timeout = rule.command_timeout

    def run(self, event: Event, stopping: Callable[[], bool]) -> None:
        """Run it once, and end it with what it started after its time.

        Args:
            event: What to tell it.
            stopping: True when edge-run ends: then it has half a second.

        Raises:
            PermanentError: It could not be run, took too long, or ended with another code than 0.
        """
        # What may hold our secrets is none of its business.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MASKEDGE_")}
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
        if process.returncode:
            raise PermanentError(f"{self._where} ended with code {process.returncode}.")


class Actions:
    """Does the actions of all rules (but `event`), each on threads of its own.

    A webhook that fails is tried again after 2, 10 and 30 s, and so is a picture on a full disk.

    Args:
        rules: The rules.
        source: What the user called the source, without name and password.
        snapshots: Where the pictures go; None when no rule has the action `snapshot`.
        clips: What remembers the last seconds; None when no rule has the action `clip`. It is closed by who runs the sinks.
        set_alert: Says on MQTT whether the alert of a rule lasts (`MqttSink.set_alert`); None without MQTT.
        waits: Seconds between tries.

    Raises:
        UsageError: A rule has an action that cannot be done.
    """

    def __init__(
        self,
        rules: Sequence[AlertRule],
        source: str,
        *,
        snapshots: SnapshotStore | None = None,
        clips: ClipSink | None = None,
        set_alert: Callable[..., None] | None = None,
        waits: Sequence[float] = WAITS,
    ) -> None:
        # All are checked before the first thread starts.
        webhooks = {rule.name: Webhook(rule) for rule in rules if "webhook" in rule.actions}
        commands = {rule.name: Command(rule) for rule in rules if "command" in rule.actions}
        for action, there in (("snapshot", snapshots), ("clip", clips), ("mqtt", set_alert)):
            for rule in rules:
                if action in rule.actions and there is None:
                    section = {"snapshot": "snapshots] folder", "clip": "clips] folder", "mqtt": "mqtt] url"}[action]
                    raise UsageError(f"alert rule {rule.name!r} has the action {action!r}: set [{section}.")
        self._source = source
        self._clips = clips
        if clips is not None:
            clips.on_state = self._teller("clips")
        self._set_alert = set_alert
        self._problems: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._webhooks = {
            name: Worker(f"webhook of {name}", hook.post, self._teller(f"webhook {name}"), waits=waits)
            for name, hook in webhooks.items()
        }
        self._commands: Worker[tuple[Command, Event]] | None = None
        if commands:
            self._commands = Worker("commands of alerts", self._run, self._teller("commands"), threads=_COMMANDS_AT_ONCE, waits=())
        self._programs = commands
        self._snapshots: Worker[tuple[str, float, FrameResult]] | None = None
        if snapshots is not None:
            store = snapshots
            self._snapshots = Worker(
                "writing snapshots", lambda piece: _save(store, piece), self._teller("snapshots"), capacity=4, waits=waits
            )

    def perform(self, rule: AlertRule, event: Event, answer: FrameResult | None) -> None:
        """Begin the actions of a rule; never waits.

        Args:
            rule: The rule.
            event: Its `alert` or `alert_ended`.
            answer: The newest frame, for the snapshot.
        """
        begins = event.kind == ALERT
        if "webhook" in rule.actions:
            self._webhooks[rule.name].submit(event)
        if "command" in rule.actions and self._commands is not None:
            self._commands.submit((self._programs[rule.name], event))
        if "mqtt" in rule.actions and self._set_alert is not None:
            self._set_alert(rule.name, on=begins)
        if begins and "snapshot" in rule.actions and self._snapshots is not None and answer is not None:
            self._snapshots.submit((rule.name, event.time, answer))
        if begins and "clip" in rule.actions and self._clips is not None:
            self._clips.trigger(rule.name, event.time, event.film_s)

    def problems(self) -> list[Event]:
        """Give what failed (`output_lost`) or works again (`output_back`) since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._problems.get_nowait())
        return found

    def close(self) -> None:
        """End all, within about a second: what has begun may end, and nothing is tried again."""
        end = time.monotonic() + 1.0
        workers = [worker for worker in (*self._webhooks.values(), self._commands, self._snapshots) if worker is not None]
        for worker in workers:
            worker.stopping.set()
        for worker in workers:
            worker.close(max(0.0, end - time.monotonic()))

    def _run(self, piece: tuple[Command, Event]) -> None:
        command, event = piece
        command.run(event, lambda: self._commands is not None and self._commands.stopping.is_set())

    def _teller(self, output: str) -> Callable[[str | None], None]:
        def tell(problem: str | None) -> None:
            details = {"output": output} | ({"error": problem} if problem else {})
            self._problems.put(Event(OUTPUT_LOST if problem else OUTPUT_BACK, time.time(), self._source, details))

        return tell


def _save(store: SnapshotStore, piece: tuple[str, float, FrameResult]) -> None:
    store.save(*piece)
