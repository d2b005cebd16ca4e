"""The path `/api/history` of the web server: counts and events of the history, as JSON or CSV."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path

from maskedge.errors import OutputError, UsageError
from maskedge.support.text import to_json

from .http import HttpError, Request, Response


class HistoryRoute:
    """Answers queries of the history, one at a time, on another thread than that of the server.

    Args:
        path: File of the history; None if none is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._turn = asyncio.Lock()

    async def __call__(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            HttpError: No history is kept, it cannot be read, or the query is invalid.
        """
        if self._path is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "No history is kept: set [history] file, or start edge-run with --history.")
        async with self._turn:
            try:
                return await asyncio.get_running_loop().run_in_executor(None, _answer, self._path, request)
            except UsageError as error:
                raise HttpError(HTTPStatus.BAD_REQUEST, _sentence(error)) from error
            except OutputError as error:
                raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, _sentence(error), (("Retry-After", "10"),)) from error


def _answer(path: Path, request: Request) -> Response:
    from maskedge.history.export import to_csv
    from maskedge.history.query import parse_request, read_events, read_history  # loads SQLite

    fields = request.query
    wanted = parse_request(fields)
    form = fields.get("format") or ("csv" if "text/csv" in request.headers.get("accept", "").lower() else "json")
    if form not in ("csv", "json"):
        raise UsageError("format is csv or json.")
    events = fields.get("events", "")
    if events not in ("", "0", "1"):
        raise UsageError("events is 1 or 0.")
    for name in ("bucket", "zone", "line"):
        if events == "1" and fields.get(name):
            raise UsageError(f"events=1 takes no {name}: it returns the events of whole cameras.")
    answer = read_events(path, wanted) if events == "1" else read_history(path, wanted)
    if form == "csv":
        return Response(to_csv(answer).encode("utf-8", "replace"), "text/csv; charset=utf-8")
    return Response(to_json(answer).encode("utf-8", "replace"), "application/json")


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
