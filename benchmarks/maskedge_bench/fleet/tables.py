"""Markdown tables of the fleet."""

from __future__ import annotations

from collections.abc import Iterable

from maskedge_bench.markdown import UNKNOWN, Report, machine, markdown_table

_PARTS = ("broker", "database", "ingest", "simulator")


def load_table(report: Report) -> str:
    """Return messages, delays and losses of the loads: without crashes, and with them."""
    head = ("load", "messages", "messages/s", "delay p50 / p95 / max", "lost", "doubled", "broker / database / ingest, of a core")
    rows = [
        [
            name,
            f"{row['messages']:,}",
            f"{row['messages_per_s']:.0f}",
            " / ".join(f"{row['delay_s'][key]:.2f}" for key in ("p50", "p95", "max")) + " s",
            str(row["lost"]),
            str(row["doubled"]),
            " / ".join(f"{row['parts'][part]['cpu_share']:.0%}" for part in _PARTS[:3]),
        ]
        for name, row in _loads(report)
    ]
    first = next((row for _, row in _loads(report)), None)
    if first is None:
        return markdown_table(head, [])
    note = (
        f"{first['devices']:,} devices with statistics every {first['interval_s']:g} s and {first['events_per_s']:g} events/s in "
        "all. Broker, database, ingest and devices ran on this machine. The delay is from the event on the device to the commit "
        "of its row. "
        f"{machine(report['facts'])}.{_busy(row for _, row in _loads(report))}"
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def _loads(report: Report) -> Iterable[tuple[str, Report]]:
    if report["load"] is not None:
        yield f"{report['load']['seconds']:.0f} s", report["load"]
    if report["crashes"] is not None:
        times = report["crashes"]["kills"]["broker"]
        yield f"{report['crashes']['seconds']:.0f} s, each of broker, database and ingest killed {times} times", report["crashes"]


def _busy(rows: Iterable[Report]) -> str:
    """Return a sentence with the load average of the machine before each measurement."""
    loads = [f"{row['load_before']:.1f}" for row in rows if row["load_before"] is not None]
    return f" Load average before: {', '.join(loads)}." if loads else ""


def growth_table(report: Report) -> str:
    """Return the cost of each part over the number of devices."""
    head = (
        "devices",
        "messages/s",
        "delay p95",
        *(f"{part}, CPU ms a message" for part in _PARTS),
        *(f"{part}, MB" for part in _PARTS),
    )
    rows = [
        [
            f"{row['devices']:,}",
            f"{row['messages_per_s']:.0f}",
            f"{row['delay_s']['p95']:.2f} s",
            *(f"{row['parts'][part]['cpu_ms_a_message']:.3f}" for part in _PARTS),
            *(f"{row['parts'][part]['memory_mb']:.0f}" for part in _PARTS),
        ]
        for row in report["growth"] or ()
    ]
    note = _busy(report["growth"] or ())
    return markdown_table(head, rows) + (f"\n\n{note.strip()}" if note else "")


def backlog_sentence(report: Report) -> str:
    """Return the rate at which a backlog is stored."""
    row = report["backlog"]
    if row is None:
        return UNKNOWN
    costs = ", ".join(f"{name} {row['cpu_ms_an_event'][name]:.3f} ms" for name in ("broker", "database", "ingest"))
    return (
        f"A backlog of {row['events']:,} events of {row['devices']:,} devices was stored in {row['seconds']:.1f} s: "
        f"{row['events_per_s']:,} events/s with one ingest; {row['lost']} lost, {row['doubled']} doubled. CPU an event: {costs}."
        f"{_busy([row])}"
    )


def month_table(report: Report) -> str:
    """Return the time of the queries of the page."""
    month = report["month"]
    head = ("query", "rows", "answer", "first", "p50", "p95")
    rows = [
        [
            query["name"],
            f"{query['rows']:,}",
            f"{query['kilobytes']:,.0f} kB",
            f"{query['first_ms']:.0f} ms",
            f"{query['p50_ms']:.0f} ms",
            f"{query['p95_ms']:.0f} ms",
        ]
        for query in (month["queries"] if month else ())
    ]
    if month is None:
        return markdown_table(head, rows)
    size = f"{month['minute_rows']:,} minutes, {month['gigabytes']:.1f} GB"
    return f"{markdown_table(head, rows)}\n\n{month['devices']:,} devices, {month['days']} days: {size}.{_busy([month])}"


def capacity_table(report: Report, devices: int = 100_000) -> str:
    """Return what a larger fleet needs, derived from the costs of a message that were measured.

    Args:
        report: The report.
        devices: Number of devices, each with the messages of a device of the load.
    """
    load, backlog, month = report["load"], report["backlog"], report["month"]
    if load is None or backlog is None:
        return UNKNOWN
    statistics, events = devices / load["interval_s"], devices * load["events_per_s"] / load["devices"]
    rate = statistics + events
    rows = []
    for part in _PARTS[:3]:
        low, high = sorted((backlog["cpu_ms_an_event"][part], load["parts"][part]["cpu_ms_a_message"]))
        cores = f"{rate * low / 1000:.1f} to {rate * high / 1000:.1f}"
        rows.append([part, f"{low:.3f} to {high:.3f} ms", cores])
    sizes = load["bytes_a_row"]
    days = 86400 * (events * sizes["event"]) / 1e9, 86400 * statistics * sizes["statistics"] / 1e9
    growth = f"Events take {days[0]:,.0f} GB a day ({sizes['event']:.0f} bytes each), statistics {days[1]:,.0f} GB"
    if month is not None:
        minutes = month["gigabytes"] / month["devices"] / month["days"] * devices
        growth += f", counts by minute {minutes:,.0f} GB"
    note = (
        f"{devices:,} devices with the messages of the load: {rate:,.0f} messages/s. The lower figure is that of full batches (the "
        f"backlog), the higher one that of the load. {growth}, without compression."
    )
    return f"{markdown_table(('part', 'CPU a message', f'cores at {rate:,.0f} messages/s'), rows)}\n\n{note}"


def fleet_tables(report: Report) -> str:
    """Return the tables of all parts that were measured."""
    tables = (
        load_table(report) if report["load"] or report["crashes"] else "",
        growth_table(report) if report["growth"] else "",
        backlog_sentence(report) if report["backlog"] else "",
        month_table(report) if report["month"] else "",
    )
    return "\n\n".join(filter(None, tables))
