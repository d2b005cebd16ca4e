"""Errors of the API: `{"error": sentence}`."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from maskedge.errors import MaskedgeError, UsageError
from maskedge_fleet.database.rounds import is_conflict

_log = logging.getLogger("maskedge.fleet")
_SENTENCES = {404: "There is nothing at this address.", 405: "This address does not support the method."}
UNAVAILABLE = "The database cannot be used at the moment: try again later."
INTERNAL = "The request failed because of an error of the server; its log has the details."


class ApiError(BaseModel):
    """A refused request."""

    error: str = Field(description="Cause and remedy, in one sentence")


RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ApiError, "description": "The request is not valid"},
    401: {"model": ApiError, "description": "A token is missing, unknown, expired or revoked"},
    403: {"model": ApiError, "description": "The token lacks the role"},
    429: {"model": ApiError, "description": "Too many requests"},
    503: {"model": ApiError, "description": "The database cannot be used"},
}
"""Errors that every endpoint may answer with, for its description."""
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ApiError, "description": "There is no such object"}}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ApiError, "description": "The object is in another state, or the name taken"}
}


def sentence(error: object) -> str:
    """Return the message of an error with a capital letter at its beginning."""
    text = str(error)
    return text[:1].upper() + text[1:]


def add_handlers(app: FastAPI) -> None:
    """Answer errors of an application as `{"error": sentence}`."""

    @app.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> JSONResponse:
        # Messages of the framework have no full stop.
        text = error.detail if error.detail.endswith(".") else _SENTENCES.get(error.status_code, f"{error.detail}.")
        return JSONResponse({"error": text}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": _describe(error)}, 400)

    @app.exception_handler(MaskedgeError)
    async def _wrong(request: Request, error: MaskedgeError) -> JSONResponse:
        return JSONResponse({"error": sentence(error)}, 400 if isinstance(error, UsageError) else 503)

    @app.exception_handler(SQLAlchemyError)
    async def _failed(request: Request, error: SQLAlchemyError) -> JSONResponse:
        if is_conflict(error):
            return JSONResponse({"error": "Another request has changed or deleted the same object: try again."}, 409)
        if isinstance(error, DataError):
            return JSONResponse({"error": "The request has a value that the database does not accept."}, 400)
        if isinstance(error, DBAPIError | PoolTimeoutError):
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            _log.warning("%s %s: the database cannot be used (%.200s)", request.method, request.url.path, reason)
            return JSONResponse({"error": UNAVAILABLE}, 503, headers={"Retry-After": "5"})
        raise error


def _describe(error: RequestValidationError) -> str:
    """Return the first problem of a request in one sentence."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"] if part not in ("query", "path", "body", "header", "cookie")]
    name = ".".join(parts)[:100]
    reason = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    if first["type"] == "missing":
        return sentence(f"{name} is missing.") if name else "The request needs a body in JSON."
    if first["type"].startswith("json"):
        return "The body is not JSON."
    return sentence(f"{name or 'the body'} is not valid: {reason[:1].lower()}{reason[1:200]}.")
