"""compose.yaml: what each profile starts, and the role with which Grafana reads the database."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from helpers.monitoring.dashboards import DEPLOY, load
from helpers.postgres import PostgreSQL
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate

SERVICES: dict[str, Any] = load(DEPLOY / "compose.yaml")["services"]


@pytest.mark.parametrize("profile", ["device", "monitoring", "fleet"])
def test_what_a_service_waits_for_is_of_its_profile(profile: str) -> None:
    started = {name for name, service in SERVICES.items() if profile in service["profiles"]}
    for name in started:
        assert {*SERVICES[name].get("depends_on", {})} <= started, name
    ports = [port for name in started for port in SERVICES[name].get("ports", [])]
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_grafana_has_the_rules_on_the_database_only_where_the_database_is() -> None:
    mounted = {name: " ".join(map(str, SERVICES[name]["volumes"])) for name in ("grafana", "grafana-fleet")}
    environment = SERVICES["grafana-fleet"]["environment"]
    assert not any(word in mounted["grafana"] for word in ("alerting", "postgresql", "provisioning:", "fleet", "site"))
    assert "provisioning:/etc" in mounted["grafana-fleet"]
    assert environment["MASKEDGE_POSTGRES_USER"] == "grafana"
    assert "postgres" in SERVICES
    assert SERVICES["postgres"]["profiles"] == SERVICES["reader"]["profiles"] == SERVICES["grafana-fleet"]["profiles"] == ["fleet"]


def test_the_role_of_grafana_reads_counts_and_no_secrets(postgresql: PostgreSQL, tmp_path: Path) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed (Debian package postgresql-client)")
    url = make_url(postgresql.create_database())
    engine = open_engine(url.render_as_string())
    migrate(engine)
    engine.dispose()
    address = f"host={url.query['host']} dbname={url.database}"
    (tmp_path / "postgres").write_text("unused\n")
    for name in ("compose/reader.sh", "compose/reader.sql", "grafana/grants.sql"):
        text = (DEPLOY / name).read_text().replace("/secrets", str(tmp_path)).replace("/reader.sql", str(tmp_path / "reader.sql"))
        (tmp_path / Path(name).name).write_text(text)
    environment = {"PATH": "/usr/bin:/bin", "PGHOST": str(url.query["host"]), "PGUSER": "postgres", "PGDATABASE": str(url.database)}
    passwords = set()
    for secret in ("it's one", "two"):
        (tmp_path / "reader").write_text(f"{secret}\n")
        done = subprocess.run(["sh", tmp_path / "reader.sh"], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        with psycopg.connect(f"{address} user=postgres") as connection:
            row = connection.execute("SELECT rolsuper, rolpassword FROM pg_authid WHERE rolname = 'grafana'").fetchone()
        assert row is not None
        assert not row[0]
        passwords.add(row[1])
    assert len(passwords) == 2
    with psycopg.connect(f"{address} user=grafana", autocommit=True) as connection:
        connection.execute("SELECT count(*) FROM minute_counts")
        connection.execute("SELECT name, release FROM model")
        for statement in (b"SELECT hash FROM token", b"SELECT content FROM model", b"SELECT * FROM command"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        for statement in (b"CREATE TABLE own (number integer)", b"DELETE FROM event"):
            with pytest.raises((psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)):
                connection.execute(statement)
    postgresql.execute("DROP OWNED BY grafana", str(url.database))
    postgresql.execute("DROP ROLE grafana")
