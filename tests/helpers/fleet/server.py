"""The API of the fleet, served by uvicorn on a free port in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import httpx
from sqlalchemy import Engine

from maskedge_fleet.api.app import create_app
from maskedge_fleet.api.core.server import WebServer
from maskedge_fleet.settings import ModelsConfig, ServerConfig, Settings


class FleetServer:
    """Serves a database until the block ends.

    Args:
        engine: The database.
        tokens: A token of each role.
        models: The section `[models]`; None for its defaults.
        server: Settings of the section `[server]`.
    """

    def __init__(self, engine: Engine, tokens: Mapping[str, str], *, models: ModelsConfig | None = None, **server: Any) -> None:
        config = ServerConfig(**{"serve": "127.0.0.1:0", **server})
        self.tokens = tokens
        self.app = create_app(engine, Settings(server=config, models=models or ModelsConfig()))
        self._server = WebServer(self.app, config)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._server.run, args=(self._stop,), daemon=True)

    def __enter__(self) -> FleetServer:
        self._thread.start()
        self.client = httpx.Client(base_url=self._server.url.rstrip("/"), timeout=20, trust_env=False)
        while not self._server.is_ready:
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.client.close()
        self.close()

    def close(self) -> None:
        """Stop the server."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        """Address of the page, without a slash at its end."""
        return self._server.url.rstrip("/")

    def bearer(self, role: str = "viewer") -> dict[str, str]:
        """Return the header with the token of a role."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    @contextmanager
    def live(self, role: str = "viewer") -> Iterator[Iterator[tuple[str, str]]]:
        """Open a live connection. Its iterator yields kind and data of each message."""
        request = "GET", f"{self.url}/api/v1/live"
        with httpx.Client(timeout=20, trust_env=False) as client, client.stream(*request, headers=self.bearer(role)) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _messages(response.iter_lines())


def _messages(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    kind = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, value
