"""Server-sent events: changes of devices, alerts and the summary, at most once per second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from starlette.types import Receive, Scope, Send

from maskedge_fleet.access.tokens import valid_at
from maskedge_fleet.database.tables import Alert, Device, Token
from maskedge_fleet.queries.devices import list_devices, summarise
from maskedge_fleet.settings import Settings

from .alerts import alert_query, alert_row
from .core.access import Viewer
from .core.parameters import parse_zone

router = APIRouter(tags=["live"])
_log = logging.getLogger("maskedge.fleet")
_INTERVAL = 1.0
_SUMMARY_EVERY = 5.0
_TOKENS_EVERY = 2.0
_SILENCE = 15.0
_KEPT = 120
_RETRY_MS = 2000
_MOST_DEVICES = 500
"""Maximum number of devices of a message. After a greater change, clients are asked to load the list again."""


class LiveFeed:
    """Polls the database while there are clients, and keeps the newest messages for all of them.

    Args:
        sessions: Opens sessions of the database.
        settings: The settings of the server.
    """

    def __init__(self, sessions: sessionmaker[Session], settings: Settings) -> None:
        self._sessions, self._settings = sessions, settings
        self._changes = _Changes(sessions, settings)
        self._most = settings.server.max_live_clients
        self._messages: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._number = 0
        self._fresh = asyncio.Event()
        self._started = asyncio.Event()
        self._tokens: dict[object, int] = {}
        self._refused: set[int] = set()
        self._closed = False
        self._polling: asyncio.Task[None] | None = None

    def close(self) -> None:
        """End all connections. Call it on the thread of the event loop."""
        self._closed = True
        self._wake()
        if self._polling is not None:
            self._polling.cancel()

    @contextlib.contextmanager
    def place(self, token: int) -> Iterator[None]:
        """Hold a place for a client during the block. Call it on the thread of the event loop.

        Args:
            token: Row of the client's token.

        Raises:
            HTTPException: There are too many clients (503).
        """
        if len(self._tokens) >= self._most:
            raise HTTPException(503, f"{self._most} live connections are open already: close one.", {"Retry-After": "10"})
        key = object()
        self._tokens[key] = token
        if self._polling is None or self._polling.done():
            self._started = asyncio.Event()
            self._polling = asyncio.ensure_future(self._poll(self._started))
        try:
            yield
        finally:
            del self._tokens[key]
            if not self._tokens and self._polling is not None:
                self._polling.cancel()
                self._polling = None

    async def stream(self, token: int) -> AsyncIterator[bytes]:
        """Yield messages until the client leaves, its token is revoked or the server ends.

        Args:
            token: Row of the client's token. The client has a place.
        """
        yield b"retry: %d\n\n" % _RETRY_MS
        await self._started.wait()
        seen = self._number
        summary = await self._attempt(self._changes.summary)
        if summary is None:
            return  # the client tries again
        yield _message("summary", summary)
        while not self._closed and token not in self._refused:
            fresh = self._fresh
            missed = self._messages and self._messages[0][0] > seen + 1
            pieces = [_message("reload", {})] if missed else [piece for number, piece in self._messages if number > seen]
            seen = self._number
            if pieces:
                yield b"".join(pieces)
            try:
                await asyncio.wait_for(fresh.wait(), _SILENCE)
            except asyncio.TimeoutError:
                yield b":\n\n"

    def _wake(self) -> None:
        fired, self._fresh = self._fresh, asyncio.Event()
        fired.set()

    async def _poll(self, started: asyncio.Event) -> None:
        """Publish changes once per second while there are clients."""
        loop = asyncio.get_running_loop()
        # A thread of a poll that was cancelled may still run, and would take changes from this one.
        changes = self._changes = _Changes(self._sessions, self._settings)
        await self._attempt(changes.start)
        started.set()
        summary_due = tokens_due = 0.0
        while self._tokens:
            now = loop.time()
            if now >= tokens_due:
                tokens_due = now + _TOKENS_EVERY
                valid = await self._attempt(changes.valid_tokens, set(self._tokens.values()))
                if valid is not None:
                    self._refused = set(self._tokens.values()) - valid
                    if self._refused:
                        self._wake()
            messages = await self._attempt(changes.read) or []
            if now >= summary_due:
                messages += await self._attempt(changes.read_summary) or []
                summary_due = now + _SUMMARY_EVERY
            for kind, content in messages:
                self._number += 1
                self._messages.append((self._number, _message(kind, content)))
            if messages:
                self._wake()
            await asyncio.sleep(max(0.05, now + _INTERVAL - loop.time()))

    async def _attempt(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `work` returns, or None while the database cannot be used."""
        with contextlib.suppress(SQLAlchemyError):
            return await asyncio.to_thread(work, *arguments)
        return None


class _Changes:
    """Compares the database with what was published last."""

    def __init__(self, sessions: sessionmaker[Session], settings: Settings) -> None:
        self._sessions = sessions
        self._zone = parse_zone(settings.server.time_zone)
        self._seen = datetime.fromtimestamp(0, timezone.utc)
        self._online: dict[int, bool] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._alerts: dict[int, datetime | None] = {}
        self._summary: dict[str, Any] = {}

    def start(self) -> None:
        """Remember the present state."""
        with self._sessions() as session:
            self._online = self._read_online(session)
            self._seen = self._newest(session)
            self._rows = {row["name"]: _without_times(row) for row in list_devices(session, self._zone)}
            self._alerts = self._read_alerts(session)

    def summary(self) -> dict[str, Any]:
        """Return the summary."""
        with self._sessions() as session:
            return summarise(session, self._zone)

    def read_summary(self) -> list[tuple[str, Any]]:
        """Return the summary as a message, if it has changed."""
        summary = self.summary()
        lasting = {key: value for key, value in summary.items() if key != "time"}
        if lasting == self._summary:
            return []
        self._summary = lasting
        return [("summary", summary)]

    def valid_tokens(self, numbers: set[int]) -> set[int]:
        """Return those tokens that are neither revoked nor expired."""
        with self._sessions() as session:
            return set(session.scalars(select(Token.id).where(Token.id.in_(numbers), valid_at(datetime.now(timezone.utc)))))

    def read(self) -> list[tuple[str, Any]]:
        """Return messages about changed devices and alerts."""
        with self._sessions() as session:
            return [*self._read_devices(session), *self._read_changed_alerts(session)]

    def _read_devices(self, session: Session) -> list[tuple[str, Any]]:
        online = self._read_online(session)
        newest = self._newest(session)
        recent = set(session.scalars(select(Device.id).where(Device.seen > self._seen)))
        wanted = recent | {number for number, state in online.items() if self._online.get(number) != state}
        gone = self._online.keys() - online.keys()
        self._online, self._seen = online, newest
        if not wanted and not gone:
            return []
        if gone or len(wanted) > _MOST_DEVICES:
            self._rows = {row["name"]: _without_times(row) for row in list_devices(session, self._zone)}
            return [("reload", {})]
        changed = []
        for row in list_devices(session, self._zone, [Device.id.in_(wanted)]):
            lasting = _without_times(row)
            if self._rows.get(row["name"]) != lasting:
                self._rows[row["name"]] = lasting
                changed.append(row)
        return [("device", {"items": changed})] if changed else []

    def _read_changed_alerts(self, session: Session) -> list[tuple[str, Any]]:
        alerts = self._read_alerts(session)
        before, self._alerts = self._alerts, alerts
        numbers = {number for number, acknowledged in alerts.items() if number not in before or before[number] != acknowledged}
        numbers |= before.keys() - alerts.keys()
        if not numbers:
            return []
        rows = session.execute(alert_query().where(Alert.id.in_(numbers)).order_by(Alert.id)).all()
        return [("alert", {"items": [alert_row(row) for row in rows]})] if rows else []

    @staticmethod
    def _read_online(session: Session) -> dict[int, bool]:
        return {row.id: row.online for row in session.execute(select(Device.id, Device.online))}

    @staticmethod
    def _newest(session: Session) -> datetime:
        newest = session.scalar(select(Device.seen).where(Device.seen.is_not(None)).order_by(Device.seen.desc()).limit(1))
        return newest or datetime.fromtimestamp(0, timezone.utc)

    @staticmethod
    def _read_alerts(session: Session) -> dict[int, datetime | None]:
        rows = session.execute(select(Alert.id, Alert.acknowledged).where(Alert.ended.is_(None)))
        return {row.id: row.acknowledged for row in rows}


def _without_times(row: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a device whose change is published: not the time of its last message."""
    temperature = row["temperature_c"]
    share = row["share_today"]
    rounded = {
        "temperature_c": None if temperature is None else round(temperature),
        "share_today": None if share is None else round(share, 2),
    }
    return {**row, **rounded, "seen": None}


def _message(kind: str, content: Any) -> bytes:
    """Format a server-sent event. JSON has no line breaks, so its data is one line."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), to_json(content, inf_nan_mode="null"))


class _LiveResponse(StreamingResponse):
    """The messages of a feed.

    The place of the client is taken before the status is sent, so that a client without a place gets
    an error, and is given back also if the client leaves before the first message.
    """

    def __init__(self, feed: LiveFeed, token: int) -> None:
        super().__init__(feed.stream(token), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._place = feed.place(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the messages.

        Raises:
            HTTPException: There are too many clients (503).
        """
        with self._place:
            await super().__call__(scope, receive, send)


@router.get(
    "/live",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}},
    summary="Changes as server-sent events",
)
async def live(request: Request, caller: Viewer) -> StreamingResponse:
    """Send `summary` at the start and when it changes, `device` and `alert` with the changed items, and `reload`.

    Clients read the lists after the first `summary`, and again after `reload`, which stands for many changes.
    """
    assert caller.token_id is not None  # noqa: S101  (the callers of requests have tokens)
    return _LiveResponse(request.app.state.live, caller.token_id)
