"""How a command takes the inputs of a kind."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from helpers.support import write_model
from maskedge.sources import demo


class Target:
    """Takes the inputs of a kind. `prepare` is called once, in the process from which each run is forked."""

    def prepare(self, folder: Path) -> None:
        """Load what all runs need, so that a fork has it.

        Args:
            folder: For files of its own.
        """

    def run(self, number: int, path: Path) -> int:
        """Take one input, in a process of its own whose working directory is the input's, and give the exit code.

        Raises:
            AssertionError: The answer is wrong.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End what `prepare` began."""


def command(*arguments: str | Path) -> int:
    """Run `edge-run` in this process up to its exit code."""
    from maskedge.cli.run import main

    try:
        main.main([str(argument) for argument in arguments], prog_name="edge-run")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def check_events(path: Path) -> None:
    """Every line of events is JSON of finite numbers, and every probability one."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line, parse_constant=_no_number)
        for face in event.get("faces", ()):
            assert 0 <= face["score"] <= 1, line[:200]
            assert all(math.isfinite(value) for value in face["box"]), line[:200]


def _no_number(name: str) -> Any:
    raise AssertionError(f"{name} stands in the events")


class Configs(Target):
    """An edge.toml: printed, read again by a program that runs, and every 20th run."""

    def prepare(self, folder: Path) -> None:
        """Build what a running program has."""
        super().prepare(folder)
        from maskedge.cli.run import _Run
        from maskedge.config import load_config
        from maskedge.runtime.build import build_run, open_detector
        from maskedge.sources import open_source
        from maskedge.support.log import set_up

        loaded = load_config(None, {}, {"source.uri": "demo"})
        self._run = _Run(loaded, {"source.uri": "demo"}, set_up())
        self._wiring = build_run(loaded.config, open_source("demo"), open_detector(loaded.config), [])
        self._source = load_config

    def run(self, number: int, path: Path) -> int:
        """Print it, then read it again as a signal asks for."""
        from dataclasses import replace

        from maskedge.config import changed_keys

        code = command("--config", path, "--print-config")
        run, wiring = self._run, self._wiring
        before = wiring._config
        run._loaded = replace(run._loaded, file=path)
        run._reload(wiring)
        if code:
            assert not changed_keys(before, wiring._config), "a configuration that was refused changed something"
        if number % 20 == 0:
            arguments = ("--config", path, "--source", "demo", "--max-frames", "2", "--no-show", "--quiet")
            os.environ["XDG_STATE_HOME"] = str(path.parent / "state")
            code = command(*arguments)
        return code


class Models(Target):
    """A classifier or (`detector...`) a detector, on a picture with faces."""

    def prepare(self, folder: Path) -> None:
        """Make the picture."""
        super().prepare(folder)
        self._picture = folder / "picture.png"
        cv2.imwrite(str(self._picture), demo.draw(150))

    def run(self, number: int, path: Path) -> int:
        """Answer for the picture."""
        flag = "--detector-model" if path.name.startswith("detector") else "--model"
        code = command("--source", self._picture, "--no-show", "--quiet", "--events", "events.jsonl", flag, path)
        check_events(path.parent / "events.jsonl")
        return code


class Cascades(Models):
    """A cascade, on the same picture, with the bundled classifier or one that leaves it to the cascade what is no face."""

    def prepare(self, folder: Path) -> None:
        """Make that classifier."""
        super().prepare(folder)
        self._model = write_model(folder / "blind.onnx")

    def run(self, number: int, path: Path) -> int:
        """Answer for the picture."""
        more = ("--model", self._model) if number % 3 == 0 else ()
        code = command("--source", self._picture, "--no-show", "--quiet", "--events", "events.jsonl", "--cascade", path, *more)
        check_events(path.parent / "events.jsonl")
        return code


class Pictures(Target):
    """A picture, saved again and written as events."""

    arguments: Sequence[str] = ("--save", "saved")

    def run(self, number: int, path: Path) -> int:
        """Answer for it."""
        (path.parent / "saved").mkdir()
        code = command("--source", path, "--no-show", "--quiet", "--events", "events.jsonl", *self.arguments)
        check_events(path.parent / "events.jsonl")
        return code


class Videos(Pictures):
    """A video, its first frames."""

    arguments = ("--max-frames", "20", "--save", "saved/film.mkv")


class Requests(Target):
    """A request to a status page that goes on running: it must be answered or closed, and the page must still answer after it."""

    _PATIENCE = 8.0

    def prepare(self, folder: Path) -> None:
        """Start the page in a process of its own."""
        super().prepare(folder)
        self._errors = folder / "page-errors"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._page = os.fork()
        if self._page == 0:
            self._serve()
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 0.2):
                return
            threading.Event().wait(0.05)
        raise RuntimeError("the page did not start")

    def _serve(self) -> None:
        code = 1
        try:
            error = os.open(self._errors, os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(error, 2)
            from maskedge.runtime.state import RunState
            from maskedge.sinks.web import WebConfig, WebSink

            state = RunState("fuzz", labels=["with_mask", "without_mask"], model={"name": "none", "sha256": "0" * 64, "labels": []})
            WebSink(WebConfig(serve=f"127.0.0.1:{self._port}", picture=True, stale_after=86400), state.snapshot)
            signal.pause()
        finally:
            os._exit(code)

    def run(self, number: int, path: Path) -> int:
        """Send it, and ask for the page's health afterwards."""
        content = path.read_bytes()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), self._PATIENCE) as connection:
            connection.settimeout(self._PATIENCE)
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):
                while connection.recv(65536):
                    # A stream has no end by itself.
                    connection.settimeout(0.2)
        with socket.create_connection(("127.0.0.1", self._port), self._PATIENCE) as connection:
            connection.settimeout(self._PATIENCE)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(64).startswith(b"HTTP/1."), "the page does not answer any more"
        status = Path(f"/proc/{self._page}/status").read_text(encoding="utf-8")
        peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak <= 400, f"the page takes {peak:.0f} MB"
        text = self._errors.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in text, f"the page wrote {text.strip().splitlines()[-1]}"
        return 0

    def close(self) -> None:
        """End the page."""
        os.kill(self._page, signal.SIGKILL)
        os.waitpid(self._page, 0)


TARGETS: dict[str, type[Target]] = {
    "configs": Configs,
    "pictures": Pictures,
    "models": Models,
    "cascades": Cascades,
    "videos": Videos,
    "requests": Requests,
}
