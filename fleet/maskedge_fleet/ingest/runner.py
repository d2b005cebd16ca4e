"""The ingest: receives messages of devices, writes them, and confirms them."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from maskedge.errors import UsageError
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import DatabaseUnreachableError, check_current
from maskedge_fleet.settings import BrokerConfig, Settings

from .broker import BrokerSettings
from .messages import Parsed, Parser, Refused, spool_number
from .receiver import Receiver
from .writer import DatabaseAwayError, Writer

_log = logging.getLogger("maskedge.fleet.ingest")

DEFAULT_ROOT = "maskedge"
SESSION_S = 24 * 3600
"""Seconds that the broker keeps messages for an ingest that does not run."""
_TAKE_S = 0.5
_LONGEST_WAIT_S = 30.0


def session_name(worker: str = "") -> str:
    """Return the name of the session of an ingest; without a name of its own, that of the machine's only one."""
    return f"maskedge-fleet-{worker or socket.gethostname()}"


@dataclass(frozen=True)
class IngestSettings:
    """Settings of the ingest.

    Attributes:
        broker: The broker.
        database: URL of the database.
        root: First part of all topics.
        client_id: Name of the session at the broker. Each process of a fleet has another one, and
            keeps it.
        session_s: Seconds that the broker keeps the session while the process does not run.

    Raises:
        UsageError: A value is not valid.
    """

    broker: BrokerSettings
    database: str = field(repr=False)
    root: str = DEFAULT_ROOT
    client_id: str = field(default_factory=session_name)
    session_s: int = SESSION_S

    def __post_init__(self) -> None:
        if not self.root.strip("/") or any(sign in self.root for sign in "#+\0") or self.root != self.root.strip("/"):
            raise UsageError(
                "the first part of all topics is a text such as maskedge, without '#', '+' and '/' at an end (--root)."
            )
        if not self.client_id:
            raise UsageError("the name of the session at the broker is empty: give --client-id a name, or leave it out.")
        if not self.broker.url:
            raise UsageError("no broker is set: give --broker mqtt://HOST:PORT, or url in [broker] of fleet.toml.")


def broker_settings(broker: BrokerConfig) -> BrokerSettings:
    """Return address and login of the broker from the settings of the server.

    Raises:
        UsageError: A password file cannot be read.
    """
    return BrokerSettings(
        broker.url,
        broker.username,
        broker.read_password() if broker.username or broker.password_file else None,
        broker.ca_file,
        broker.cert_file,
        broker.key_file,
        broker.insecure,
    )


def ingest_settings(settings: Settings) -> IngestSettings:
    """Return the settings of the ingest from those of the server.

    Raises:
        UsageError: A password file cannot be read, or a value is not valid.
    """
    broker = settings.broker
    login = broker_settings(broker)
    return IngestSettings(login, settings.database.url, broker.root, session_name(broker.worker))


def run_ingest(settings: IngestSettings, stop: threading.Event) -> None:
    """Receive and write messages until `stop` is set.

    While the database or the broker is away, nothing is acknowledged, and nothing is lost.

    Raises:
        UsageError: A setting is not valid.
        OutputError: The file of the database is missing, or the database has another version.
    """
    engine = open_engine(settings.database, create=False)
    receiver = Receiver(settings.broker, settings.root, settings.client_id, settings.session_s)
    started = False
    try:
        if not _wait_for_database(engine, stop):
            return
        parser, writer = Parser(settings.root), Writer(engine)
        receiver.start()
        started = True
        while not stop.is_set():
            messages = receiver.take(_TAKE_S)
            parsed = [found for message in messages if (found := parser.parse(message)) is not None]
            if parsed and not _write(writer, engine, parsed, stop):
                break
            if messages:
                receiver.finish(messages, confirmations(parsed))
            if devices := writer.take_without_state():
                receiver.ask_for_states(devices)
    finally:
        if started:
            receiver.close()
        engine.dispose()


def _write(writer: Writer, engine: Engine, messages: Sequence[Parsed | Refused], stop: threading.Event) -> bool:
    """Write messages, and wait for the database if it is away. Return False if `stop` is set before."""
    try:
        writer.write(messages)
    except DatabaseAwayError as error:
        _log.warning("the database cannot be used (%s): messages wait at the broker.", error)
    else:
        return True
    wait = 0.25
    while not stop.wait(wait):
        wait = min(2 * wait, _LONGEST_WAIT_S)
        try:
            # It may have been updated meanwhile.
            check_current(engine)
            writer.write(messages)
        except (DatabaseUnreachableError, DatabaseAwayError) as error:
            _log.debug("the database cannot be used yet (%s).", error)
        else:
            _log.info("the database is back.")
            return True
    return False


def _wait_for_database(engine: Engine, stop: threading.Event) -> bool:
    """Wait until the database can be used. Return False if `stop` is set before."""
    wait = 0.25
    logged = False
    while not stop.is_set():
        try:
            check_current(engine)
        except DatabaseUnreachableError as error:
            if not logged:
                _log.warning("%s Messages wait at the broker.", error)
                logged = True
        else:
            if logged:
                _log.info("the database is back.")
            return True
        stop.wait(wait)
        wait = min(2 * wait, _LONGEST_WAIT_S)
    return False


def confirmations(messages: Iterable[Parsed | Refused]) -> list[tuple[str, str]]:
    """Return topics and payloads that confirm messages to the spools of their devices.

    A message that was refused is confirmed too: sending it again would not help.
    """
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for message in messages:
        spooled = spool_number(message.id)
        if spooled is not None and message.place is not None:
            numbers[message.place.prefix, spooled[0]].add(spooled[1])
    return [
        (f"{prefix}/received", json.dumps({"spool": spool, "ranges": ranges(found)})) for (prefix, spool), found in numbers.items()
    ]


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return numbers as ranges in order, both ends included: [[1, 40], [42, 50]]."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
