"""Access to endpoints: tokens, roles and sessions of the database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyCookie, HTTPBearer
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from maskedge_fleet.access.rates import RateLimits
from maskedge_fleet.access.tokens import Caller, find_token, record_use
from maskedge_fleet.settings import ServerConfig, Settings

COOKIE = "maskedge_fleet"
"""Cookie with the token of the page."""
GUARD_HEADER = "X-Requested-With"
"""Header that a request with the cookie needs if it changes something. Other sites cannot send it."""
_SAFE = ("GET", "HEAD", "OPTIONS")
# They only describe the ways to send a token in the OpenAPI document.
_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token from `edge-fleet token create`.")
_cookie = APIKeyCookie(
    name=COOKIE, auto_error=False, scheme_name="page", description="The same token, set by POST /api/v1/session."
)


def open_session(request: Request) -> Iterator[Session]:
    """Yield a session of the database. An endpoint that changes something commits it."""
    sessions: sessionmaker[Session] = request.app.state.sessions
    with sessions() as session:
        yield session


def server_settings(request: Request) -> Settings:
    """Return the settings of the server."""
    settings: Settings = request.app.state.settings
    return settings


# The session ends before the response is sent. Otherwise live connections and slow downloads would
# each keep a connection of the database.
Database = Annotated[Session, Depends(open_session, scope="function")]
ServerSettings = Annotated[Settings, Depends(server_settings)]


def client_address(request: Request) -> str:
    """Return the address of the client."""
    return request.client.host if request.client else ""


def authenticate(request: Request, session: Session, secret: str) -> Caller:
    """Return the caller with a token.

    Raises:
        HTTPException: The token is unknown, expired or revoked (401), or there were too many
            requests (429).
    """
    rates: RateLimits = request.app.state.rates
    address = client_address(request)
    token = find_token(session, secret)
    if token is None:
        check_rate(rates, "login", address)
        raise HTTPException(
            401,
            "The token is unknown, expired or revoked: an admin creates one.",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    caller = Caller(token.id, token.name, token.role, address)
    check_rate(rates, "token", str(token.id))
    # A database that cannot be written, such as a full one, can still be read.
    try:
        if record_use(session, token):
            session.commit()
    except OperationalError:
        session.rollback()
    return caller


def check_rate(rates: RateLimits, kind: str, key: str) -> None:
    """Count a request.

    Raises:
        HTTPException: There were too many (429).
    """
    wait = rates.count(kind, key)
    if wait:
        raise HTTPException(429, f"Too many requests: try again in {wait} s.", {"Retry-After": str(wait)})


def check_same_site(request: Request) -> None:
    """Refuse a request that another site makes a browser send.

    Raises:
        HTTPException: The request lacks the header, or comes from another site (403).
    """
    origin = request.headers.get("origin")
    if (origin is not None and not _is_own(request, origin)) or GUARD_HEADER.lower() not in request.headers:
        raise HTTPException(403, f"A request of the page needs the header {GUARD_HEADER}, and comes from the page's own address.")


def _is_own(request: Request, origin: str) -> bool:
    """Return True for the address of the page. A proxy may have changed the host of the request."""
    server: ServerConfig = request.app.state.settings.server
    try:
        address = urlsplit(origin)
    except ValueError:
        return False
    public = urlsplit(server.public_url)
    if address.netloc.lower() == request.headers.get("host", "").lower() or (public.netloc and address[:2] == public[:2]):
        return True
    return bool(address.hostname) and address.hostname in {host.lower() for host in server.hosts}


def requires(role: str) -> Callable[..., Caller]:
    """Return the dependency of an endpoint that needs a role."""

    def check(
        request: Request,
        session: Database,
        bearer: Annotated[Any, Depends(_bearer)],
        cookie: Annotated[str | None, Depends(_cookie)],
    ) -> Caller:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme and scheme.lower() != "bearer":
            raise HTTPException(401, "Send the token as Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})
        secret = given.strip() if scheme else cookie
        if not secret:
            raise HTTPException(401, "A token is required: Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})
        if not scheme and request.method not in _SAFE:
            check_same_site(request)
        caller = authenticate(request, session, secret)
        if not caller.may(role):
            raise HTTPException(403, f"The token {caller.name} has the role {caller.role}, and this needs the role {role}.")
        return caller

    check.role = role  # type: ignore[attr-defined]
    return check


viewer, operator, admin = requires("viewer"), requires("operator"), requires("admin")
Viewer = Annotated[Caller, Depends(viewer)]
Operator = Annotated[Caller, Depends(operator)]
Admin = Annotated[Caller, Depends(admin)]
"""Parameters of endpoints: the caller, who has at least this role."""


def is_local(request: Request) -> bool:
    """Return True if the request comes from this machine, and not through a proxy on it."""
    with contextlib.suppress(ValueError):
        import ipaddress

        forwarded = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via"))
        return ipaddress.ip_address(client_address(request)).is_loopback and not forwarded
    return False
