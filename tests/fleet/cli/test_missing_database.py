"""Commands that need a database with tables do not create one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from helpers.commands import load_command
from maskedge.modelfile.key_files import write_key_pair

Invoke = Callable[..., "subprocess.CompletedProcess[str]"]

BROKER = ("--broker", "mqtt://127.0.0.1:9")
NEED_DATABASE = {
    "token list": (),
    "token revoke": ("Ada",),
    "rollout add": ("model.onnx",),
    "rollout models": (),
    "rollout start": ("3f9a1c22",),
    "rollout status": (),
    "rollout pause": ("1",),
    "rollout resume": ("1",),
    "rollout halt": ("1",),
    "rollout back": ("1",),
    "command": ("door", "reload"),
    "ingest": BROKER,
    "simulate": ("1", *BROKER),
}
"""Arguments of each command that needs a database with tables."""
CREATE_DATABASE = {"serve", "web", "migrate", "token create"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, keys and a `fleet.toml`."""
    monkeypatch.chdir(tmp_path)
    public, _ = write_key_pair(tmp_path / "fleet.pem")
    for name in ("model.onnx", "model.onnx.sig"):
        (tmp_path / name).write_text("content")
    (tmp_path / "fleet.toml").write_text(f"[server]\ncommand_key = 'fleet.pem'\n[models]\ntrusted_keys = ['{public}']\n")
    return tmp_path


def commands_with_a_database(name: str, command: click.Command) -> Iterator[str]:
    """Yield the names of a command and its subcommands that have the option --database."""
    if any(parameter.name == "database" for parameter in command.params):
        yield name
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from commands_with_a_database(f"{name} {inner}".strip(), found)


def with_config(name: str) -> tuple[str, ...]:
    return () if name == "simulate" else ("--config", "fleet.toml")


def test_each_command_with_a_database_either_needs_or_creates_it() -> None:
    assert {*commands_with_a_database("", load_command("edge-fleet"))} == {*NEED_DATABASE} | CREATE_DATABASE


@pytest.mark.parametrize("name", NEED_DATABASE)
def test_a_missing_file_is_refused_and_not_created(invoke: Invoke, folder: Path, name: str) -> None:
    before = {*folder.iterdir()}
    for path in ("typo.sqlite3", "nowhere/typo.sqlite3"):
        arguments = (*NEED_DATABASE[name], *with_config(name), "--database", f"sqlite:///{path}")
        result = invoke("edge-fleet", *name.split(), *arguments)
        assert (result.returncode, result.stdout) == (5, "")
        assert result.stderr == (
            f"error: there is no database {path}: give --database or --config, or create it with edge-fleet migrate.\n"
        )
    assert {*folder.iterdir()} == before


def test_the_default_file_is_not_created_either(invoke: Invoke, folder: Path) -> None:
    result = invoke("edge-fleet", "token", "list")
    assert (result.returncode, "there is no database fleet.sqlite3" in result.stderr) == (5, True)
    assert not (folder / "fleet.sqlite3").exists()


@pytest.mark.parametrize("name", ["token list", "token revoke", "rollout status"])
def test_an_empty_file_is_refused_and_left_empty(invoke: Invoke, folder: Path, name: str) -> None:
    file = folder / "empty.sqlite3"
    file.touch()
    result = invoke("edge-fleet", *name.split(), *NEED_DATABASE[name], "--database", "sqlite:///empty.sqlite3")
    assert (result.returncode, "run edge-fleet migrate" in result.stderr, result.stderr.count("\n")) == (5, True, 1)
    created = invoke("edge-fleet", "token", "create", "Ada", "--database", "sqlite:///empty.sqlite3")
    assert (created.returncode, "created the database sqlite:///empty.sqlite3" in created.stderr) == (0, True)
    assert not invoke("edge-fleet", "token", "create", "Bob", "--database", "sqlite:///empty.sqlite3").stderr
    assert "Ada" in invoke("edge-fleet", "token", "list", "--database", "sqlite:///empty.sqlite3").stdout


@pytest.mark.parametrize("arguments", [("migrate",), ("token", "create", "Ada")])
def test_the_first_step_creates_the_file(invoke: Invoke, folder: Path, arguments: tuple[str, ...]) -> None:
    assert invoke("edge-fleet", *arguments).returncode == 0
    assert (folder / "fleet.sqlite3").stat().st_mode & 0o077 == 0
    assert invoke("edge-fleet", "token", "list").returncode == 0
