"""The files for Grafana and Prometheus: their structure."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.monitoring.dashboards import ALERTING, DASHBOARDS, DEPLOY, RULES, load, panels

SOURCES = {
    source["uid"]: source["type"]
    for path in (DEPLOY / "grafana" / "provisioning" / "datasources").glob("*.yaml")
    for source in load(path)["datasources"]
}
KNOWN_PANELS = {"stat", "timeseries", "table", "bargauge", "state-timeline"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_has_the_structure_that_grafana_reads(path: Path) -> None:
    board = load(path)
    assert board["schemaVersion"] == 39
    assert board["uid"] == f"maskedge-{path.stem}"
    assert board["title"] == f"maskedge: {path.stem}"
    ids = Counter(panel["id"] for panel in board["panels"])
    assert max(ids.values()) == 1
    for panel in panels(board):
        assert panel["type"] in KNOWN_PANELS
        assert panel["title"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for part in (panel, *panel["targets"]):
            assert SOURCES[part["datasource"]["uid"]] == part["datasource"]["type"]
    for variable in board["templating"]["list"]:
        assert SOURCES[variable["datasource"]["uid"]] == variable["datasource"]["type"]
        assert f"${variable['name']}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_do_not_overlap(path: Path) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in load(path)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update((x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"]))
    assert max(taken.values()) == 1


def test_identifiers_are_unique() -> None:
    boards = [load(path)["uid"] for path in DASHBOARDS]
    assert len(set(boards)) == len(boards) == 3
    rules = [rule["uid"] for group in load(ALERTING)["groups"] for rule in group["rules"]]
    assert len(set(rules)) == len(rules)


def test_alert_rules_of_grafana_have_a_query_and_a_bound() -> None:
    for group in load(ALERTING)["groups"]:
        for rule in group["rules"]:
            query, bound = rule["data"]
            assert query["datasourceUid"] in SOURCES
            assert bound["datasourceUid"] == "__expr__"
            assert bound["model"]["type"] == "threshold"
            assert bound["model"]["expression"] == query["refId"]
            assert rule["condition"] == bound["refId"]
            assert rule["annotations"]["summary"]


def test_promtool_accepts_rules_and_configuration(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("prometheus is not installed (promtool)")
    subprocess.run([promtool, "check", "rules", *map(str, RULES)], check=True, capture_output=True)
    done = subprocess.run(
        [promtool, "test", "rules", Path(__file__).with_name("rules.test.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    content: dict[str, Any] = load(DEPLOY / "prometheus" / "prometheus.yml")
    for job in content["scrape_configs"]:
        # promtool looks for the files of the tokens.
        token = tmp_path / Path(job["authorization"]["credentials_file"]).name
        token.write_text("token")
        job["authorization"]["credentials_file"] = str(token)
    (tmp_path / "rules").symlink_to(DEPLOY / "prometheus" / "rules")
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "maskedge-shop.json").write_text('[{"targets": ["door:8080"], "labels": {"site": "shop 1"}}]')
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(content))
    subprocess.run([promtool, "check", "config", "prometheus.yml"], cwd=tmp_path, check=True, capture_output=True)
