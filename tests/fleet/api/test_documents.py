"""docs/fleet-api.md agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.support import ROOT
from maskedge.cli.config_reference import insert
from maskedge_fleet.settings import load_settings
from maskedge_fleet.settings_reference import reference

from .conftest import Api

PAGE = (ROOT / "docs" / "fleet-api.md").read_text(encoding="utf-8")


def test_tables_of_settings_are_generated() -> None:
    assert insert(PAGE, reference()) == PAGE, "run `make docs`"


def test_examples_of_settings_load(tmp_path: Path) -> None:
    examples = [block for block in re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL) if block.startswith("[")]
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "fleet.toml").write_text(example)
        load_settings(tmp_path / "fleet.toml")


def test_every_endpoint_is_in_the_table(lite_api: Api) -> None:
    table = PAGE[PAGE.index("| endpoint |") : PAGE.index("**Lists**")]
    named = set(re.findall(r"/([a-z]+)", table))
    paths = lite_api.client.get("/api/v1/openapi.json").json()["paths"]
    words = {part for path in paths if path.startswith("/api/v1/") for part in path.split("/")[3:] if "{" not in part}
    assert words - named <= {"session"}


def test_every_metric_is_named(lite_api: Api) -> None:
    headers = {"Authorization": f"Bearer {lite_api.tokens['viewer']}"}
    content = lite_api.client.get("/metrics", headers=headers).text
    names = set(re.findall(r"^(maskedge_\w+)", content, flags=re.MULTILINE)) - {"maskedge_fleet_build_info"}
    assert len(names) >= 5
    assert [name for name in names if name not in PAGE] == []
