from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, inspect, make_url, text

from helpers.postgres import PostgreSQL
from helpers.support import command_line
from maskedge.errors import OutputError, UsageError
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import check_current, current_revision, migrate, newest_revision
from maskedge_fleet.database.tables import Base
from maskedge_fleet.database.timescale import TABLES, hypertables, missing_timescale, use_timescale
from maskedge_fleet.settings import DatabaseConfig, Settings

Invoke = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_migrations_make_the_tables_of_the_program(database: str) -> None:
    engine = open_engine(database)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    check_current(engine)
    engine.dispose()


def test_the_migrations_go_down_and_up_again(database: str) -> None:
    engine = open_engine(database)
    migrate(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert current_revision(engine) is None
    migrate(engine)
    assert {*Base.metadata.tables} < {*inspect(engine).get_table_names()}
    assert current_revision(engine) == newest_revision()
    engine.dispose()


def test_an_empty_database_is_refused_with_the_remedy(empty_database: str) -> None:
    engine = open_engine(empty_database)
    with pytest.raises(OutputError, match="run edge-fleet migrate"):
        check_current(engine)
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused_by_each_command(database: str, invoke: Invoke) -> None:
    engine = open_engine(database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for command in (["migrate"], ["ingest", "--broker", "mqtt://127.0.0.1:9"]):
        result = invoke("edge-fleet", *command, "--database", database)
        assert result.returncode == 5
        assert "made by a newer version" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_several_programs_may_migrate_at_the_same_time(empty_database: str) -> None:
    command = command_line(["edge-fleet", "migrate", "--database", empty_database])
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    outputs = [program.communicate(timeout=60)[0] for program in programs]
    assert [program.returncode for program in programs] == [0, 0], outputs
    engine = open_engine(empty_database)
    check_current(engine)
    engine.dispose()


def test_an_interrupted_migration_changes_nothing(empty_database: str) -> None:
    engine = open_engine(empty_database)

    @event.listens_for(engine, "before_cursor_execute")
    def _interrupt(_: object, __: object, statement: str, *___: object) -> None:
        if "CREATE TABLE minute_counts" in statement:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(engine)
    event.remove(engine, "before_cursor_execute", _interrupt)
    assert inspect(engine).get_table_names() == []
    migrate(engine)
    check_current(engine)
    engine.dispose()


def test_migrate_names_the_revisions_and_hides_the_password(empty_database: str, invoke: Invoke) -> None:
    address = empty_database.replace("postgres@", "postgres:secret@")
    result = invoke("edge-fleet", "migrate", "--database", address)
    assert result.returncode == 0, result.stderr
    assert f"empty -> {newest_revision()}" in result.stdout
    assert "secret" not in result.stdout + result.stderr


def test_a_password_in_the_query_of_the_url_is_hidden(invoke: Invoke, tmp_path: Path) -> None:
    url = f"postgresql+psycopg://user@/name?host={tmp_path}&password=secret1&sslpassword=secret2"
    result = invoke("edge-fleet", "migrate", "--database", url)
    assert (result.returncode, "cannot be used" in result.stderr, "secret" in result.stderr) == (5, True, False)
    assert {"secret1", "secret2"} <= Settings(database=DatabaseConfig(url)).secrets()


@pytest.mark.parametrize("revision", ["nonsense", "+1", "", "0001:0002"])
def test_an_unknown_revision_is_refused_and_changes_nothing(invoke: Invoke, tmp_path: Path, revision: str) -> None:
    database = "--database", f"sqlite:///{tmp_path}/fleet.sqlite3"
    invoke("edge-fleet", "migrate", *database)
    result = invoke("edge-fleet", "migrate", *database, "--revision", revision)
    assert (result.returncode, "use head, base" in result.stderr, result.stderr.count("\n")) == (2, True, 1)
    assert invoke("edge-fleet", "token", "list", *database).returncode == 0


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_is_refused_with_the_remedy(postgresql: PostgreSQL, invoke: Invoke, encoding: str) -> None:
    name = f"encoded_{encoding.lower()}"
    postgresql.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    url = postgresql.create_database()
    address = url.replace(make_url(url).database or "", name)
    for command in (("migrate",), ("token", "create", "Ada")):
        result = invoke("edge-fleet", *command, "--database", address)
        assert (result.returncode, f"has the encoding {encoding}" in result.stderr) == (5, True), result.stderr
        assert "createdb --encoding UTF8" in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    ["mysql://host/name", "postgresql://host:port/name", "sqlite:///caf\udce9", "nonsense", "sqlite://", "sqlite:///:memory:"],
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--database"):
        open_engine(url)


def test_a_file_that_cannot_be_created_is_an_error_of_one_sentence(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("edge-fleet", "migrate", "--database", f"sqlite:///{tmp_path}/{'x' * 300}")
    assert (result.returncode, "cannot be used" in result.stderr, result.stderr.count("\n")) == (5, True, 1)


def test_a_database_that_does_not_answer_is_named(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("edge-fleet", "migrate", "--database", f"postgresql://user:secret@/name?host={tmp_path}")
    assert result.returncode == 5
    assert "cannot be used" in result.stderr
    assert "secret" not in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_sqlite_file_is_readable_for_its_user_only(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/fleet.sqlite3")
    migrate(engine)
    engine.dispose()
    assert (tmp_path / "fleet.sqlite3").stat().st_mode & 0o077 == 0


def test_the_tables_for_timescale_have_its_columns_in_the_primary_key() -> None:
    for table, (time, segment, _, _) in TABLES.items():
        assert {time, segment} <= {*Base.metadata.tables[table].primary_key.columns.keys()}


def test_without_timescale_the_reason_is_named(database: str) -> None:
    engine = open_engine(database)
    reason = missing_timescale(engine)
    if reason is None:
        pytest.skip("TimescaleDB is installed")
    assert use_timescale(engine) == reason
    assert hypertables(engine) == set()
    engine.dispose()


def test_timescale_divides_the_tables_of_counts_and_messages(database: str) -> None:
    engine = open_engine(database)
    reason = missing_timescale(engine)
    if reason is not None:
        engine.dispose()
        pytest.skip(f"no TimescaleDB: {reason}")
    assert use_timescale(engine) is None
    assert use_timescale(engine) is None
    assert hypertables(engine) == {*TABLES}
    engine.dispose()
