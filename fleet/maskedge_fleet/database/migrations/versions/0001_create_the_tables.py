"""Create the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from maskedge_fleet.database.tables import BigId, Json, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "audit",
        sa.Column("id", BigId, nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("token", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_time"), ["time"], unique=False)

    op.create_table(
        "model",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("signature", Json, nullable=False),
        sa.Column("card", Json, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("sha256", name=op.f("uq_model_sha256")),
    )
    op.create_table(
        "reject",
        sa.Column("id", BigId, nullable=False),
        sa.Column("received", UtcTime(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reject")),
    )
    with op.batch_alter_table("reject", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reject_received"), ["received"], unique=False)

    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("name", name=op.f("uq_site_name")),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("expires", UtcTime(), nullable=True),
        sa.Column("revoked", UtcTime(), nullable=True),
        sa.Column("used", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_token_hash")),
        sa.UniqueConstraint("name", name=op.f("uq_token_name")),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=401), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("group", sa.String(length=200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("seen", UtcTime(), nullable=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("duplicate_seen", UtcTime(), nullable=True),
        sa.Column("clock_offset_s", sa.Double(), nullable=True),
        sa.Column("health", Json, nullable=False),
        sa.Column("model", Json, nullable=False),
        sa.Column("detector", Json, nullable=False),
        sa.Column("commands", Json, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_device_site_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("name", name=op.f("uq_device_name")),
    )
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_group"), ["group"], unique=False)
        batch_op.create_index(batch_op.f("ix_device_seen"), ["seen"], unique=False)
        batch_op.create_index(batch_op.f("ix_device_site_id"), ["site_id"], unique=False)

    op.create_table(
        "rollout",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stages", Json, nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("stage_started", UtcTime(), nullable=True),
        sa.Column("scope", Json, nullable=False),
        sa.Column("limits", Json, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("changed", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_rollout_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout")),
    )
    op.create_table(
        "camera",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=602), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", UtcTime(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("seen", UtcTime(), nullable=True),
        sa.Column("statistics", Json, nullable=False),
        sa.Column("statistics_time", UtcTime(), nullable=True),
        sa.Column("alerts", Json, nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_camera_device_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_camera")),
        sa.UniqueConstraint("device_id", "name", name=op.f("uq_camera_device_id_name")),
        sa.UniqueConstraint("prefix", name=op.f("uq_camera_prefix")),
    )
    op.create_table(
        "command",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("arguments", Json, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires", UtcTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("due", UtcTime(), nullable=False),
        sa.Column("answer", Json, nullable=False),
        sa.Column("answered", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_command_device_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command")),
        sa.UniqueConstraint("device_id", "sequence", name=op.f("uq_command_device_id_sequence")),
    )
    with op.batch_alter_table("command", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_command_state"), ["state"], unique=False)

    op.create_table(
        "rollout_device",
        sa.Column("rollout_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("command_id", sa.String(length=36), nullable=True),
        sa.Column("before", sa.String(length=64), nullable=False),
        sa.Column("baseline", Json, nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("changed", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_rollout_device_device_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollout.id"], name=op.f("fk_rollout_device_rollout_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("rollout_id", "device_id", name=op.f("pk_rollout_device")),
    )
    op.create_table(
        "alert",
        sa.Column("id", BigId, nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=True),
        sa.Column("camera_id", sa.Integer(), nullable=True),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("ended", UtcTime(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.Column("acknowledged", UtcTime(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=False),
        sa.Column("notified", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["camera_id"], ["camera.id"], name=op.f("fk_alert_camera_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_alert_device_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_alert_site_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("source", "rule", "subject", "since", name=op.f("uq_alert_source_rule_subject_since")),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_alert_ended_since"), ["ended", "since"], unique=False)

    op.create_table(
        "notification",
        sa.Column("alert_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("service", sa.String(length=16), nullable=False),
        sa.Column("created", UtcTime(), nullable=False),
        sa.Column("due", UtcTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_notification_alert_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("alert_id", "kind", "service", name=op.f("pk_notification")),
    )
    op.create_table(
        "event",
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("camera_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.Column("received", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["camera_id"], ["camera.id"], name=op.f("fk_event_camera_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("time", "camera_id", "message_id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_camera_id_time"), ["camera_id", "time"], unique=False)
        batch_op.create_index(batch_op.f("ix_event_kind_time"), ["kind", "time"], unique=False)

    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("camera_id", sa.Integer(), nullable=False),
        sa.Column("zone", sa.String(length=200), nullable=False),
        sa.Column("line", sa.String(length=200), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(["camera_id"], ["camera.id"], name=op.f("fk_series_camera_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("camera_id", "zone", "line", "direction", name=op.f("uq_series_camera_id_zone_line_direction")),
    )
    op.create_table(
        "snapshot",
        sa.Column("camera_id", sa.Integer(), nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["camera_id"], ["camera.id"], name=op.f("fk_snapshot_camera_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("camera_id", name=op.f("pk_snapshot")),
    )
    op.create_table(
        "statistics",
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("camera_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("content", Json, nullable=False),
        sa.Column("received", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["camera_id"], ["camera.id"], name=op.f("fk_statistics_camera_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("time", "camera_id", "message_id", name=op.f("pk_statistics")),
    )
    op.create_table(
        "day_counts",
        sa.Column("start", UtcTime(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("observed_s", sa.Float(), nullable=False),
        sa.Column("masked_s", sa.Float(), nullable=False),
        sa.Column("unmasked_s", sa.Float(), nullable=False),
        sa.Column("incorrect_s", sa.Float(), nullable=False),
        sa.Column("other_s", sa.Float(), nullable=False),
        sa.Column("masked", sa.Integer(), nullable=False),
        sa.Column("unmasked", sa.Integer(), nullable=False),
        sa.Column("incorrect", sa.Integer(), nullable=False),
        sa.Column("other", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_day_counts_series_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("start", "series_id", name=op.f("pk_day_counts")),
    )
    with op.batch_alter_table("day_counts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_day_counts_series_id_start"), ["series_id", "start"], unique=False)

    op.create_table(
        "hour_counts",
        sa.Column("start", UtcTime(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("observed_s", sa.Float(), nullable=False),
        sa.Column("masked_s", sa.Float(), nullable=False),
        sa.Column("unmasked_s", sa.Float(), nullable=False),
        sa.Column("incorrect_s", sa.Float(), nullable=False),
        sa.Column("other_s", sa.Float(), nullable=False),
        sa.Column("masked", sa.Integer(), nullable=False),
        sa.Column("unmasked", sa.Integer(), nullable=False),
        sa.Column("incorrect", sa.Integer(), nullable=False),
        sa.Column("other", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_hour_counts_series_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("start", "series_id", name=op.f("pk_hour_counts")),
    )
    with op.batch_alter_table("hour_counts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_hour_counts_series_id_start"), ["series_id", "start"], unique=False)

    op.create_table(
        "minute_counts",
        sa.Column("start", UtcTime(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("observed_s", sa.Float(), nullable=False),
        sa.Column("masked_s", sa.Float(), nullable=False),
        sa.Column("unmasked_s", sa.Float(), nullable=False),
        sa.Column("incorrect_s", sa.Float(), nullable=False),
        sa.Column("other_s", sa.Float(), nullable=False),
        sa.Column("masked", sa.Integer(), nullable=False),
        sa.Column("unmasked", sa.Integer(), nullable=False),
        sa.Column("incorrect", sa.Integer(), nullable=False),
        sa.Column("other", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_minute_counts_series_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("start", "series_id", name=op.f("pk_minute_counts")),
    )
    with op.batch_alter_table("minute_counts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_minute_counts_series_id_start"), ["series_id", "start"], unique=False)

    op.create_table(
        "stale_hour",
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("start", UtcTime(), nullable=False),
        sa.Column("changed", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_stale_hour_series_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("series_id", "start", name=op.f("pk_stale_hour")),
    )


def downgrade() -> None:
    """Remove the tables."""
    op.drop_table("notification")
    op.drop_table("stale_hour")
    with op.batch_alter_table("minute_counts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_minute_counts_series_id_start"))

    op.drop_table("minute_counts")
    with op.batch_alter_table("hour_counts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_hour_counts_series_id_start"))

    op.drop_table("hour_counts")
    with op.batch_alter_table("day_counts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_day_counts_series_id_start"))

    op.drop_table("day_counts")
    op.drop_table("statistics")
    op.drop_table("snapshot")
    op.drop_table("series")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_event_kind_time"))
        batch_op.drop_index(batch_op.f("ix_event_camera_id_time"))

    op.drop_table("event")
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alert_ended_since"))
        batch_op.drop_index(batch_op.f("ix_alert_device_id"))

    op.drop_table("alert")
    op.drop_table("rollout_device")
    with op.batch_alter_table("command", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_command_state"))

    op.drop_table("command")
    op.drop_table("camera")
    op.drop_table("rollout")
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_site_id"))
        batch_op.drop_index(batch_op.f("ix_device_seen"))
        batch_op.drop_index(batch_op.f("ix_device_group"))

    op.drop_table("device")
    op.drop_table("token")
    op.drop_table("site")
    with op.batch_alter_table("reject", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_reject_received"))

    op.drop_table("reject")
    op.drop_table("model")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_time"))

    op.drop_table("audit")
