"""The API and the page of a fleet on loopback."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from maskedge_fleet.commands.keys import public_path
from sqlalchemy.orm import Session

from helpers.fleet_data import create_tokens
from helpers.streams import until
from maskedge_fleet.api.app import create_app
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import Base
from maskedge_fleet.settings import ModelsConfig, ServerConfig, Settings


class _Server(uvicorn.Server):
    """Ends live connections first, as the real server does."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        app.state.live.close()
        await super().shutdown(sockets)


class FleetServer:
    """A real server in a thread, over SQLite in a folder, with a token of each role.

    Args:
        folder: Where the database is.
        command_key: Key that signs commands; models that it has signed are taken too.
    """

    def __init__(self, folder: Path, command_key: Path | None = None) -> None:
        self.engine = open_engine(f"sqlite:///{folder / 'fleet.sqlite3'}")
        migrate(self.engine)
        self.tokens = create_tokens(self.engine)
        many = "100000/minute"
        limits = ServerConfig(
            serve="127.0.0.1:0",
            token_limit=many,
            address_limit=many,
            login_limit=many,
            command_key=command_key,
            public_url="http://localhost/",
        )
        self._app = create_app(
            self.engine, Settings(server=limits, models=ModelsConfig((public_path(command_key),) if command_key else ()))
        )
        self._server = _Server(
            uvicorn.Config(self._app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    @property
    def live_clients(self) -> int:
        """Number of pages that get live messages."""
        return len(self._app.state.live._tokens)

    def add(self, *rows: Base) -> None:
        """Store rows."""
        with Session(self.engine) as session, session.begin():
            session.add_all(rows)

    def __enter__(self) -> FleetServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.engine.dispose()
