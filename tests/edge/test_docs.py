"""The documents against the code: keys, flags, kinds of events, exit codes and examples are what they say."""

from __future__ import annotations

import re
import shlex
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

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
# Of other programs.
FOREIGN = {
    *("--system-site-packages", "--upgrade", "--extra-index-url", "--index-url", "--inline", "--listen"),
    *("--nnodes", "--nproc-per-node", "--rdzv-endpoint", "--logdir"),
}


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Give the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


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
    assert all(entry.default is None for entry in secrets), "a default would be printed"


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
        wrong = {name for name in mentioned - known if name.rsplit(".")[-1] not in ("json", "md", "csv", "onnx", "py", "toml")}
        assert not wrong, page.name


def test_examples_of_configurations_load(tmp_path: Path) -> None:
    count = 0
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "toml"):
            if re.match(r"name = ", block):
                continue  # an adapter of a benchmark
            (tmp_path / "edge.toml").write_text(block)
            load_config(tmp_path / "edge.toml", {})
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


def check_line(line: str, options: dict[str, set[str]], page: str) -> None:
    """Compare the options of a command line with those of its command."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return
    for start, word in enumerate(words):
        both = " ".join(words[start : start + 2])
        if word in options:
            used = {one.split("=")[0] for one in words[start + 1 :] if re.fullmatch(r"--[a-z][a-z0-9-]*(=.*)?", one)}
            # `edge-export FILE` is a command without a name.
            known = (
                options[both] if both in options else set().union(*(own for key, own in options.items() if key.startswith(word)))
            )
            assert used <= known, f"{page}: {line}"


def test_contracts_name_every_event_and_exit_code() -> None:
    text = read("contracts.md")
    table = text[text.index("## What happens") : text.index("## The state of a run")]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)))) - {"event"} == set(EVENTS)
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, flags=re.MULTILINE) for code in row.split(",")}
    assert codes == {0, 1, 130, 143} | {kind.exit_code for kind in errors.MaskedgeError.__subclasses__()}


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
