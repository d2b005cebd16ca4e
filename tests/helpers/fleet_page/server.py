"""The API and the page of a fleet on loopback, over SQLite."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from sqlalchemy.orm import Session

from helpers.fleet_data import create_tokens
from helpers.fleet_server import FleetServer
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import Base
from maskedge_fleet.settings import ModelsConfig

_MANY = "100000/minute"


class PageServer(FleetServer):
    """A server with an empty database and a token of each role.

    Args:
        folder: Where the database is.
        command_key: Key that signs commands; models that it has signed are taken too.
    """

    def __init__(self, folder: Path, command_key: Path | None = None) -> None:
        self.engine = open_engine(f"sqlite:///{folder / 'fleet.sqlite3'}")
        migrate(self.engine)
        # write_key_pair writes it beside the private one.
        public_key = Path(f"{command_key}.pub")
        super().__init__(
            self.engine,
            create_tokens(self.engine),
            models=ModelsConfig((public_key,) if command_key else ()),
            command_key=command_key,
            public_url="http://localhost/",
            token_limit=_MANY,
            address_limit=_MANY,
            login_limit=_MANY,
        )

    @property
    def live_clients(self) -> int:
        """Number of pages that get live messages."""
        return len(self.app.state.live._tokens)

    def add(self, *rows: Base) -> None:
        """Store rows."""
        with Session(self.engine) as session, session.begin():
            session.add_all(rows)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        super().__exit__(kind, error, where)
        self.engine.dispose()
