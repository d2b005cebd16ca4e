"""One class per kind of input. It passes an input to a command."""

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
    """A kind of input. `prepare` is called once, in the parent process of all runs."""

    def prepare(self, folder: Path) -> None:
        """Load the parts that every run needs, once, before the forks.

        Args:
            folder: Folder for the target's own files.
        """

    def run(self, number: int, path: Path) -> int:
        """Run one input and return the exit code.

        Each run has its own process, in the folder of the input.

        Raises:
            AssertionError: The result is wrong.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stop the processes that `prepare` started."""


def command(*arguments: str | Path) -> int:
    """Run `edge-run` in this process and return its exit code."""
    from maskedge.cli.run import main

    try:
        main.main([str(argument) for argument in arguments], prog_name="edge-run")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def check_events(path: Path) -> None:
    """Check that each line of events is JSON with finite numbers, and scores are probabilities."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line, parse_constant=_no_number)
        for face in event.get("faces", ()):
            assert 0 <= face["score"] <= 1, line[:200]
            assert all(math.isfinite(value) for value in face["box"]), line[:200]


def _no_number(name: str) -> Any:
    raise AssertionError(f"an event contains {name}")


class Configs(Target):
    """An edge.toml. A running program prints and reloads each file. Every 20th starts a run."""

    def prepare(self, folder: Path) -> None:
        """Build a run that can reload its configuration."""
        super().prepare(folder)
        from maskedge.cli.run import _Run
        from maskedge.config import load_config
        from maskedge.runtime.build import build_run, open_detector
        from maskedge.sources import open_source
        from maskedge.support.log import set_up

        loaded = load_config(None, {}, {"source.uri": "demo"})
        self._run = _Run(loaded, {"source.uri": "demo"}, set_up())
        self._built = build_run(loaded.config, open_source("demo"), open_detector(loaded.config), [])
        self._source = load_config

    def run(self, number: int, path: Path) -> int:
        """Print the configuration, then reload it as SIGHUP does."""
        from dataclasses import replace

        from maskedge.config import changed_keys

        code = command("--config", path, "--print-config")
        run, built = self._run, self._built
        before = built._config
        run._loaded = replace(run._loaded, file=path)
        run._reload(built)
        if code:
            assert not changed_keys(before, built._config), "a refused configuration changed the settings"
        if number % 20 == 0:
            arguments = ("--config", path, "--source", "demo", "--max-frames", "2", "--no-show", "--quiet")
            os.environ["XDG_STATE_HOME"] = str(path.parent / "state")
            code = command(*arguments)
        return code


class Models(Target):
    """A classifier, or a detector (`detector...`), on a picture with faces."""

    def prepare(self, folder: Path) -> None:
        """Write the picture."""
        super().prepare(folder)
        self._picture = folder / "picture.png"
        cv2.imwrite(str(self._picture), demo.draw(150))

    def run(self, number: int, path: Path) -> int:
        """Run the model on the picture."""
        flag = "--detector-model" if path.name.startswith("detector") else "--model"
        code = command("--source", self._picture, "--no-show", "--quiet", "--events", "events.jsonl", flag, path)
        check_events(path.parent / "events.jsonl")
        return code


class Cascades(Models):
    """A cascade on the same picture.

    The classifier is the bundled one, or one without the label `not_a_face`.
    """

    def prepare(self, folder: Path) -> None:
        """Write the classifier without that label."""
        super().prepare(folder)
        self._model = write_model(folder / "blind.onnx")

    def run(self, number: int, path: Path) -> int:
        """Run the model on the picture."""
        more = ("--model", self._model) if number % 3 == 0 else ()
        code = command("--source", self._picture, "--no-show", "--quiet", "--events", "events.jsonl", "--cascade", path, *more)
        check_events(path.parent / "events.jsonl")
        return code


class Pictures(Target):
    """A picture, which is annotated, saved and written as events."""

    arguments: Sequence[str] = ("--save", "saved")

    def run(self, number: int, path: Path) -> int:
        """Run on the file."""
        (path.parent / "saved").mkdir()
        code = command("--source", path, "--no-show", "--quiet", "--events", "events.jsonl", *self.arguments)
        check_events(path.parent / "events.jsonl")
        return code


class Videos(Pictures):
    """The first frames of a video."""

    arguments = ("--max-frames", "20", "--save", "saved/video.mkv")


class Requests(Target):
    """A request to a status page, which must still respond after it."""

    _PATIENCE = 8.0

    def prepare(self, folder: Path) -> None:
        """Start the page in its own process."""
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
            from maskedge.sinks.web.config import WebConfig
            from maskedge.sinks.web.sink import WebSink

            state = RunState(
                "fuzz", labels=["with_mask", "without_mask"], models={"model": {"name": "none", "sha256": "0" * 64, "labels": []}}
            )
            WebSink(WebConfig(serve=f"127.0.0.1:{self._port}", picture=True, stale_after=86400), state.snapshot)
            signal.pause()
        finally:
            os._exit(code)

    def run(self, number: int, path: Path) -> int:
        """Send the request, then check the page's health."""
        content = path.read_bytes()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), self._PATIENCE) as connection:
            connection.settimeout(self._PATIENCE)
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):
                while connection.recv(65536):
                    # A stream never ends. Read only the bytes that arrive quickly.
                    connection.settimeout(0.2)
        with socket.create_connection(("127.0.0.1", self._port), self._PATIENCE) as connection:
            connection.settimeout(self._PATIENCE)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(64).startswith(b"HTTP/1."), "the page no longer responds"
        status = Path(f"/proc/{self._page}/status").read_text(encoding="utf-8")
        peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak <= 400, f"the page takes {peak:.0f} MB"
        text = self._errors.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in text, f"the page wrote {text.strip().splitlines()[-1]}"
        return 0

    def close(self) -> None:
        """Stop the page."""
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
