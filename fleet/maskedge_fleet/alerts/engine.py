"""Opens and closes the alerts of the fleet. Open alerts are rows, so a restart changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from maskedge_fleet.database.rounds import only_one
from maskedge_fleet.database.tables import LONGEST_NAME, Alert, Notification

from .conditions import CONDITIONS, Condition, Finding
from .rules import FleetRule

SOURCE = "fleet"
"""Value of `Alert.source`."""


class AlertEngine:
    """Evaluates the rules.

    Args:
        engine: The database.
        rules: The rules.
        services: Receivers of notifications, as ids.
        ended: Also notify of the end of an alert.
        now: When the server started; None for now.
    """

    def __init__(
        self,
        engine: Engine,
        rules: Sequence[FleetRule],
        services: Sequence[str] = (),
        *,
        ended: bool = True,
        now: datetime | None = None,
    ) -> None:
        self._engine = engine
        self._services = services
        self._ended = ended
        started = now or datetime.now(timezone.utc)
        self._conditions: list[Condition] = [CONDITIONS[rule.when](rule, started) for rule in rules]

    def run_round(self, now: datetime | None = None) -> None:
        """Evaluate every rule, unless another process does. Alerts of removed rules end.

        Args:
            now: The time; None for the clock's.
        """
        now = now or datetime.now(timezone.utc)
        with only_one(self._engine, "alerts") as held:
            if not held:
                return
            names = [condition.rule.name for condition in self._conditions]
            for condition in self._conditions:
                with Session(self._engine) as session, session.begin():
                    self._evaluate(session, condition, now)
            with Session(self._engine) as session, session.begin():
                removed = select(Alert).where(Alert.source == SOURCE, Alert.ended.is_(None), Alert.rule.not_in(names))
                for alert in session.scalars(removed):
                    self._end(session, alert, now)

    def _evaluate(self, session: Session, condition: Condition, now: datetime) -> None:
        rule = condition.rule.name
        query = select(Alert).where(Alert.source == SOURCE, Alert.rule == rule, Alert.ended.is_(None))
        current = {alert.subject: alert for alert in session.scalars(query)}
        for finding in condition.find(session, now):
            subject = finding.subject[: 2 * LONGEST_NAME]
            alert = current.pop(subject, None)
            if alert is None and finding.opens:
                self._open(session, rule, subject, finding, now)
            elif alert is not None and finding.opens and finding.details != alert.details:
                alert.sentence, alert.details = finding.sentence, dict(finding.details)
        for alert in current.values():
            self._end(session, alert, now)

    def _open(self, session: Session, rule: str, subject: str, finding: Finding, now: datetime) -> None:
        alert = Alert(
            rule=rule,
            source=SOURCE,
            subject=subject,
            device_id=finding.device_id,
            camera_id=finding.camera_id,
            site_id=finding.site_id,
            since=now,
            sentence=finding.sentence,
            details=dict(finding.details),
        )
        session.add(alert)
        session.flush()
        self._queue(session, alert, "begun", now)

    def _end(self, session: Session, alert: Alert, now: datetime) -> None:
        alert.ended = now
        if self._ended:
            self._queue(session, alert, "ended", now)

    def _queue(self, session: Session, alert: Alert, kind: str, now: datetime) -> None:
        """Add the notifications of an alert. They are stored together with its change."""
        session.add_all(
            Notification(alert_id=alert.id, kind=kind, service=service, created=now, due=now, attempts=0)
            for service in self._services
        )
