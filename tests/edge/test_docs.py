"""The documents against the code: keys, flags, kinds of events, exit codes and examples are what they say."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from helpers.commands import all_commands
from helpers.support import ROOT
from maskedge import errors
from maskedge.alerts.registry import action_names, condition_names, rule_class
from maskedge.cli.config_reference import update
from maskedge.config import is_secret, load_config, section_class, section_names, sections
from maskedge.events import KINDS as EVENTS
from maskedge.sinks.mqtt.sink import MqttConfig
from maskedge_fleet.settings import load_settings

PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
RECIPES = sorted((ROOT / "train" / "recipes").glob("*.sh"))
# Of other programs.
FOREIGN = {
    *("--system-site-packages", "--upgrade", "--extra-index-url", "--index-url", "--find-links", "--inline", "--listen"),
    *("--no-compile", "--device", "--platform", "--group-add", "--profile", "--entrypoint", "--no-healthcheck"),
    *("--nnodes", "--nproc-per-node", "--rdzv-endpoint", "--logdir"),
}

TRIALS = {
    "TinyNet": """
import torch
from maskedge_train.classifier.nets import build
assert build("tinynet", 4)(torch.zeros(2, 3, 64, 64)).shape == (2, 4)
print("works")
""",
    "CentreDetector": """
import numpy as np
from maskedge import MaskDetector
from maskedge.vision.detectors import load_detector
assert len(load_detector("centre").detect(np.zeros((90, 90, 3), np.uint8))) == 1
assert MaskDetector(detector=load_detector("centre"))(np.zeros((90, 90, 3), np.uint8)) == []
print("works")
""",
    "NoiseSource": """
from maskedge import sources
sources.RECORDED_KINDS = (*sources.RECORDED_KINDS, KIND)
assert [frame.index for frame in sources.open_source("noise").frames()] == list(range(100))
print("works")
""",
    "CountSink": """
import sys
from maskedge import sinks
from maskedge.cli.run import main
sys.modules["own"] = sys.modules["__main__"]
sinks.SINKS.append("own:CountSink")
Path("edge.toml").write_text('[count]\\nfile = "count.txt"')
try:
    main(["--source", "demo", "--max-frames", "2", "--no-show", "--quiet", "--config", "edge.toml"])
except SystemExit as end:
    assert end.code == 0
assert int(Path("count.txt").read_text()) >= 0
print("works")
""",
    "NobodyVisible": """
from maskedge.alerts import conditions
from maskedge.alerts.registry import check_rules, rule_class
from maskedge.zones import Zones
conditions.CONDITIONS.append(NobodyVisible)
rule = rule_class()(name="empty", when="nobody_visible", seconds=5.0)
check_rules([rule], Zones())
condition = NobodyVisible(rule)
assert condition.observe(0.0, []) is None
assert condition.observe(5.0, []) == {}
print("works")
""",
    "BellAction": """
from maskedge.alerts import registry
from maskedge.zones import Zones
registry.ACTIONS.append(BellAction)
registry.check_rules([registry.rule_class()(name="door", when="camera_lost", actions=("bell",))], Zones())
print("works")
""",
}
"""What proves each example of CONTRIBUTING.md, by the name of its class."""
# Commands that do nothing without one of their own.
GROUPS = ("edge-train", "edge-bench")


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language, a regular expression."""
    fences = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text, flags=re.MULTILINE)
    return [content for own, content in fences if re.fullmatch(language, own)]


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command of the project."""
    return {
        name: {"--help"} | {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in all_commands()
    }


def test_tables_of_the_configuration_page_are_generated() -> None:
    page = read("configuration.md")
    assert page == update(page), "run `make docs`"
    assert "| `every` | `5` | 1 to 10000 |" in page
    assert "| `webhook` | not set | |" in page
    secrets = [entry for cls in sections().values() for entry in fields(cls) if is_secret(entry)]
    assert secrets
    assert all(entry.default in (None, ()) for entry in secrets), "a default would be printed"


def test_pages_of_mqtt_and_alerts_name_every_field() -> None:
    for page, cls in (("mqtt.md", MqttConfig), ("alerts.md", rule_class())):
        text = read(page)
        missing = [entry.name for entry in fields(cls) if f"`{entry.name}`" not in text and f"{entry.name} =" not in text]
        assert missing == [], page
    assert all(f"| `{kind}` |" in read("alerts.md") for kind in (*condition_names(), *action_names()[:4]))


def test_keys_that_pages_mention_exist() -> None:
    known = {f"{section}.{entry.name}" for section in section_names() for entry in fields(section_class(section))}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        mentioned = {name for name in re.findall(r"`([a-z]+\.[a-z_]+)`", text) if name.split(".")[0] in section_names()}
        # What ends like a file is one, and some sections are called like modules.
        wrong = {
            name for name in mentioned - known if name.rsplit(".")[-1] not in ("json", "jsonl", "md", "csv", "onnx", "py", "toml")
        }
        assert not wrong, page.name


def test_examples_of_configurations_load(tmp_path: Path) -> None:
    count = 0
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "toml"):
            if re.match(r"name = ", block):
                continue  # an adapter of a benchmark
            (tmp_path / "edge.toml").write_text(block)
            if set(re.findall(r"^\[+(\w+)", block, flags=re.MULTILINE)) <= {*section_names(), "alerts", "camera", "line"}:
                load_config(tmp_path / "edge.toml", {})
            else:
                load_settings(tmp_path / "edge.toml")
            count += 1
    assert count >= 5


def test_options_that_pages_mention_exist(options: dict[str, set[str]]) -> None:
    every = set().union(*options.values())
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        inline = {flag for code in re.findall(r"`([^`\n]+)`", text) for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code)}
        assert inline - every - FOREIGN == set(), page.name
        for block in blocks(text, "(?:sh|bash)?"):
            for line in block.replace("\\\n", " ").splitlines():
                check_line(line, options, page.name)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_recipes_are_scripts_of_commands_and_options_that_exist(recipe: Path, options: dict[str, set[str]]) -> None:
    bash = shutil.which("bash")
    assert bash
    subprocess.run([bash, "-n", recipe], check=True)
    text = recipe.read_text(encoding="utf-8")
    assert "\nset -euo pipefail\n" in text
    if recipe.name != "common.sh":
        assert text.startswith("#!/usr/bin/env bash\n# ")
        assert recipe.stat().st_mode & 0o111, "not executable"
        assert re.search(r"^ *(edge-\w+|make) ", text, flags=re.MULTILINE)
    # Arrays of options go where they are used.
    shared = (ROOT / "train" / "recipes" / "common.sh").read_text(encoding="utf-8")
    for name, content in re.findall(r"^(\w+)=\((.*?)\)$", f"{shared}\n{text}", flags=re.MULTILINE | re.DOTALL):
        text = text.replace(f'"${{{name}[@]}}"', " ".join(content.split()))
    assert "[@]" not in text
    for line in text.replace("\\\n", " ").splitlines():
        check_line(line, options, recipe.name)


def test_recipes_use_the_settings_that_they_share() -> None:
    common = (ROOT / "train" / "recipes" / "common.sh").read_text(encoding="utf-8")
    known = {*re.findall(r"^(?:: \"\$\{)?([A-Z_]+):?=", common, flags=re.MULTILINE)}
    for recipe in RECIPES:
        text = recipe.read_text(encoding="utf-8")
        own = {*re.findall(r"^([A-Z]+)=\(", text, flags=re.MULTILINE), "BASH_SOURCE", "PWD"}
        assert {*re.findall(r"\$\{?([A-Z_]+)", text)} - known - own == set(), recipe.name


def test_every_model_and_report_has_a_recipe() -> None:
    recipes = "\n".join(recipe.read_text(encoding="utf-8") for recipe in RECIPES)
    for path in (*(ROOT / "edge" / "maskedge" / "models").glob("*.[ox]*"), *(ROOT / "benchmarks" / "results").rglob("*.json")):
        # Numbers and names in a loop are variables there.
        name = re.sub(r"-(\d|haar|cnn)\.", r"-$seed.", path.name) if path.parent.name != "rotation" else "rotation/$degrees.json"
        in_loops = (f"{path.parent.name}/$net.json", f"{path.parent.name}/$source.json")
        assert any(one in recipes for one in (name, name.replace("$seed", "$detector"), *in_loops)), path.name


def test_readme_is_short_and_its_example_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.encode()) <= 9000
    (example,) = blocks(readme, "python")
    # One frame of the clip instead of all 300.
    example = example.replace('"demo"', repr(str(ROOT / "docs" / "demo.jpg")))
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert re.match(r"\d+ \(.*\) with(out)?_mask 0\.\d+\n", done.stdout)


def test_readme_maps_every_folder_of_the_tree() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tree,) = [block for block in blocks(readme, "") if block.startswith("edge/maskedge/")]
    named = {name.rstrip("/") for line in tree.splitlines() for name in re.findall(r"([\w/]+)/(?=[\s,])", line)}
    layers = {path.parent.name for path in (ROOT / "edge" / "maskedge").glob("*/__init__.py")} | {"models"}
    parts = {"train", "export", "benchmarks", "fleet", "workstation", "tests", "docs"}
    assert {path for path in parts if not (ROOT / path).is_dir()} == set()
    assert layers | parts <= {name.rsplit("/")[-1] for name in named}


def check_line(line: str, options: dict[str, set[str]], page: str) -> None:
    """Compare the command and options of a line with those that exist."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return
    for start, word in enumerate(words):
        # `edge-fleet rollout start` is a command of a group of commands.
        three = " ".join(words[start : start + 3])
        both = three if three in options else " ".join(words[start : start + 2])
        if word in options:
            # `edge-train FOLDER` is short for `edge-train classifier FOLDER`.
            if word in GROUPS and word != "edge-train" and both not in options:
                assert start + 1 == len(words) or words[start + 1].startswith("-"), f"{page}: no command {both!r} in {line}"
            used = {one.split("=")[0] for one in words[start + 1 :] if re.fullmatch(r"--[a-z][a-z0-9-]*(=.*)?", one)}
            # `edge-export FILE` is a command without a name.
            known = (
                options[both] if both in options else set().union(*(own for key, own in options.items() if key.startswith(word)))
            )
            assert used <= known, f"{page}: {line}"


def test_contracts_name_every_event_and_exit_code() -> None:
    text = read("contracts.md")
    table = text[text.index("## Kinds of events") : text.index("## The state of a run")]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)))) - {"event"} == set(EVENTS)
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, flags=re.MULTILINE) for code in row.split(",")}
    assert codes == {0, 1, 130, 143} | {kind.exit_code for kind in errors.MaskedgeError.__subclasses__()}


EXAMPLES = blocks((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "python")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: re.findall(r"^class (\w+)", example, flags=re.MULTILINE)[-1])
def test_parts_of_the_contributing_page_run(example: str, tmp_path: Path) -> None:
    if "maskedge_train" in example:
        pytest.importorskip("torch")
    name = re.findall(r"^class (\w+)", example, flags=re.MULTILINE)[-1]
    script = tmp_path / "example.py"
    script.write_text(f"{example}\n{TRIALS[name]}")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "works\n"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as repository hosts make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"
