"""The page of the reports: what is drawn and how it is set."""

from __future__ import annotations

import json
import re
from pathlib import Path

from maskedge_bench.charts import Series, bars, plot
from maskedge_bench.page import write_report_page
from maskedge_bench.report import load_report

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results"


def test_lines_differ() -> None:
    drawn = plot([Series(f"line {number}", [(1, number), (3, 10)]) for number in range(12)], "run", "ratio", whole_x=True)
    lines = re.findall(r'<polyline [^>]*stroke="([^"]+)"[^>]*stroke-dasharray="([^"]*)"', drawn)
    assert len(set(lines)) == len(lines) == 12
    assert ">1<" in drawn
    assert ">1.5<" not in drawn
    assert plot([Series("none", [])], "x", "y") == ""
    assert bars([], "ms") == ""


def test_page_of_one_report_and_of_several(tmp_path: Path) -> None:
    speed, compare = load_report(RESULTS / "speed.json"), load_report(RESULTS / "compare.json")
    compare["facts"] = speed["facts"]  # those of one machine are told once
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
