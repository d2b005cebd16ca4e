"""The files of the page: HTML, style and scripts, some of them those of a device's status page."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response

from maskedge.sinks.web.page import insert_labels, shared_assets
from maskedge_fleet.api.core.access import COOKIE

router = APIRouter()
_FOLDER = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class _File(NamedTuple):
    content: bytes
    media_type: str
    tag: str


@cache
def _files() -> dict[str, _File]:
    """Return the scripts and style sheets by name."""
    contents = {path.removeprefix("/"): (response.content, response.content_type) for path, response in shared_assets().items()}
    for path in _FOLDER.iterdir():
        if path.suffix in _TYPES:
            contents[path.name] = path.read_bytes(), _TYPES[path.suffix]
    return {name: _File(*content, f'"{hashlib.sha256(content[0]).hexdigest()[:16]}"') for name, content in contents.items()}


@cache
def _index() -> str:
    return insert_labels((_FOLDER / "index.html").read_text("utf-8"))


@router.get("/")
def read_index(request: Request) -> Response:
    """Return the page. Its scripts are told if there is a cookie, so that they need not ask without one."""
    page = _index().replace("{{session}}", "yes" if COOKIE in request.cookies else "no")
    return Response(page, media_type="text/html; charset=utf-8")


@router.get("/page/{name}")
def read_file(name: str, request: Request) -> Response:
    """Return a script or style sheet. A browser that has it asks if it is still the same."""
    file = _files().get(name)
    if file is None:
        raise HTTPException(404)
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
