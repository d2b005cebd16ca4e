"""The history as a user meets it: kept by edge-run, printed by `edge-run history`, answered over HTTP, shown on the page."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.streams import until
from helpers.support import command_line, environment, free_port
from helpers.web_run import Run
from maskedge.history.records import Count, Series, StoredEvent
from maskedge.history.store import Store


def edge_run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    line = command_line(["edge-run", *arguments])
    return subprocess.run(line, capture_output=True, text=True, env=environment(variables), timeout=120, check=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The last three hours of two cameras."""
    path = tmp_path_factory.mktemp("history") / "history.sqlite3"
    store, now = Store(path), time.time()
    for minute in range(180):
        for camera in ("door", "hall & <b>"):
            masked = Count(Series(camera, label="with_mask"), 30.0 + minute % 20, 1)
            store.add(now - 60 * minute, [Count(Series(camera), 60.0), masked, Count(Series(camera, label="without_mask"), 10.0)])
    store.close()
    yield path


def test_a_killed_run_keeps_its_counts_and_the_next_run_continues(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    line = ["edge-run", "--source", "demo", "--live", "--loop", "--no-show", "--quiet", "--history", path]
    process = subprocess.Popen(command_line(line), env=environment())
    try:
        until(lambda: len(edge_run("history", "--file", path).stdout.splitlines()) > 1, 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = edge_run("--source", "demo", "--live", "--no-show", "--max-frames", "60", "--history", path)
    assert done.returncode == 0, done.stderr
    printed = edge_run("history", "--file", path, "--hour", "--csv", "--camera", "camera")
    assert printed.returncode == 0, printed.stderr
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert {row["label"] for row in rows} >= {"with_mask", "without_mask"}
    # Ten seconds of the run that was killed, and two of the next one.
    assert sum({row["time"]: float(row["observed_s"]) for row in rows}.values()) > 10
    assert sum(float(row["face_s"]) for row in rows) > 10
    assert sum(int(row["people"]) for row in rows) > 0


def test_the_command_prints_a_table_from_the_file_of_the_configuration(path: Path, tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(f"[history]\nfile = {json.dumps(str(path))}\n", encoding="utf-8")
    for arguments in (("--config", config), ("--file", path)):
        done = edge_run("history", *arguments, "--day", TZ="Europe/Berlin")
        assert done.returncode == 0, done.stderr
        head, *lines = done.stdout.splitlines()
        assert head.split()[:2] == ["time", "camera"]
        assert len(lines) in (6, 8), "three hours of two cameras, or parts of four"
    assert "no events in this range" in edge_run("history", "--file", path, "--events").stdout
    assert "door" in edge_run("history", MASKEDGE_HISTORY_FILE=str(path)).stdout


def test_an_empty_answer_says_which_names_the_history_has(path: Path) -> None:
    for option, words in (("--camera", "no camera 'dor'; its cameras: door, hall"), ("--zone", "no zone 'dor'; its zones: none")):
        done = edge_run("history", "--file", path, option, "dor")
        assert (done.returncode, done.stdout) == (0, "no counts in this range\n")
        assert words in done.stderr
    assert edge_run("history", "--file", path, "--zone", "*").stderr == ""
    assert edge_run("history", "--file", path, "--camera", "door", "--to", "2001-01-01").stderr == ""


def test_events_that_are_left_out_are_noted(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite3")
    for number in range(1001):
        store.add_event(StoredEvent(time.time() - number, "door", "alert", {}))
    store.close()
    done = edge_run("history", "--file", tmp_path / "history.sqlite3", "--events")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1001)
    assert "only the newest 1000 events are shown" in done.stderr
    done = edge_run("history", "--file", tmp_path / "history.sqlite3", "--events", "--zone", "till")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--events takes no --zone" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--file", "/no/such/file"), 5, "there is no history /no/such/file"),
        ((), 2, "give --file FILE"),
        (("--file", "x", "--config", "y"), 2, "exclude each other"),
        (("--day", "--from", "2026-01-01"), 2, "exclude each other"),
        (("--from", "soon"), 2, "from is a time"),
        (("--bucket", "year"), 2, "bucket is one of"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], code: int, words: str) -> None:
    done = edge_run("history", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_options_of_a_run_are_refused_before_the_sub_command() -> None:
    done = edge_run("--camera", "0", "history")
    assert done.returncode == 2
    assert "takes its options after 'history'" in done.stderr
    assert "history" in edge_run("--help").stdout


def test_a_file_that_is_no_history_ends_the_run_at_its_start_and_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    path.write_bytes(b"important notes\n" * 1000)
    done = edge_run("--source", "demo", "--live", "--no-show", "--max-frames", "9", "--history", path)
    assert done.returncode == 5
    assert "is not a history: name another file" in done.stderr
    assert path.read_bytes() == b"important notes\n" * 1000


def test_a_pipe_as_history_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = edge_run("--source", "demo", "--no-show", "--max-frames", "9", "--history", tmp_path / "pipe")
    assert done.returncode == 5
    assert "pipe is not a history: name another file" in done.stderr


def test_the_file_of_another_output_is_refused(tmp_path: Path) -> None:
    done = edge_run("--source", "demo", "--live", "--no-show", "--history", tmp_path / "x", "--events", tmp_path / "x")
    assert done.returncode == 2
    assert "are the same file" in done.stderr


@pytest.mark.network
def test_the_api_answers_with_json_and_csv(path: Path) -> None:
    with Run(frames=False, history=path) as run:
        code, headers, content = run.get("/api/history?bucket=hour&camera=door")
        answer = json.loads(content)
        assert (code, headers["Content-Type"]) == (200, "application/json")
        assert {row["camera"] for row in answer["rows"]} == {"door"}
        assert answer["cameras"] == ["door", "hall & <b>"]
        for request in (run.get("/api/history?format=csv"), run.get("/api/history", accept="text/csv")):
            assert request[1]["Content-Type"] == "text/csv; charset=utf-8"
            assert len(list(csv.DictReader(io.StringIO(request[2].decode())))) >= 12
        assert json.loads(run.get("/api/history?events=1")[2])["events"] == []
        for query, words in (
            ("bucket=minute&from=2016-01-01", b"Give a shorter range"),
            ("bucket=minute&from=2016-01-01", b"over 2000 buckets"),
            ("bucket=x", b"Bucket is one of"),
            ("format=xml", b"Format is csv or json"),
            ("camera=x&limit=5", b"not a field"),
            ("events=yes", b"Events is 1 or 0"),
            ("events=1&zone=till", b"events=1 takes no zone"),
        ):
            code, _, content = run.get(f"/api/history?{query}")
            assert code == 400
            assert words.lower() in content.lower()
        assert json.loads(run.get("/api/history?from=2016-01-01")[2])["bucket"] == "week"
        assert json.loads(run.get("/api/history?camera=%27%20OR%201=1--")[2])["rows"] == []


@pytest.mark.network
def test_the_api_needs_the_token_and_a_history(path: Path, tmp_path: Path) -> None:
    with Run(frames=False, history=path, token="secret") as run:  # noqa: S106
        assert run.get("/api/history")[0] == 401
        assert run.get("/api/history", authorization="Bearer secret")[0] == 200
    with Run(frames=False) as run:
        code, _, content = run.get("/api/history")
        assert code == 404
        assert b"[history] file" in content
        assert run.get("/uplot.js")[0] == 404
    with Run(frames=False, history=tmp_path / "none") as run:
        assert run.get("/api/history")[0] == 503


def test_a_run_serves_the_history_that_it_keeps(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "history.sqlite3"
    line = ["edge-run", "--source", "demo", "--live", "--loop", "--no-show", "--history", path, "--serve", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command_line(line), stderr=subprocess.PIPE, text=True, env=environment())
    url = f"http://127.0.0.1:{port}/api/history?bucket=minute"
    try:
        from urllib.request import urlopen

        def observed() -> float:
            try:
                with urlopen(url, timeout=30) as response:
                    return sum(row["observed_s"] for row in json.load(response)["rows"])
            except OSError:
                return 0.0

        until(lambda: observed() > 5, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        process.stderr.close()
        process.wait()
