"""Tokens, and the session of the page."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from maskedge_fleet.access.audit import record
from maskedge_fleet.access.tokens import create_token, revoke_token
from maskedge_fleet.database.tables import LONGEST_NAME, Token

from .core.access import COOKIE, Admin, Database, Viewer, authenticate, check_same_site
from .core.errors import CONFLICT, NOT_FOUND
from .core.paging import Cursor, Limit, Page, make_page, read_cursor
from .core.parameters import PathName

router = APIRouter(tags=["tokens"])
Role = Literal["viewer", "operator", "admin"]
_COOKIE_SECONDS = 30 * 86400


class Login(BaseModel, extra="forbid"):
    """A token."""

    token: str = Field(max_length=200)


class Identity(BaseModel):
    """The token of a request."""

    name: str
    role: Role


class TokenRow(BaseModel):
    """A token, without its secret."""

    id: int
    name: str
    role: Role
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    used: datetime | None = Field(description="Time of the last request, to the minute")


class NewToken(BaseModel, extra="forbid"):
    """A token to create."""

    name: str = Field(max_length=LONGEST_NAME)
    role: Role
    days: float | None = Field(None, gt=0, le=36_500, description="Days until it expires; null for never")


class CreatedToken(Identity):
    """A new token."""

    token: str = Field(description="The secret. It cannot be read again")


@router.post("/session", response_model=Identity, summary="Sign in to the page")
def sign_in(login: Login, request: Request, response: Response, session: Database) -> Any:
    """Store a token in a cookie that scripts cannot read, and that no other site can use."""
    check_same_site(request)
    caller = authenticate(request, session, login.token.strip())
    response.set_cookie(
        COOKIE,
        login.token.strip(),
        max_age=_COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return {"name": caller.name, "role": caller.role}


@router.get("/session", response_model=Identity, summary="Name and role of the token")
def read_session(caller: Viewer) -> Any:
    """Return the name and role of the token of the request."""
    return {"name": caller.name, "role": caller.role}


@router.delete("/session", status_code=204, summary="Sign out of the page")
def sign_out(request: Request) -> Response:
    """Delete the cookie. The token stays valid."""
    check_same_site(request)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


@router.get("/tokens", response_model=Page[TokenRow], summary="List tokens")
def read_tokens(session: Database, caller: Admin, cursor: Cursor = None, limit: Limit = 200) -> Any:
    """Return all tokens in the order of their creation, revoked ones too."""
    query = select(Token).order_by(Token.id)
    key = read_cursor(cursor, int)
    if key is not None:
        query = query.where(Token.id > key[0])
    names = ("id", "name", "role", "created", "expires", "revoked", "used")
    rows = session.scalars(query.limit(limit + 1)).all()
    return make_page(rows, limit, lambda token: {name: getattr(token, name) for name in names}, lambda token: (token.id,))


@router.post("/tokens", status_code=201, response_model=CreatedToken, responses=CONFLICT, summary="Create a token")
def add_token(new: NewToken, session: Database, caller: Admin) -> Any:
    """Create a token. The answer is the only place where it can be read."""
    if session.scalar(select(Token.id).where(Token.name == new.name)) is not None:
        raise HTTPException(409, "There is a token of this name, perhaps a revoked one: give another name.")
    secret = create_token(session, new.name, new.role, days=new.days)
    record(session, caller, "token.create", new.name, {"role": new.role, "days": new.days})
    session.commit()
    return {"name": new.name, "role": new.role, "token": secret}


@router.delete("/tokens/{name}", status_code=204, responses=NOT_FOUND, summary="Revoke a token")
def delete_token(name: PathName, session: Database, caller: Admin) -> Response:
    """Revoke a token at once, and end its live connections within seconds."""
    if session.scalar(select(Token.id).where(Token.name == name)) is None:
        raise HTTPException(404, "There is no token of this name.")
    revoke_token(session, name)
    record(session, caller, "token.revoke", name)
    session.commit()
    return Response(status_code=204)
