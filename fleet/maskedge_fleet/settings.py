"""The settings of the server: `fleet.toml` and the options of the commands (docs/fleet-api.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from maskedge.config import LOG_FORMATS, LOG_LEVELS, nearest_name, read_toml, typed_value
from maskedge.errors import UsageError
from maskedge.settings import Range, check_name, check_settings, shown
from maskedge.support.files import MAX_SECRET_BYTES, read_text

from .alerts.rules import FleetRule

DEFAULT_DATABASE = "sqlite:///fleet.sqlite3"
VARIABLES = {
    "MASKEDGE_FLEET_DATABASE": "database.url",
    "MASKEDGE_FLEET_BROKER": "broker.url",
    "MASKEDGE_FLEET_MQTT_PASSWORD": "broker.password",
}
"""Environment variables, and the setting of each."""
_MOST_RULES = 100
_DAYS = Range(1, 36_500, zero=True)


@dataclass(frozen=True)
class ServerConfig:
    """The section `[server]`: the API, the page and the log."""

    serve: str = field(default="127.0.0.1:8090", metadata={"help": "address and port of the API and the page"})
    cert: Path | None = field(default=None, metadata={"help": "certificate (PEM) for HTTPS"})
    key: Path | None = field(default=None, metadata={"help": "key of cert (PEM)"})
    hosts: tuple[str, ...] = field(
        default=(), metadata={"help": "host names under which the server is reached, as behind a reverse proxy"}
    )
    public_url: str = field(
        default="", metadata={"help": "address of the server for devices and in notifications, as https://fleet.example.org"}
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(), metadata={"help": "addresses of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are used"}
    )
    time_zone: str = field(default="UTC", metadata={"help": "time zone of days, weeks and months, as Europe/Berlin"})
    command_key: Path | None = field(
        default=None, metadata={"help": "private key (PEM) that signs commands, from edge-fleet key; unset: no commands"}
    )
    token_limit: str = field(default="600/minute", metadata={"help": "maximum number of requests of a token"})
    address_limit: str = field(default="1200/minute", metadata={"help": "maximum number of requests of an address"})
    login_limit: str = field(default="10/minute", metadata={"help": "maximum number of refused tokens of an address"})
    max_live_clients: int = field(
        default=64, metadata={"help": "maximum number of clients of /api/v1/live at a time", "range": Range(1, 10_000)}
    )
    log_format: str = field(default="text", metadata={"help": f"format of log lines: {', '.join(LOG_FORMATS)}"})
    log_level: str = field(default="info", metadata={"help": f"lowest level that is logged: {', '.join(LOG_LEVELS)}"})

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A value is not valid.
        """
        check_settings(self, "server")
        for name, value, known in (("log_format", self.log_format, LOG_FORMATS), ("log_level", self.log_level, LOG_LEVELS)):
            if value not in known:
                raise UsageError(f"server.{name} is one of {', '.join(known)}; got {shown(value)}.")
        if (self.cert is None) != (self.key is None):
            raise UsageError("server.cert and server.key belong together: give both or none.")
        if self.public_url and not _is_address(self.public_url):
            raise UsageError(
                f"server.public_url is an address as https://fleet.example.org, without a user name; got {shown(self.public_url)}."
            )


def _is_address(text: str) -> bool:
    """Return True for an address of a server, without credentials, query and fragment."""
    try:
        address = urlsplit(text)
        address.port  # noqa: B018  (it raises ValueError for a wrong port)
    except ValueError:
        return False
    return address.scheme in ("http", "https") and bool(address.hostname) and not (set("@?#") & set(text))


@dataclass(frozen=True)
class DatabaseConfig:
    """The section `[database]`."""

    url: str = field(
        default=DEFAULT_DATABASE, metadata={"help": "sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE", "secret": True}
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_settings(self, "database")


@dataclass(frozen=True)
class BrokerConfig:
    """The section `[broker]`: the MQTT broker of the devices."""

    url: str = field(default="", metadata={"help": "broker: mqtt://HOST:PORT, or mqtts:// for TLS"})
    username: str | None = field(default=None, metadata={"help": "user name for the broker"})
    password: str | None = field(default=None, metadata={"help": "password for the broker", "secret": True})
    password_file: Path | None = field(default=None, metadata={"help": "file that holds the password, instead of password"})
    ca_file: Path | None = field(
        default=None, metadata={"help": "certificates (PEM) that sign the broker's certificate; default: the system's"}
    )
    cert_file: Path | None = field(default=None, metadata={"help": "client certificate (PEM), for brokers that require one"})
    key_file: Path | None = field(default=None, metadata={"help": "key of cert_file, if it is in another file"})
    insecure: bool = field(default=False, metadata={"help": "accept any certificate of the broker; for tests only"})
    root: str = field(default="maskedge", metadata={"help": "first level of all topics of devices"})
    worker: str = field(
        default="", metadata={"help": "name of this ingest process, part of its client identifier; empty: the host name"}
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A value is not valid.
        """
        check_settings(self, "broker")
        check_name(self.root, "broker.root")
        if self.worker:
            check_name(self.worker, "broker.worker")

    def read_password(self) -> str | None:
        """Return the password for the broker; None for none.

        Raises:
            UsageError: The password file cannot be read.
        """
        if self.password_file is None:
            return self.password
        try:
            return read_text(self.password_file.expanduser(), MAX_SECRET_BYTES).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"the password file {self.password_file} cannot be read ({reason}): check [broker].") from error


@dataclass(frozen=True)
class RetentionConfig:
    """The section `[retention]`: days that rows are kept; 0 keeps them for ever."""

    minutes_days: int = field(default=90, metadata={"help": "days that counts of minutes are kept", "range": _DAYS})
    hours_days: int = field(default=3 * 365, metadata={"help": "days that counts of hours are kept", "range": _DAYS})
    days_days: int = field(default=0, metadata={"help": "days that counts of days are kept", "range": _DAYS})
    events_days: int = field(default=365, metadata={"help": "days that events are kept", "range": _DAYS})
    statistics_days: int = field(default=7, metadata={"help": "days that messages of statistics are kept", "range": _DAYS})
    alerts_days: int = field(default=3 * 365, metadata={"help": "days that ended alerts are kept", "range": _DAYS})
    snapshots_days: int = field(
        default=30, metadata={"help": "days that pictures of the command snapshot are kept", "range": _DAYS}
    )
    rejects_days: int = field(default=30, metadata={"help": "days that rejected messages are kept", "range": _DAYS})
    audit_days: int = field(default=3 * 365, metadata={"help": "days that the audit log is kept", "range": _DAYS})
    every_s: float = field(default=15.0, metadata={"help": "seconds between two runs of roll-up", "range": Range(0.05, 3600)})

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A value is not valid, or hours are removed before their minutes.
        """
        check_settings(self, "retention")
        if self.hours_days and (not self.minutes_days or self.hours_days < self.minutes_days + 2):
            raise UsageError("hours are kept for at least two days more than minutes: change retention.hours_days or minutes_days.")


@dataclass(frozen=True)
class AlertsConfig:
    """The section `[alerts]`: how rules of the fleet are evaluated."""

    every_s: float = field(
        default=15.0, metadata={"help": "seconds between two evaluations of the rules", "range": Range(0.05, 3600)}
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_settings(self, "alerts")


@dataclass(frozen=True)
class ModelsConfig:
    """The section `[models]`: models for devices."""

    trusted_keys: tuple[Path, ...] = field(
        default=(), metadata={"help": "public key files (PEM); only models that one of them has signed can be added"}
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_settings(self, "models")


@dataclass(frozen=True)
class NotifyConfig:
    """The section `[notify]`: receivers of alerts (Apprise)."""

    urls: tuple[str, ...] = field(
        default=(), metadata={"help": "addresses of Apprise, as mailto://...; they contain passwords", "secret": True}
    )
    urls_file: Path | None = field(default=None, metadata={"help": "file with one address a line, besides urls"})
    ended: bool = field(default=True, metadata={"help": "also send the end of an alert"})

    def __post_init__(self) -> None:
        """Check the values."""
        check_settings(self, "notify")


class Settings(NamedTuple):
    """All settings of the server.

    Attributes:
        server: The API, the page and the log.
        database: The database.
        broker: The MQTT broker.
        retention: How long rows are kept.
        alerts: How rules are evaluated.
        models: Models for devices.
        notifications: Receivers of alerts: the section `[notify]`.
        rules: The tables `[[alert]]`.
    """

    server: ServerConfig = ServerConfig()
    database: DatabaseConfig = DatabaseConfig()
    broker: BrokerConfig = BrokerConfig()
    retention: RetentionConfig = RetentionConfig()
    alerts: AlertsConfig = AlertsConfig()
    models: ModelsConfig = ModelsConfig()
    notifications: NotifyConfig = NotifyConfig()
    rules: tuple[FleetRule, ...] = ()

    def secrets(self) -> set[str]:
        """Return the texts that no log line may contain: passwords and addresses with passwords."""
        found = {self.broker.password or "", *self.notifications.urls}
        address, _, query = self.database.url.partition("?")
        credentials, _, host = address.partition("://")[2].rpartition("@")
        found |= {value for name, value in parse_qsl(query) if "password" in name or "secret" in name}
        return found | ({credentials.partition(":")[2]} if host else set())


SECTIONS: dict[str, type[Any]] = {
    "server": ServerConfig,
    "database": DatabaseConfig,
    "broker": BrokerConfig,
    "retention": RetentionConfig,
    "alerts": AlertsConfig,
    "models": ModelsConfig,
    "notify": NotifyConfig,
}
"""The sections of fleet.toml. The tables `[[alert]]` follow them."""
_ATTRIBUTES = {"notify": "notifications"}


def load_settings(file: Path | None = None, options: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings. Options replace variables, and variables replace the file.

    Args:
        file: A fleet.toml; None for none.
        options: Values by `section.key`; None as a value leaves the setting as it is.

    Raises:
        UsageError: The file cannot be read, or a setting is unknown or not valid.
    """
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    rules: tuple[FleetRule, ...] = ()
    for section, content in read_toml(file).items() if file is not None else ():
        if section == "alert":
            rules = _read_rules(content, f"{file}: alert")
        elif section not in SECTIONS:
            known = (*SECTIONS, "alert")
            raise UsageError(f"{file}: there is no section [{shown(section)[1:-1]}]{nearest_name(section, known)}")
        elif not isinstance(content, dict):
            raise UsageError(f"{file}: {section} is a section: write [{section}] and its keys below.")
        else:
            values[section] = _read_table(SECTIONS[section], f"[{section}]", content, f"{file}: {section}")
    for variable, path in VARIABLES.items():
        if os.environ.get(variable):
            section, key = path.split(".")
            values[section][key] = typed_value(SECTIONS[section], f"[{section}]", key, os.environ[variable], variable, parse=True)
    for path, value in (options or {}).items():
        section, key = path.split(".")
        if value is not None:
            values[section][key] = value
    sections: dict[str, Any] = {name: cls(**values[name]) for name, cls in SECTIONS.items()}
    return Settings(**{_ATTRIBUTES.get(name, name): section for name, section in sections.items()}, rules=rules)


def _read_table(cls: type[Any], owner: str, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {key: typed_value(cls, owner, key, value, f"{where}.{key}") for key, value in content.items()}


def _read_rules(content: Any, where: str) -> tuple[FleetRule, ...]:
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise UsageError(f"{where}s are tables: write [[alert]] and the keys of a rule below.")
    if len(content) > _MOST_RULES:
        raise UsageError(f"{where}: {len(content)} alert rules are too many: {_MOST_RULES} at most.")
    rules = tuple(
        FleetRule(**_read_table(FleetRule, "an alert rule", table, f"{where}[{number}]")) for number, table in enumerate(content, 1)
    )
    names = [rule.name for rule in rules]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"{where}: two rules have the name {shown(double)}: give each its own.")
    return rules
