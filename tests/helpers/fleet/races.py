"""Transactions that change something in the middle of another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session


@contextmanager
def meanwhile(engine: Engine, statement: str, change: Callable[[Session], object]) -> Iterator[None]:
    """Change something in another transaction right before the first statement that begins with a text."""
    waiting = [change]

    @event.listens_for(engine, "before_cursor_execute")
    def _change(_: object, __: object, text: str, *___: object) -> None:
        if waiting and text.startswith(statement):
            waiting.pop()
            with Session(engine) as session, session.begin():
                change(session)

    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", _change)
    assert not waiting, f"there was no statement {statement}"
