"""The page of the reports: what is drawn and how it is set."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from maskedge.errors import OutputError, UsageError
from maskedge_bench.cli.output import check_output, finish, write_json
from maskedge_bench.json_shape import problems
from maskedge_bench.report_schemas import OTHER_VERSIONS, SHAPES, load_report
from maskedge_bench.reports.compare import compare as join
from maskedge_bench.reports.kinds import load_any, to_markdown
from maskedge_bench.reports.report_page import write_report_page
from maskedge_bench.svg_charts import Series, bars, plot

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results"
Command = Callable[..., "subprocess.CompletedProcess[str]"]
COMMITTED = sorted(RESULTS.rglob("*.json"))


def test_every_committed_report_is_shown(tmp_path: Path) -> None:
    reports = [load_any(path) for path in COMMITTED]
    assert {"accuracy", "speed", "nets", "tracking", "training", "detector", "leakage"} <= {
        report["schema"].split("/")[0].removeprefix("maskedge.") for report in reports
    }
    for path, report in zip(COMMITTED, reports, strict=True):
        text = to_markdown(report)
        assert text.startswith("# "), path
        assert "\n| --- |" in text, path
        write_report_page(tmp_path / "one.html", [report])
        assert "<table>" in (tmp_path / "one.html").read_text(encoding="utf-8"), path
    write_report_page(tmp_path / "all.html", reports)
    assert (tmp_path / "all.html").read_text(encoding="utf-8").count("<table>") >= len(reports)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "does not hold a JSON object"),
        ("{}", "is not a report of this project (it has no schema)"),
        ('{"schema": ["a"]}', "is not a report of this project (it has the schema"),
        ('{"schema": "other/1"}', "(it has the schema 'other/1')"),
        ('{"schema": "maskedge.weather/1"}', "(it has the schema 'maskedge.weather/1')"),
        ('{"schema": "maskedge.speed/3"}', "has the newer version 3 of maskedge.speed, this release reads 2: update maskedge."),
        (
            '{"schema": "maskedge.accuracy/9"}',
            "has the newer version 9 of maskedge.accuracy, this release reads 2: update maskedge.",
        ),
        (
            '{"schema": "maskedge.nets/1"}',
            "has the older schema maskedge.nets/1, this release reads maskedge.nets/2",
        ),
        ('{"schema": "maskedge.speed/2"}', "is not a report that this version reads"),
        ('{"schema": "maskedge.accuracy/2", "pipelines": [{}]}', "but is incomplete"),
        ('{"schema": "maskedge.training/1", "net": "x", "evaluations": 3}', "but is incomplete"),
        (
            '{"schema": "maskedge.training/1", "net": "x", "evaluations": [{"name": "", "pictures": 1, "accuracy": %s}]}' % 10**400,
            "but is incomplete",
        ),
        ('{"schema": "maskedge.accuracy/2", "facts": {}, "pipelines": [{}]}', "(the report.facts.machine is missing"),
        ('{"schema": "maskedge.accuracy/2", "time": 5, "pipelines": [{}]}', "(the report.time must be str, got 5)"),
        ('{"schema": "maskedge.tracking/1", "warnings": 5}', "(the report.warnings must be a list, got 5)"),
    ],
)
def test_what_is_no_report_is_one_sentence(invoke: Command, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(UsageError) as refused:
        load_any(path)
    assert words in str(refused.value)
    assert str(refused.value).startswith(str(path))
    speed = RESULTS / "speed.json"
    for arguments in (("report", path), ("check", path, "--baseline", speed), ("compare", "--accuracy", path, "--speed", speed)):
        done = invoke("edge-bench", *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {path} ")
        assert done.stderr.count("\n") == 1


def test_a_pipe_is_no_report_and_is_not_waited_for(command: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    done = command("edge-bench", "report", tmp_path / "pipe.json", timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / 'pipe.json'} cannot be read (it is not a regular file): give a report of edge-bench.\n"
    )


def test_check_and_compare_read_the_committed_reports(invoke: Command, tmp_path: Path) -> None:
    for name in ("speed", "nets"):
        done = invoke("edge-bench", "check", RESULTS / f"{name}.json", "--baseline", RESULTS / f"{name}.json")
        assert done.returncode == 0, done.stderr
        assert "0 of" in done.stdout
    for path in (RESULTS / "accuracy.json", *(RESULTS / "rotation").glob("*.json")):
        assert join(path, None)["rows"]
    # A model of the same name is not the model whose time was measured.
    other = json.loads((RESULTS / "accuracy.json").read_text())
    for row in other["pipelines"]:
        row["model_sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert join(RESULTS / "accuracy.json", RESULTS / "speed.json")["rows"]
    with pytest.raises(UsageError, match="no configuration in common"):
        join(tmp_path / "other.json", RESULTS / "speed.json")
    for key, value in (("together", {"f1": float("nan")}), ("milliseconds_p50", 10**400), ("detector", ["haar"])):
        broken = json.loads((RESULTS / "accuracy.json").read_text())
        broken["pipelines"][0][key] = value
        (tmp_path / "broken.json").write_text(json.dumps(broken))
        with pytest.raises(UsageError, match="is not a report of edge-bench accuracy that this version reads"):
            join(tmp_path / "broken.json", RESULTS / "speed.json")
    # Every kind is read by one of the two tables.
    assert not OTHER_VERSIONS.keys() & {schema.split("/")[0].removeprefix("maskedge.") for schema in SHAPES}


def test_lines_differ() -> None:
    drawn = plot([Series(f"line {number}", [(1, number), (3, 10)]) for number in range(12)], "run", "ratio", whole_x=True)
    lines = re.findall(r'<polyline [^>]*stroke="([^"]+)"[^>]*stroke-dasharray="([^"]*)"', drawn)
    assert len(set(lines)) == len(lines) == 12
    assert ">1<" in drawn
    assert ">1.5<" not in drawn
    assert plot([Series("none", [])], "x", "y") == ""
    named = plot([Series("a", [(0, 1), (10, 2), (20, 3)], names=("zero", "ten", "twenty"))], "x", "y", log_x=True)
    assert [name for name in ("zero", "ten", "twenty") if f">{name}<" in named] == ["ten", "twenty"]
    assert bars([], "ms") == ""


def test_page_of_one_report_and_of_several(tmp_path: Path) -> None:
    speed, compare = load_report(RESULTS / "speed.json"), load_report(RESULTS / "compare.json")
    compare["facts"] = speed["facts"]  # one machine is listed once
    write_report_page(tmp_path / "one.html", [speed])
    one = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert one.count("<h1>") == 1
    assert one.count(speed["title"]) == 2  # the tab's title and the page's
    # A number stays with its unit.
    assert re.search(r"<td>[\d.]+\N{NO-BREAK SPACE}ms</td>", one)
    assert not re.search(r"<td>[^<]*\d (?:ms|MB|x)\b", one)
    # On paper it is dark on light, whatever the reader prefers on the screen.
    assert "@media screen and (prefers-color-scheme: dark)" in one
    assert "@media (prefers-color-scheme: dark)" not in one
    write_report_page(tmp_path / "all.html", [speed, json.loads(json.dumps(speed)), compare])
    every = (tmp_path / "all.html").read_text(encoding="utf-8")
    assert "Side by side" in every
    assert every.count("onnxruntime " + speed["facts"]["onnxruntime"] + ":") == 1
    assert f"<h2>{compare['title']}, {compare['time'][:10]}</h2>" in every


@pytest.mark.parametrize("shape", [float, int])
def test_a_number_that_no_float_can_hold_is_a_fault(shape: type) -> None:
    assert list(problems(10**400, shape, "x")) == [
        f"x must be {'a finite number' if shape is float else 'int'}, got 1{36 * '0'}..."
    ]


def test_a_report_is_written_before_it_is_printed(tmp_path: Path) -> None:
    report = load_report(RESULTS / "compare.json")
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("w") as full, redirect_stdout(full):
        finish(report, tmp_path / "one.json")
    assert load_report(tmp_path / "one.json") == report
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("w") as full, redirect_stdout(full):
        write_json({"schema": "maskedge.tracking/1"}, tmp_path / "other.json", "a table")
    assert (tmp_path / "other.json").is_file()


def test_a_folder_with_too_long_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist: create it, or choose another output"):
        check_output(tmp_path / ("a" * 300) / "report.json")
