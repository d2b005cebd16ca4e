"""A real `edge-run` with several cameras, and its API."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from .streams import until
from .support import command_line, environment

LIVE_DEMO = 'source = "demo"\nlive = true\nloop = true\nfps = 10\n'
"""Keys of a camera that plays the demo clip as a camera would."""
HEAD = """
[device]
name = "pi"
[output]
show = false
[web]
serve = "127.0.0.1:0"
picture = true
[detect]
detector = "cnn"
"""


class CamerasProcess:
    """`edge-run --config` with a status page.

    Args:
        folder: Folder of the edge.toml, and working folder of the process.
        text: The edge.toml, without `HEAD`.
        arguments: Further arguments.
        more: Further environment variables.
    """

    def __init__(self, folder: Path, text: str, *arguments: str, more: dict[str, str] | None = None) -> None:
        self._config = folder / "edge.toml"
        self.write(text)
        self.errors: list[str] = []
        self.printed = ""
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed at the end)
        self.process = subprocess.Popen(
            command_line(["edge-run", "--config", self._config, *arguments]),
            stdout=self._output,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment(more),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.rstrip())

    def write(self, text: str) -> None:
        """Write the edge.toml."""
        self._config.write_text(HEAD + text, encoding="utf-8")

    def reload(self, text: str) -> None:
        """Write another edge.toml, and wait until the process has taken it up or refused it."""
        before = self._reloads()
        self.write(text)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self._reloads() > before)

    def _reloads(self) -> int:
        # The lines of cameras begin with their names.
        return sum(line.startswith(("configuration reloaded", "error: the configuration was not reloaded")) for line in self.errors)

    @property
    def url(self) -> str:
        """Address of the status page, without the slash at its end."""
        until(lambda: any("status page: " in line for line in self.errors) or self.process.poll() is not None, 60)
        found = re.search(r"status page: (\S+)/", "\n".join(self.errors))
        assert found is not None, self.errors
        return found[1]

    def ask(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a response."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> bytes:
        """Return the body of a response, whose status is 200."""
        status, content = self.ask(path)
        assert status == 200, (path, status, content)
        return content

    def cameras(self) -> dict[str, dict[str, Any]]:
        """Return `/api/cameras` by the name of the camera."""
        return {camera["name"]: camera for camera in json.loads(self.get("/api/cameras"))["cameras"]}

    def status(self, name: str) -> dict[str, Any]:
        """Return the state of a camera."""
        status: dict[str, Any] = json.loads(self.get(f"/api/cameras/{quote(name)}/status"))
        return status

    def wait_open(self, *names: str, seconds: float = 60) -> None:
        """Wait until cameras deliver frames."""
        until(lambda: all(self.status(name)["counters"]["processed"] > 0 for name in names), seconds)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the process. Return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end. Return the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(60)
        self._output.seek(0)
        self.printed = self._output.read()
        return code

    def __enter__(self) -> CamerasProcess:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        self._reader.join(60)
        self._output.close()
