from __future__ import annotations

import json
from pathlib import Path


def test_the_history_is_measured(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command(
        *("edge-bench", "history", "--cameras", "2", "--days", "2", "--seconds", "1", "--json", tmp_path / "history.json")
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "history.json").read_text())
    assert report["schema"] == "maskedge.history/1"
    assert 0 < report["megabytes_a_camera_month"] < 4
    assert [query["span"] for query in report["queries"]] == ["hour", "day", "week", "month"]
    assert [query["rows"] for query in report["queries"]][:2] == [120, 48]
    assert 0 < report["cpu_share"] < 0.5
    assert "2 cameras, 2 days" in done.stdout
