"""`edge-run history`: prints the counts that a device has kept."""

from __future__ import annotations

import time
from pathlib import Path

import click

from maskedge.errors import UsageError
from maskedge.support.files import expand_home
from maskedge.support.text import displayable

from .common import Command, require_runtime

SPANS = {"hour": (3600, "minute"), "day": (86400, "hour"), "week": (7 * 86400, "day"), "month": (30 * 86400, "day")}
"""Seconds and bucket of each span."""

EPILOG = """\b
Examples:
  edge-run history --file history.sqlite3
  edge-run history --config /etc/maskedge/edge.toml --week --csv > week.csv
  edge-run history --file history.sqlite3 --from 2026-01-01 --to 2026-02-01 --bucket week
"""


@click.command(cls=Command, epilog=EPILOG, short_help="Print the counts of the history.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Read the history that this edge.toml names.")
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Read this history.")
@click.option("--hour", "span", flag_value="hour", help="The last hour, by minute.")
@click.option("--day", "span", flag_value="day", help="The last 24 hours, by hour.  [default]")
@click.option("--week", "span", flag_value="week", help="The last seven days, by day.")
@click.option("--month", "span", flag_value="month", help="The last 30 days, by day.")
@click.option("--from", "start", metavar="TIME", help="Start of the range, such as 2026-01-31 or 2026-01-31T12:00.")
@click.option("--to", "end", metavar="TIME", help="End of the range.  [default: now]")
@click.option("--bucket", metavar="NAME", help="Length of a row: minute, hour, day, week or month.")
@click.option("--camera", metavar="NAME", help="Only this camera.")
@click.option("--zone", default="", metavar="NAME", help="This zone instead of the whole picture; '*' for all zones.")
@click.option("--line", default="", metavar="NAME", help="People who crossed this line; '*' for all lines.")
@click.option("--events", is_flag=True, help="Print the events instead of the counts.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
def history(
    config: Path | None,
    file: Path | None,
    span: str | None,
    start: str | None,
    end: str | None,
    bucket: str | None,
    camera: str | None,
    zone: str,
    line: str,
    events: bool,
    as_csv: bool,
) -> None:
    """Print the counts of the history: seconds in which faces were visible, by label, and new people."""
    from maskedge.history.export import to_csv, to_text
    from maskedge.history.query import MOST_EVENTS, names_of, parse_request, read_events, read_history

    if span and start:
        raise click.UsageError(f"--{span} and --from exclude each other: leave one of them out.")
    for name, value in (("--bucket", bucket), ("--zone", zone), ("--line", line)):
        if events and value:
            raise click.UsageError(f"--events takes no {name}: it prints the events of whole cameras.")
    fields = {"to": end, "from": start, "bucket": bucket, "camera": camera, "zone": zone, "line": line}
    if not start:
        seconds, usual = SPANS[span or "day"]
        until = parse_request({"to": end or ""}).end
        fields |= {"from": str(max(until - seconds, 0.0)), "to": str(until), "bucket": bucket or usual}
    request = parse_request({name: value for name, value in fields.items() if value}, now=time.time())
    path = _path(config, file)
    answer = read_events(path, request) if events else read_history(path, request)
    click.echo((to_csv if as_csv else to_text)(answer), nl=False)
    if len(answer.get("events", ())) == MOST_EVENTS:
        click.echo(f"note: only the newest {MOST_EVENTS} events are shown: give a shorter range (--from, --to).", err=True)
    if not (answer.get("rows") or answer.get("events")):
        known = names_of(path)
        for kind, value in (("camera", camera), ("zone", zone), ("line", line)):
            if value and value not in (*known[kind], "*"):
                names = ", ".join(map(displayable, known[kind])) or "none"
                click.echo(f"note: the history has no {kind} {displayable(value)!r}; its {kind}s: {names}.", err=True)


def _path(config: Path | None, file: Path | None) -> Path:
    """Return the file of the history."""
    if config and file:
        raise click.UsageError("--config and --file exclude each other: leave one of them out.")
    if file:
        return expand_home(file)
    with require_runtime():
        from maskedge.config import load_config

        settings = load_config(config).config.history
    if settings.path is None:
        where = f"{config} has no [history] file" if config else "no history is named"
        raise UsageError(f"{where}: give --file FILE, or --config with an edge.toml that sets [history] file.")
    found: Path = settings.path
    return found
