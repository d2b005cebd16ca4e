"""The dashboards and rules of deploy/: their queries, with Grafana's variables and macros replaced as Grafana does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import yaml

from helpers.support import ROOT

DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
ALERTING = DEPLOY / "grafana" / "provisioning" / "alerting" / "maskedge.yaml"
PROMETHEUS, POSTGRESQL = "prometheus", "grafana-postgresql-datasource"
_INTERVALS = {"1h": 3600, "$__interval": 60}


class Query(NamedTuple):
    """A query, and where it stands."""

    name: str
    text: str


def load(path: Any) -> dict[str, Any]:
    """Return the content of a dashboard or a YAML file."""
    text = path.read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    return content


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show data."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets(kind: str) -> Iterator[Query]:
    """Yield the queries of all panels and variables to a kind of data source."""
    for path in DASHBOARDS:
        board = load(path)
        for panel in panels(board):
            for target in panel["targets"]:
                if target["datasource"]["type"] == kind:
                    name = f"{path.stem}: {panel['title']} {target['refId']}"
                    yield Query(name, target["expr" if kind == PROMETHEUS else "rawSql"])
        for variable in board["templating"]["list"]:
            if variable["datasource"]["type"] == kind and kind == POSTGRESQL:
                yield Query(f"{path.stem}: variable {variable['name']}", variable["query"])


def rules() -> Iterator[Query]:
    """Yield the expressions of the rules of Prometheus."""
    for path in RULES:
        for group in load(path)["groups"]:
            for rule in group["rules"]:
                yield Query(rule.get("alert") or rule["record"], rule["expr"])


def alerting() -> Iterator[Query]:
    """Yield the SQL queries of Grafana's alert rules."""
    for group in load(ALERTING)["groups"]:
        for rule in group["rules"]:
            for part in rule["data"]:
                if "rawSql" in part["model"]:
                    yield Query(rule["title"], part["model"]["rawSql"])


def to_promql(text: str) -> str:
    """Return an expression as Grafana sends it, with all devices and cameras selected."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$instance", ".*"), ("$camera", ".*")):
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def selectors(expression: str) -> set[str]:
    """Return the metrics of an expression, each with its labels."""
    return set(re.findall(r"\b(?:maskedge[a-z_0-9:]*|up)\b(?:\{[^}]*\})?", expression))


def without_comparisons(expression: str) -> str:
    """Return an expression of an alert without its bounds, so that it has a value while the alert is not active."""
    return re.sub(r"\s(?:==|!=|>=|<=|>|<)\s+-?[\d.]+(?=\s*(?:$|\)|or|and))", "", expression)


def to_sql(text: str, now: datetime, sites: list[str]) -> str:
    """Return a query as Grafana sends it, for the last two hours.

    Args:
        text: The query of a panel.
        now: End of the range.
        sites: Selected sites.
    """
    start, end = (f"'{time.isoformat().replace('+00:00', 'Z')}'" for time in (now - timedelta(hours=2), now))
    text = re.sub(r"\$__timeFilter\(((?:[^()]|\([^()]*\))+)\)", rf"\1 BETWEEN {start} AND {end}", text)
    for name, seconds in _INTERVALS.items():
        pattern = rf"\$__timeGroupAlias\(([^,()]+),\s*{re.escape(name)}\)"
        text = re.sub(pattern, rf'floor(extract(epoch from \1)/{seconds})*{seconds} AS "time"', text)
    text = text.replace("$__timeFrom()", start).replace("$__timeTo()", end)
    quoted = ",".join(f"'{site}'" for site in sites)
    text = text.replace("$site", quoted)
    assert "$" not in text, text
    return text


def utc_now() -> datetime:
    """Return the time, a little ahead, so that rows of this moment are in the range."""
    return datetime.now(timezone.utc) + timedelta(minutes=1)
