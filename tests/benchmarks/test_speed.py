from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskedge import SourceError
from maskedge.model import MODELS, read_catalogue
from maskedge_bench.speed import BASELINE_MODEL, PIPELINES, SCHEMA, load_frames, measure, table
from maskedge_bench.tables import update

ROOT = Path(__file__).parent.parent.parent


def test_report(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-bench", "speed", "--frames", "12", "--rounds", "2", "--json", tmp_path / "speed.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "speed.json").read_text())
    assert report["schema"] == SCHEMA
    assert [row["detector"] for row in report["pipelines"]] == ["haar-stock", "haar"]
    assert [row["model"] for row in report["pipelines"]] == ["seednet.onnx", "edgenet.onnx"]
    original, default = report["pipelines"]
    assert original["ratio_to_baseline"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert default["model_sha256"] == read_catalogue(MODELS)["edgenet.onnx"]["sha256"]
    for row in report["pipelines"]:
        assert set(row["stages_ms"]) == {"detect", "classify", "track", "total"}
        assert row["faces_a_frame"] > 0
        # The slower half of the frames has a detection in it.
        assert row["stages_ms"]["total"]["p95"] >= row["stages_ms"]["detect"]["p50"]
    assert report["facts"]["cores"] > 0
    assert table(report) in done.stdout


def test_rounds_are_interleaved() -> None:
    finished: list[int] = []
    report = measure(load_frames("demo", 3), 3, progress=finished.append)
    assert finished == [1, 2, 3]
    assert report["frames"] == 3
    assert report["rounds"] == 3


def test_baseline_is_the_original_pipeline() -> None:
    assert PIPELINES[0].detector == "haar-stock"
    assert PIPELINES[0].model == BASELINE_MODEL
    assert BASELINE_MODEL.is_file()


def test_bad_source_and_output(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SourceError):
        load_frames(str(tmp_path), 5)
    done = command("edge-bench", "speed", "--json", tmp_path / "none" / "speed.json")
    assert done.returncode == 5
    assert "does not exist" in done.stderr


def test_readme_tables_are_those_of_the_reports() -> None:
    assert update(ROOT / "README.md", ROOT / "benchmarks" / "results", check=True) == []


def test_tables_are_updated(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before <!-- table:speed -->\nold\n<!-- /table --> after")
    assert update(readme, ROOT / "benchmarks" / "results", check=False) == ["speed"]
    assert "| pipeline |" in readme.read_text()
    assert readme.read_text().endswith("<!-- /table --> after")
    assert update(readme, ROOT / "benchmarks" / "results", check=False) == []
