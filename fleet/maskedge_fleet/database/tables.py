"""The tables of the fleet. They are the same in SQLite and PostgreSQL.

Times are stored in UTC. Rows that devices send have a primary key that begins with their time, so
that TimescaleDB can divide the tables by time, and a repeated message has the key of the first one.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

LONGEST_NAME = 200
"""Maximum length of a name of a device, camera, site or group, in characters."""


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite has no time zones, so a time that is read is marked as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time that is stored.

        Raises:
            ValueError: The time has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        value = value.astimezone(timezone.utc)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored time, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


Json = JSON().with_variant(JSONB(), "postgresql")
# SQLite counts up only a column of the type INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime(), dict[str, Any]: Json, list[Any]: Json, str: Text()}  # noqa: RUF012  (read by SQLAlchemy)


class Site(Base):
    """A place with devices, such as a shop."""

    __tablename__ = "site"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), unique=True)


class Device(Base):
    """A device. It is created by its first message.

    Attributes:
        name: Name of the device: the second part of its topics.
        prefix: Prefix of its topics, such as `maskedge/door`.
        group: Name of its group; empty for none.
        online: The broker's last word: the device is connected.
        seen: When the last message arrived.
        instance: Identity of the installation that sent the last state. Two devices of one name
            have different ones.
        duplicate_seen: When two installations last used the name at the same time.
        clock_offset_s: Seconds that the clock of the device is behind the server's.
        health: `temperature_c`, `throttled` and so on, from the newest statistics.
        model: `file`, `sha256`, `release` and so on of the classifier, from the newest state.
        detector: The same of the detector.
        commands: Commands that the device allows, from the newest state.
        sequence: Number of the last command to the device.
    """

    __tablename__ = "device"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), unique=True)
    prefix: Mapped[str] = mapped_column(String(2 * LONGEST_NAME + 1))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id", ondelete="SET NULL"), index=True)
    group: Mapped[str] = mapped_column(String(LONGEST_NAME), default="", index=True)
    note: Mapped[str] = mapped_column(default="")
    online: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]
    seen: Mapped[datetime | None] = mapped_column(index=True)
    version: Mapped[str] = mapped_column(default="")
    instance: Mapped[str] = mapped_column(default="")
    duplicate_seen: Mapped[datetime | None]
    clock_offset_s: Mapped[float | None]
    health: Mapped[dict[str, Any]] = mapped_column(default=dict)
    model: Mapped[dict[str, Any]] = mapped_column(default=dict)
    detector: Mapped[dict[str, Any]] = mapped_column(default=dict)
    commands: Mapped[list[Any]] = mapped_column(default=list)
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)


class Camera(Base):
    """A camera of a device. A device without named cameras has one, named `camera`.

    Attributes:
        prefix: Prefix of its topics.
        online: The connection of the camera to the broker.
        state: State of its source: `opening`, `open`, `lost` or `ended`; empty if unknown.
        since: Since when.
        source: Name of the source.
        statistics: The newest statistics.
        alerts: Active alerts of the device: `rule` and `since`.
    """

    __tablename__ = "camera"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    prefix: Mapped[str] = mapped_column(String(3 * LONGEST_NAME + 2), unique=True)
    online: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(default="")
    since: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(default="")
    seen: Mapped[datetime | None]
    statistics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    statistics_time: Mapped[datetime | None]
    alerts: Mapped[list[Any]] = mapped_column(default=list)
    __table_args__ = (UniqueConstraint("device_id", "name"),)


class Event(Base):
    """An event of a camera.

    Attributes:
        time: When it happened, by the clock of the device.
        message_id: Its `id`: identity of the spool and number.
        details: The other keys of the event.
        received: When it arrived.
    """

    __tablename__ = "event"
    time: Mapped[datetime] = mapped_column(primary_key=True)
    camera_id: Mapped[int] = mapped_column(ForeignKey("camera.id", ondelete="CASCADE"), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    details: Mapped[dict[str, Any]]
    received: Mapped[datetime]
    __table_args__ = (Index(None, "camera_id", "time"), Index(None, "kind", "time"))


class Statistics(Base):
    """A message of statistics. Rows are kept for a few days (`retention.statistics_days`)."""

    __tablename__ = "statistics"
    time: Mapped[datetime] = mapped_column(primary_key=True)
    camera_id: Mapped[int] = mapped_column(ForeignKey("camera.id", ondelete="CASCADE"), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[dict[str, Any]]
    received: Mapped[datetime]


class Series(Base):
    """Subject of counts: a camera, and the whole picture, a zone, or a direction across a line."""

    __tablename__ = "series"
    id: Mapped[int] = mapped_column(primary_key=True)
    camera_id: Mapped[int] = mapped_column(ForeignKey("camera.id", ondelete="CASCADE"))
    zone: Mapped[str] = mapped_column(String(LONGEST_NAME), default="")
    line: Mapped[str] = mapped_column(String(LONGEST_NAME), default="")
    direction: Mapped[str] = mapped_column(String(8), default="")
    __table_args__ = (UniqueConstraint("camera_id", "zone", "line", "direction"),)


class _Counts:
    """Counts of a series in a span of time.

    Attributes:
        start: Start of the span, UTC.
        observed_s: Seconds observed.
        masked_s, unmasked_s, incorrect_s, other_s: Seconds in which faces were in view, summed over
            the faces, by label. `other` has all labels that the bundled models do not know.
        masked, unmasked, incorrect, other: New people by label; of a line, people who crossed it.
    """

    start: Mapped[datetime] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    observed_s: Mapped[float] = mapped_column(Float, default=0.0)
    masked_s: Mapped[float] = mapped_column(Float, default=0.0)
    unmasked_s: Mapped[float] = mapped_column(Float, default=0.0)
    incorrect_s: Mapped[float] = mapped_column(Float, default=0.0)
    other_s: Mapped[float] = mapped_column(Float, default=0.0)
    masked: Mapped[int] = mapped_column(default=0)
    unmasked: Mapped[int] = mapped_column(default=0)
    incorrect: Mapped[int] = mapped_column(default=0)
    other: Mapped[int] = mapped_column(default=0)


COUNT_COLUMNS = ("observed_s", "masked_s", "unmasked_s", "incorrect_s", "other_s", "masked", "unmasked", "incorrect", "other")
"""Columns that are added up."""
LABEL_COLUMNS = {"with_mask": "masked", "without_mask": "unmasked", "incorrect_mask": "incorrect"}
"""Column of the people of a label; that of the seconds has the suffix `_s`. Other labels are `other`."""


class MinuteCounts(_Counts, Base):
    """Counts of a minute."""

    __tablename__ = "minute_counts"
    __table_args__ = (Index(None, "series_id", "start"),)


class HourCounts(_Counts, Base):
    """Counts of an hour. They are the sums of the minutes."""

    __tablename__ = "hour_counts"
    __table_args__ = (Index(None, "series_id", "start"),)


class DayCounts(_Counts, Base):
    """Counts of a day in UTC. They are the sums of the hours."""

    __tablename__ = "day_counts"
    __table_args__ = (Index(None, "series_id", "start"),)


class StaleHour(Base):
    """An hour of a series whose minutes have changed since its hours and days were summed.

    Attributes:
        changed: When they last changed. Writing it locks the row until the minutes are committed.
    """

    __tablename__ = "stale_hour"
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[datetime] = mapped_column(primary_key=True)
    changed: Mapped[datetime]


class Alert(Base):
    """An alert of a device's rule (with `camera_id`) or of a rule of the fleet.

    Attributes:
        rule: Name of the rule.
        source: `device` or `fleet`.
        subject: Identifies what the alert is about, so that it is open once: a camera, device or site.
        since, ended: Its time; `ended` is None while it is active.
        sentence: What is wrong, for people.
        details: Measured values.
        acknowledged, acknowledged_by: When and by whose token.
    """

    __tablename__ = "alert"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rule: Mapped[str] = mapped_column(String(LONGEST_NAME))
    source: Mapped[str] = mapped_column(String(8))
    subject: Mapped[str] = mapped_column(String(2 * LONGEST_NAME))
    device_id: Mapped[int | None] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), index=True)
    camera_id: Mapped[int | None] = mapped_column(ForeignKey("camera.id", ondelete="CASCADE"))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id", ondelete="CASCADE"))
    since: Mapped[datetime]
    ended: Mapped[datetime | None]
    sentence: Mapped[str] = mapped_column(default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    acknowledged: Mapped[datetime | None]
    acknowledged_by: Mapped[str] = mapped_column(default="")
    notified: Mapped[datetime | None]
    # A repeated message opens an alert once.
    __table_args__ = (UniqueConstraint("source", "rule", "subject", "since"), Index(None, "ended", "since"))


class Notification(Base):
    """A message about an alert that a receiver has not accepted yet.

    Attributes:
        kind: `begun` or `ended`.
        service: Digest of the receiver's address.
        created: When the alert began or ended.
        due: When the next attempt is made.
        attempts: Number of failed attempts.
    """

    __tablename__ = "notification"
    alert_id: Mapped[int] = mapped_column(BigId, ForeignKey("alert.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    service: Mapped[str] = mapped_column(String(16), primary_key=True)
    created: Mapped[datetime]
    due: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)


class Model(Base):
    """A signed model file.

    Attributes:
        kind: `classifier` or `detector`.
        release: Number of the release. Devices take no lower one than they had.
        signature: The detached signature, as in the `.sig` file.
        content: The file.
    """

    __tablename__ = "model"
    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    kind: Mapped[str] = mapped_column(String(16))
    release: Mapped[int]
    size: Mapped[int]
    signature: Mapped[dict[str, Any]]
    card: Mapped[dict[str, Any]] = mapped_column(default=dict)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(default="")


class Rollout(Base):
    """A staged roll-out of a model.

    Attributes:
        state: `running`, `paused`, `halted`, `rolling_back`, `rolled_back` or `done`.
        stages: Stages in order: `{"devices": [names]}` or `{"percent": 25}`, with `wait_s`, the time
            to watch a stage before the next one.
        stage: Index of the current stage.
        stage_started: When it started.
        scope: Which devices take part: `site`, `group` or `devices`; empty for all.
        limits: What halts it: `failed_share`, `share_change`, `latency_ratio`.
        reason: Why it was halted.
    """

    __tablename__ = "rollout"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    state: Mapped[str] = mapped_column(String(16))
    stages: Mapped[list[Any]]
    stage: Mapped[int] = mapped_column(default=0)
    stage_started: Mapped[datetime | None]
    scope: Mapped[dict[str, Any]] = mapped_column(default=dict)
    limits: Mapped[dict[str, Any]] = mapped_column(default=dict)
    reason: Mapped[str] = mapped_column(default="")
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(default="")
    changed: Mapped[datetime]


class RolloutDevice(Base):
    """A device in a roll-out.

    Attributes:
        state: `waiting`, `sent`, `downloaded`, `trial`, `active`, `failed` or `rolled_back`.
        before: SHA-256 of the model that it had before.
        baseline: What was measured before the update: share of masked faces, latency.
    """

    __tablename__ = "rollout_device"
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.id", ondelete="CASCADE"), primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    command_id: Mapped[str | None] = mapped_column(String(36))
    before: Mapped[str] = mapped_column(String(64), default="")
    baseline: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sentence: Mapped[str] = mapped_column(default="")
    changed: Mapped[datetime]


class Command(Base):
    """A command to a device.

    Attributes:
        id: UUID, the `jti` of the signed command.
        sequence: Its number. It rises with each command to the device.
        token: The signed command (JWT), as it is sent.
        state: `waiting` (not sent to the broker yet), `sent`, `progress`, `done`, `refused`,
            `failed` or `expired`.
        due: When it is sent the first time, or again.
        answer: The newest answer of the device.
    """

    __tablename__ = "command"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(32))
    arguments: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sequence: Mapped[int] = mapped_column(BigInteger)
    token: Mapped[str]
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(default="")
    expires: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), default="waiting", index=True)
    due: Mapped[datetime]
    answer: Mapped[dict[str, Any]] = mapped_column(default=dict)
    answered: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("device_id", "sequence"),)


class Snapshot(Base):
    """The last picture that a device sent because of the command `snapshot`. There is one a camera."""

    __tablename__ = "snapshot"
    camera_id: Mapped[int] = mapped_column(ForeignKey("camera.id", ondelete="CASCADE"), primary_key=True)
    time: Mapped[datetime]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Token(Base):
    """A token of the API. Only its hash is stored.

    Attributes:
        name: Name of the person or program, for the audit log.
        role: `viewer`, `operator` or `admin`.
        hash: SHA-256 of the token in hexadecimal digits. The token has 256 random bits, so a slow
            hash would not add safety.
    """

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime]
    expires: Mapped[datetime | None]
    revoked: Mapped[datetime | None]
    used: Mapped[datetime | None]


class Audit(Base):
    """An action of a token: every command, and every change."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    time: Mapped[datetime] = mapped_column(index=True)
    token: Mapped[str] = mapped_column(String(LONGEST_NAME))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    address: Mapped[str] = mapped_column(String(64), default="")


class Reject(Base):
    """A message that was not accepted.

    Attributes:
        reason: Why.
        size: Size of the payload in bytes.
        payload: Its first bytes.
    """

    __tablename__ = "reject"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    received: Mapped[datetime] = mapped_column(index=True)
    topic: Mapped[str]
    reason: Mapped[str]
    size: Mapped[int]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
