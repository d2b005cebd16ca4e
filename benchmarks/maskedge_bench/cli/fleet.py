"""`edge-bench fleet`: the command that measures the server of a fleet."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from maskedge.cli.common import Command, FloatRange, require_extra, require_runtime, silence_libraries
from maskedge.cli.output_options import OutputFile
from maskedge.errors import UsageError

from .output import check_output, finish
from .speed import FILE, json_option


def _counts(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Parse numbers of devices such as `100,1000`."""
    try:
        counts = tuple(sorted({int(part) for part in value.split(",")}))
    except ValueError:
        counts = (0,)
    if not all(1 <= count <= 100_000 for count in counts):
        raise click.BadParameter("give comma-separated numbers of devices, such as 100,1000.")
    return counts


@click.command(cls=Command, short_help="Measure a fleet: delays, losses after crashes, growth, queries.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(["load", "crashes", "backlog", "growth", "month"]),
    multiple=True,
    help="Part to measure. May be repeated.  [default: all]",
)
@click.option("--quick", is_flag=True, help="Run the short version, which takes about ten minutes.")
@click.option("--devices", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Number of devices.")
@click.option("--seconds", type=FloatRange(5), default=600.0, show_default=True, help="Seconds of the load.")
@click.option("--events-per-s", type=FloatRange(0.1), default=200.0, show_default=True, help="Events a second in all.")
@click.option("--interval", type=FloatRange(0.5), default=10.0, show_default=True, help="Seconds between statistics.")
@click.option("--kills", type=click.IntRange(1, 100), default=5, show_default=True, help="Kills of each part.")
@click.option("--backlog", type=click.IntRange(1000), default=200_000, show_default=True, help="Events that wait for the ingest.")
@click.option(
    "--growth", callback=_counts, default="100,1000,10000", show_default=True, metavar="N,N,...", help="Numbers of devices."
)
@click.option("--growth-s", type=FloatRange(5), default=60.0, show_default=True, help="Seconds of each of them.")
@click.option("--days", type=click.IntRange(1, 400), default=30, show_default=True, help="Days of counts for the queries.")
@click.option("--update", type=FILE, help="Earlier report. Parts that are not measured now are taken from it.")
@click.option("--plot", type=OutputFile(), help="PNG file to write: cost over the number of devices (needs matplotlib).")
@click.option("--keep", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder in which logs are kept.")
@json_option
def fleet(
    parts: tuple[str, ...],
    quick: bool,
    devices: int,
    seconds: float,
    events_per_s: float,
    interval: float,
    kills: int,
    backlog: int,
    growth: tuple[int, ...],
    growth_s: float,
    days: int,
    update: Path | None,
    plot: Path | None,
    keep: Path | None,
    json_path: Path | None,
    overwrite: bool,
) -> None:
    """Measure a fleet on this machine: mosquitto, PostgreSQL, `edge-fleet ingest` and simulated devices.

    Every message of the devices is compared with the database. The parts are: a load; the same load
    while broker, database and ingest are killed; a backlog; the cost by number of devices; and the
    queries of the page with the counts of a month.
    """
    silence_libraries()
    with require_extra("fleet"):
        import paho.mqtt.client  # noqa: F401
        import psycopg  # noqa: F401
    with require_runtime():
        from maskedge_bench.fleet.load import LoadPlan
        from maskedge_bench.fleet.measure import PARTS, FleetPlan, measure_fleet
        from maskedge_bench.report_schemas import FLEET, load_report
    check_output(json_path)
    check_output(plot)
    if plot is not None:
        with require_extra("train"):
            import matplotlib as mpl  # noqa: F401
    earlier = None if update is None else load_report(update, FLEET)
    plan = FleetPlan(LoadPlan(devices, seconds, events_per_s, interval), kills, backlog, growth, growth_s, days, keep)
    if quick:
        plan = plan.shortened()
    if plot is not None and not ("growth" in (parts or PARTS) or (earlier and earlier["growth"])):
        raise UsageError("--plot draws the loads of several sizes: add --part growth, or --update with a report that has them.")
    # A request to end stops the programs, too, and keeps the complete parts.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = measure_fleet(plan, parts or PARTS, earlier, lambda text: click.echo(text, file=sys.stderr))
    try:
        if plot is not None and report["growth"]:
            from maskedge_bench.fleet.plot import write_plot

            write_plot(report, plot)
    finally:
        # A plot that cannot be drawn must not cost the report.
        finish(report, json_path)
