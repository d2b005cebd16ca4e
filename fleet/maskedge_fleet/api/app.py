"""The application: all endpoints of the API, and the page."""

from __future__ import annotations

import time
from importlib import import_module
from importlib.util import find_spec

from fastapi import APIRouter, FastAPI
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from maskedge.version import VERSION
from maskedge_fleet.access.rates import RateLimits
from maskedge_fleet.settings import Settings

from . import alerts, commands, counts, devices, events, live, logs, models, rollouts, sites, tokens
from .core import health
from .core.errors import RESPONSES, add_handlers
from .core.parameters import parse_zone
from .core.protection import Protection

API = "/api/v1"
ROUTERS = tuple(
    module.router for module in (tokens, devices, sites, counts, events, alerts, commands, models, rollouts, logs, live)
)
"""Routers below `API`, one per subject. Each endpoint has a parameter `Viewer`, `Operator` or `Admin`."""
_PAGE = "maskedge_fleet.page.router"


def create_app(engine: Engine, settings: Settings) -> FastAPI:
    """Return the application.

    Args:
        engine: The database.
        settings: The settings of the server.

    Raises:
        UsageError: A setting is not valid, such as the time zone or a limit.
    """
    parse_zone(settings.server.time_zone)
    rates = RateLimits(settings.server)
    app = FastAPI(
        title="maskedge fleet",
        version=VERSION,
        description="Devices, counts, events, alerts, commands and roll-outs of a fleet of maskedge devices.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.started = time.monotonic()
    app.state.engine = engine
    app.state.settings = settings
    app.state.sessions = sessionmaker(engine, expire_on_commit=False)
    app.state.rates = rates
    app.state.live = live.LiveFeed(app.state.sessions, settings)
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router, prefix=API, responses=RESPONSES)
    app.include_router(health.router)
    for router in _page_routers():
        app.include_router(router, include_in_schema=False)
    app.add_middleware(Protection, config=settings.server, rates=rates)
    return app


def _page_routers() -> list[APIRouter]:
    """Return the router of the page's files, if the page is there."""
    return [import_module(_PAGE).router] if find_spec(_PAGE) else []
