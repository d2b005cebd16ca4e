"""The tables of README.md, docs/results.md and docs/fleet-scale.md are those of the committed reports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from helpers.support import ROOT
from maskedge import UsageError
from maskedge_bench.reports.tables import render, update

RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "fleet-scale.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_the_tables_of_the_reports(page: Path) -> None:
    done = update(page, RESULTS, check=True)
    assert done.differing == []
    assert done.skipped == []


def test_every_table_is_on_a_page() -> None:
    marked = {name for page in PAGES for name in re.findall(r"<!-- table:(\w+) -->", page.read_text(encoding="utf-8"))}
    made, unmade = render(RESULTS)
    # The parts of one speed report, and the comparison, are shown by `edge-bench report`.
    assert {*made, *unmade} - marked == {"whole", "cost", "starts", "roofline", "compare"}


def test_summary_joins_accuracy_and_speed() -> None:
    made, _ = render(RESULTS)
    accuracy = json.loads((RESULTS / "accuracy.json").read_text())
    speed = json.loads((RESULTS / "speed.json").read_text())
    rows = [line.split(" | ") for line in made["summary"].splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["| original pipeline", "| `haar`, the default", "| `cnn`"]
    by_name = {row["name"]: row for row in speed["pipelines"]}
    for row, own in zip(rows, accuracy["pipelines"], strict=True):
        assert float(row[1]) == pytest.approx(own["together"]["f1"], abs=5.1e-4)
        assert float(row[2].rstrip("%")) == pytest.approx(100 * own["labels"]["with_mask"]["found"], abs=0.05)
        assert float(row[3]) == pytest.approx(by_name[own["name"]]["frames_per_second"]["median"], abs=0.5)
        assert float(row[4].rstrip("| ")) == pytest.approx(by_name[own["name"]]["cpu_ms"]["median"], abs=0.05)


def test_a_table_without_its_report_stays(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "results"
    results.mkdir()
    (results / "speed.json").write_bytes((RESULTS / "speed.json").read_bytes())
    page.write_text("before <!-- table:speed -->\nold\n<!-- /table --> <!-- table:nets -->\nold\n<!-- /table --> after")
    done = update(page, results, check=False)
    assert done.differing == ["speed"]
    assert len(done.skipped) == 1
    assert "there is no report" in done.skipped[0]
    assert "| pipeline |" in page.read_text()
    assert page.read_text().endswith("<!-- table:nets -->\nold\n<!-- /table --> after")
    assert update(page, results, check=False).differing == []


def test_a_report_without_a_field_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table:leakage -->\nold\n<!-- /table -->")
    path = tmp_path / "leakage.json"
    path.write_text("{}")
    done = update(page, tmp_path, check=False)
    assert done.skipped == ["table leakage: a report of the table leakage lacks a field (KeyError: 'random')."]
    path.write_text('{"random": {"accuracy": ["high"]}}')
    assert "(ValueError: " in update(page, tmp_path, check=False).skipped[0]
    assert "old" in page.read_text()


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table:nothing -->\n<!-- /table -->")
    with pytest.raises(UsageError, match="marks a table 'nothing'; known are accuracy, "):
        update(page, RESULTS, check=False)


def test_a_table_without_an_end_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "<!-- table:speed -->\nold\n\nmine\n\n<!-- table:nets -->\nold\n<!-- /table -->\n"
    page.write_text(text)
    with pytest.raises(UsageError, match="does not end the table speed: add <!-- /table --> below it"):
        update(page, RESULTS, check=False)
    assert page.read_text() == text
    page.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read as UTF-8"):
        update(page, RESULTS, check=True)


def test_notes_are_wrapped_and_rows_are_not() -> None:
    for page in PAGES:
        for table in re.findall(r"<!-- table:\w+ -->\n(.*?)\n<!-- /table -->", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            assert all(len(line) <= 100 for line in table.splitlines() if not line.startswith("|"))


def test_detector_report_has_its_own_table() -> None:
    made, _ = render(RESULTS)
    assert made["detector"].startswith("| longest side |")
    assert "edgenet" in made["training"]
    assert "| F1 at a rotation of | 0 degrees | 15 degrees |" in made["rotation"]
