"""`edge-bench fleet`, with small sizes and the real programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.support import ROOT
from maskedge.errors import UsageError
from maskedge.system.host import host_facts
from maskedge_bench.fleet import measure
from maskedge_bench.fleet.backlog import rate_of
from maskedge_bench.fleet.growth import plan_of
from maskedge_bench.fleet.measure import FleetPlan
from maskedge_bench.fleet.parts import find_program
from maskedge_bench.fleet.tables import capacity_table
from maskedge_bench.report_schemas import FLEET, load_report
from maskedge_bench.reports.report_page import write_report_page

Command = Callable[..., "subprocess.CompletedProcess[str]"]
needs_programs = pytest.mark.skipif(
    not (shutil.which("mosquitto", path="/usr/sbin:/usr/bin") and [*Path("/usr/lib/postgresql").glob("*/bin/postgres")]),
    reason="mosquitto or PostgreSQL is not installed",
)


@needs_programs
@pytest.mark.slow
def test_a_fleet_is_measured_and_loses_nothing(command: Command, tmp_path: Path) -> None:
    first = tmp_path / "first.json"
    sizes = ("--devices", "5", "--events-per-s", "10", "--interval", "1", "--seconds", "5", "--backlog", "2000", "--days", "1")
    parts = [argument for name in ("load", "crashes", "backlog", "month") for argument in ("--part", name)]
    done = command("edge-bench", "fleet", *sizes, "--kills", "1", *parts, "--json", first)
    assert done.returncode == 0, done.stderr
    report = load_report(first, FLEET)
    assert report["load"]["messages"] > 60
    assert report["backlog"]["events"] == 2000
    assert report["growth"] is None
    assert report["crashes"]["kills"] == {"broker": 1, "database": 1, "ingest": 1}
    for part in ("load", "crashes", "backlog"):
        assert report[part]["lost"] == report[part]["doubled"] == 0, part
    for part in ("load", "crashes"):
        assert report[part]["wrong_kinds"] == report[part]["people_off"] == report[part]["left"] == 0, part
    assert report["month"]["minute_rows"] == 5 * 1440
    assert {query["name"]: query["rows"] for query in report["month"]["queries"]}["the list of all devices"] == 5
    assert "| a site's month by day |" in done.stdout
    # Another part is added to the report, with a plot.
    pytest.importorskip("matplotlib")
    second, drawn = tmp_path / "second.json", tmp_path / "plot.png"
    arguments = ("--part", "growth", "--growth", "2,4", "--growth-s", "5", "--update", first, "--plot", drawn, "--json", second)
    done = command("edge-bench", "fleet", *arguments)
    assert done.returncode == 0, done.stderr
    both = load_report(second, FLEET)
    assert [row["devices"] for row in both["growth"]] == [2, 4]
    assert both["month"] == report["month"]
    assert drawn.read_bytes()[:4] == b"\x89PNG"
    write_report_page(tmp_path / "page.html", [both])
    assert "Queries with the counts of a month" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "100,000 devices with the messages of the load: 300,000 messages/s" in capacity_table(both)


def test_a_large_fleet_sends_statistics_less_often() -> None:
    assert (plan_of(1000).events_per_s, plan_of(1000).interval) == (200.0, 10.0)
    assert plan_of(10_000).events_per_s <= 400
    assert plan_of(10_000).interval > 50
    assert max(FleetPlan().shortened().growth) == 1000


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Exception, match="no-such-program is not installed: install no-such-program"):
        find_program("no-such-program")


def test_a_chosen_fleet_stays_in_the_short_version() -> None:
    assert list(FleetPlan(growth=(5000,)).shortened().growth) == [5000]


def test_a_run_that_is_stopped_at_once_has_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "measure_month", stop)
    monkeypatch.setattr(measure, "measure_backlog", lambda *_: {})
    earlier = load_report(ROOT / "benchmarks" / "results" / "fleet.json", FLEET)
    earlier["facts"]["machine"] = host_facts()["machine"]
    with pytest.raises(KeyboardInterrupt):
        measure.measure_fleet(FleetPlan(), ("month",), earlier)
    report = measure.measure_fleet(FleetPlan(), ("backlog", "month"), earlier)
    assert report["partial"]
    assert (report["backlog"], report["month"]) == ({}, earlier["month"])
    earlier["facts"]["machine"] = "another one"
    with pytest.raises(UsageError, match="the earlier report was measured on another one"):
        measure.measure_fleet(FleetPlan(), ("backlog",), earlier)


def test_the_rate_of_a_backlog_leaves_the_first_commit_out() -> None:
    assert rate_of([(100.0, 500), (101.0, 200), (102.0, 100)], 9.0) == 150
    assert rate_of([(100.0, 500)], 2.0) == 250


def test_a_plot_needs_loads_of_several_sizes(invoke: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = invoke("edge-bench", "fleet", "--part", "load", "--plot", tmp_path / "plot.png")
    assert done.returncode == 2
    assert "add --part growth" in done.stderr
