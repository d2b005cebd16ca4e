"""Signed models: the list, uploads, and the files for devices."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Annotated, Any

from fastapi import APIRouter, File, HTTPException, Path, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy import select

from maskedge.errors import ModelError
from maskedge_fleet.access.audit import record
from maskedge_fleet.database.tables import Model
from maskedge_fleet.rollouts.downloads import is_valid_download
from maskedge_fleet.rollouts.models import add_model, model_keys, read_signature_text

from .commands import signer_of
from .core.access import COOKIE, Admin, Database, ServerSettings, Viewer, admin, open_session
from .core.errors import sentence
from .core.paging import Cursor, Limit, Page, is_before, make_page, read_cursor


class _SignedInFirst(APIRoute):
    """Checks the token of an upload before its body is read, so that no stranger fills the disk."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests."""
        handle = super().get_route_handler()

        async def check_first(request: Request) -> Response:
            if request.method == "POST":
                await run_in_threadpool(_check_admin, request)
            return await handle(request)

        return check_first


def _check_admin(request: Request) -> None:
    with contextmanager(open_session)(request) as session:
        admin(request, session, None, request.cookies.get(COOKIE))


router = APIRouter(prefix="/models", tags=["models"], route_class=_SignedInFirst)
_DIGEST = r"^[0-9a-f]{64}$"


class ModelRow(BaseModel):
    """A signed model."""

    sha256: str
    name: str
    kind: str
    release: int
    size: int
    key: str
    labels: list[str]
    created: datetime
    created_by: str


def model_row(model: Model) -> dict[str, Any]:
    """Return a model as JSON types and times."""
    names = ("sha256", "name", "kind", "release", "size", "created", "created_by")
    return {
        **{name: getattr(model, name) for name in names},
        "key": model.signature.get("key", ""),
        "labels": model.card.get("labels", []),
    }


@router.get("", response_model=Page[ModelRow], summary="List the models")
def read_models(session: Database, caller: Viewer, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """Return the models, the newest first."""
    query = select(Model).order_by(Model.id.desc())
    key = read_cursor(cursor, int)
    if key is not None:
        query = query.where(is_before(key, Model.id))
    return make_page(session.scalars(query.limit(limit + 1)).all(), limit, model_row, lambda row: (row.id,))


@router.post("", status_code=201, response_model=ModelRow, summary="Add a signed model")
def upload_model(
    session: Database,
    settings: ServerSettings,
    caller: Admin,
    model: Annotated[UploadFile, File(description="The .onnx file")],
    signature: Annotated[UploadFile, File(description="Its .sig file, from edge-export sign")],
) -> Any:
    """Check signature, contract and self-test of a model, and store it. Its release must rise."""
    try:
        keys = model_keys(settings.models.trusted_keys)
        text = read_signature_text(signature.file.read())
        stored = add_model(session, model.file.read(), text, model.filename or "", keys, by=caller.name)
    except ModelError as error:
        raise HTTPException(400, sentence(error)) from error
    if stored in session.new:
        record(session, caller, "model.add", stored.name, {"sha256": stored.sha256, "release": stored.release})
    session.commit()
    return model_row(stored)


@router.get("/{sha256}/file", response_class=Response, summary="Download a model", include_in_schema=False)
def download_model(
    sha256: Annotated[str, Path(max_length=64)],
    request: Request,
    session: Database,
    settings: ServerSettings,
    expires: Annotated[int, Query(ge=0, le=2**53)] = 0,
    signature: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Return a model file to a device. The address from the command holds the right to it, and expires."""
    now, secret = datetime.now(timezone.utc), signer_of(request, settings).download_secret
    if not re.fullmatch(_DIGEST, sha256) or not is_valid_download(sha256, expires, signature, secret, now):
        raise HTTPException(403, "This address is not valid or has expired: the device gets a new one with the next command.")
    content = session.scalar(select(Model.content).where(Model.sha256 == sha256))
    if content is None:
        raise HTTPException(404, "There is no such model.")
    return Response(content, media_type="application/octet-stream")
