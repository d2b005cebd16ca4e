"""Health and metrics of the server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from maskedge.errors import OutputError
from maskedge.version import VERSION
from maskedge_fleet.database.migrate import check_current
from maskedge_fleet.database.tables import Alert, Device, Event, Reject, Statistics
from maskedge_fleet.queries.devices import STATES, state_is

from .access import COOKIE, is_local, open_session, viewer
from .errors import UNAVAILABLE, sentence

router = APIRouter(tags=["health"])
_LAG_OF = 100
"""Number of newest messages whose lag is measured."""
_RECENT_S = 300


@router.get("/healthz", response_class=PlainTextResponse, summary="The process answers")
async def healthz() -> str:
    """Return 200 while the process answers requests, even without a database."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse, summary="The server can do its work")
def readyz(request: Request) -> str:
    """Return 200 if the database can be used and has the tables of this version, else 503."""
    try:
        check_current(request.app.state.engine)
    except OutputError as error:
        # The path needs no token, so it names no address of the database.
        text = sentence(error) if "edge-fleet" in str(error) else UNAVAILABLE
        raise HTTPException(503, text, {"Retry-After": "5"}) from error
    return "ok\n"


@router.get("/metrics", response_class=PlainTextResponse, summary="Metrics for Prometheus")
def metrics(request: Request) -> Response:
    """Return the metrics. Requests from this machine need no token, others the role viewer."""
    if not is_local(request):
        for session in open_session(request):
            viewer(request, session, None, request.cookies.get(COOKIE))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_FleetCollector(request.app.state.engine, request.app.state.started))
    encoder, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encoder(registry), media_type=content_type)


class _FleetCollector(Collector):
    """Reads the metrics from the database.

    Args:
        engine: The database.
        started: Start of the server, by `time.monotonic`.
    """

    def __init__(self, engine: Engine, started: float) -> None:
        self._engine = engine
        self._started = started

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Without a database, there are only two."""
        yield InfoMetricFamily("maskedge_fleet_build", "Version of the server.", value={"version": VERSION})
        found: list[Metric] = []
        try:
            with Session(self._engine) as session:
                found = list(_read(session, self._started))
        except SQLAlchemyError:
            found = []
        yield GaugeMetricFamily("maskedge_fleet_database_up", "1 if the database can be used.", value=float(bool(found)))
        yield from found


def _read(session: Session, started: float) -> Iterator[Metric]:
    devices = GaugeMetricFamily("maskedge_fleet_devices", "Devices by state.", labels=["state"])
    for state in STATES:
        count = session.scalar(select(func.count()).select_from(Device).where(state_is(state)))
        devices.add_metric([state], float(count or 0))
    yield devices
    alerts = GaugeMetricFamily("maskedge_fleet_alerts", "Active alerts by acknowledgement.", labels=["acknowledged"])
    open_, total = session.execute(
        select(func.count().filter(Alert.acknowledged.is_(None)), func.count()).where(Alert.ended.is_(None))
    ).one()
    alerts.add_metric(["no"], float(open_))
    alerts.add_metric(["yes"], float(total - open_))
    yield alerts
    # Rows are numbered from 1, and the oldest are deleted first.
    rejects = session.scalar(select(func.max(Reject.id))) or 0
    yield CounterMetricFamily("maskedge_fleet_rejects", "Messages that were not accepted.", value=float(rejects))
    now = datetime.now(timezone.utc)
    since = now - timedelta(seconds=_RECENT_S)
    recent = session.scalar(select(func.count()).select_from(Event).where(Event.time >= since))
    yield GaugeMetricFamily(
        "maskedge_fleet_recent_events",
        f"Events of the last {_RECENT_S} seconds, by the clocks of the devices.",
        value=float(recent or 0),
    )
    newest = session.scalar(select(func.max(Device.seen)))
    # A rule on this metric warns of a broker that has never delivered anything, too.
    age = time.monotonic() - started if newest is None else max(0.0, (now - newest).total_seconds())
    yield GaugeMetricFamily(
        "maskedge_fleet_newest_message_age_seconds",
        "Seconds since the newest message arrived; without any device, since the start of the server.",
        value=age,
    )
    # A message from the future was sent by a device with a fast clock. Such messages would always be the newest ones.
    times = select(Statistics.time, Statistics.received).where(Statistics.time <= Statistics.received)
    rows = session.execute(times.order_by(Statistics.time.desc()).limit(_LAG_OF)).all()
    lags = sorted((received - sent).total_seconds() for sent, received in rows)
    if lags:
        yield GaugeMetricFamily(
            "maskedge_fleet_ingest_lag_seconds",
            f"Median of the seconds from sending to storing of the newest {_LAG_OF} messages of statistics.",
            value=lags[len(lags) // 2],
        )
