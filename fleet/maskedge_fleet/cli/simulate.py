"""`edge-fleet simulate`: simulated devices."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.cli.common import Command, FloatRange, require_extra, silence_libraries, use_one_blas_thread
from maskedge.cli.output_options import OutputFile, overwrite_option
from maskedge.errors import OutputError
from maskedge.support.files import make_folder, write_file
from maskedge.support.text import to_json

if TYPE_CHECKING:
    from maskedge_fleet.simulate.plan import Plan


@click.command(cls=Command)
@click.argument("devices", type=click.IntRange(1, 100_000), metavar="N")
@click.option("--broker", required=True, metavar="URL", help="mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS.")
@click.option("--root", default="maskedge", show_default=True, help="First level of all topics.")
@click.option("--events-per-s", type=FloatRange(0), default=200.0, show_default=True, help="Mean events a second, of all devices.")
@click.option("--interval", type=FloatRange(0.1), default=10.0, show_default=True, help="Seconds between statistics of a device.")
@click.option("--seconds", type=FloatRange(0, min_open=True), help="Seconds to run.  [default: until it is stopped]")
@click.option(
    "--drain-s", type=FloatRange(0), default=60.0, show_default=True, help="Seconds to wait for confirmations at the end."
)
@click.option("--processes", type=click.IntRange(1, 1000), help="Number of processes.  [default: one for each 125 devices]")
@click.option("--sites", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Number of sites.")
@click.option("--seed", type=int, default=0, show_default=True, help="Start of the random numbers.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the spools; a later simulation continues with them.  [default: a temporary one]",
)
@click.option("--username", metavar="NAME", help="User name at the broker.")
@click.option(
    "--password",
    envvar="MASKEDGE_MQTT_PASSWORD",
    show_envvar=True,
    help="Password. Prefer the environment: other users of this machine see the command line.",
)
@click.option(
    "--ca-file", type=click.Path(dir_okay=False, path_type=Path), help="Certificates (PEM) that sign the broker's certificate."
)
@click.option(
    "--command-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public key (PEM) of the fleet. The devices take its commands.  [default: no commands]",
)
@click.option(
    "--database", metavar="URL", help="Database of the fleet, in which the devices are assigned to their sites after the start."
)
@click.option("--record", type=OutputFile(), help="JSON file to write: the ids of all messages, and sums of events and people.")
@overwrite_option
def simulate(devices: int, database: str | None, record: Path | None, folder: Path | None, overwrite: bool, **options: Any) -> None:
    """Simulate N devices that publish through the MQTT output of a real device.

    People come, change the label, cross a line and leave; cameras are lost and come back. At the end,
    the devices wait until edge-fleet ingest has confirmed their messages. The exit code is 5 if the
    broker cannot be reached and no message was confirmed.
    """
    use_one_blas_thread()
    silence_libraries()
    with require_extra("fleet"):
        from maskedge_fleet.simulate.plan import Plan
        from maskedge_fleet.simulate.processes import simulate as run
        from maskedge_fleet.simulate.record import make_record
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maskedge-simulate-", ignore_cleanup_errors=True)))
        else:
            make_folder(folder, private=True)
        plan = Plan(devices, folder=folder, **{name: value for name, value in options.items() if value is not None})
        started = threading.Event()
        if database is not None:
            _assign_sites(plan, database, started)
        click.echo(f"simulating {devices} devices in {len(plan.parts)} processes", err=True)
        totals = run(plan, started)
        content = make_record(plan, totals)
        if record is not None:
            write_file(record, to_json(content) + "\n")
    messages = sum(device["last"] for device in content["devices"].values())
    click.echo(
        f"{messages:,} messages, {sum(totals.events.values()):,} of them events; "
        f"{totals.waiting:,} not confirmed, {totals.refused:,} refused"
    )
    if totals.problem is not None and totals.confirmed == 0:
        raise OutputError(f"no message was confirmed (check --broker): {totals.problem}")


def _assign_sites(plan: Plan, database: str, started: threading.Event) -> None:
    """Assign devices to sites on a thread, because they appear in the database after their first message."""
    from maskedge_fleet.database.engine import open_engine
    from maskedge_fleet.simulate.sites import SiteAssignment

    SiteAssignment(plan, open_engine(database, create=False), started).start()
