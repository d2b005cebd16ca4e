"""The updated model files of a device, and which of them is in use.

The folder holds the files by their checksum, and `active.json`. Every change of `active.json` is
atomic and on the disk before the next step, so that the process and the power may end at any moment:
the next start finds the old state or the new one, and a working model in both.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from maskedge.errors import ModelError, OutputError
from maskedge.modelfile.signature import ModelSignature, signature_path
from maskedge.support.files import make_folder, read_regular, write_file
from maskedge.support.log import NAME
from maskedge.support.text import displayable, read_json, to_json

UPDATED_KINDS = ("classifier", "detector")
"""Kinds of models that can be updated."""
MOST_STARTS = 3
"""Starts of the process with a model that is not confirmed yet, before the previous one is used."""
MOST_BYTES = 64 * 1024 * 1024
"""Maximum size of a model file in bytes."""
_STATE, _FILES = "active.json", "files"
_MOST_STATE = 65536
_VERSION = 1
_HEX = re.compile(r"[0-9a-f]{64}")
_REMEDY = "free some space in the state folder, or check its permissions"
_log = logging.getLogger(NAME)


@dataclass(frozen=True)
class StoredModel:
    """A model file of the store.

    Attributes:
        sha256: SHA-256 of the file.
        release: Its release number.
        key: Id of the key that signed it.
    """

    sha256: str
    release: int
    key: str


@dataclass(frozen=True)
class KindState:
    """The models of a kind.

    Attributes:
        active: The model in use; None for the bundled one.
        previous: The model before; None for the bundled one.
        confirmed: True if the active model has run without a failure for long enough.
        starts: Starts of the process since the switch to the active model, if it is not confirmed.
        highest_release: The highest release number that was ever in use.
        command: Id of the command that has brought the active model.
        failed: SHA-256 of the last model that was given up; empty for none.
        failure: Why it was given up.
    """

    active: StoredModel | None = None
    previous: StoredModel | None = None
    confirmed: bool = True
    starts: int = 0
    highest_release: int = 0
    command: str = ""
    failed: str = ""
    failure: str = ""


@dataclass
class ModelStore:
    """The store. Its methods are safe on any thread of one process.

    Args:
        folder: Its folder, created when the first file is added.
    """

    folder: Path
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _unsaved: dict[str, KindState] = field(default_factory=dict, repr=False)

    def state(self, kind: str) -> KindState:
        """Return the state of a kind. An unreadable state counts as the bundled model, with a warning in the log."""
        with self._lock:
            return self._read().get(kind, KindState())

    def path(self, model: StoredModel) -> Path:
        """Return the path of a model file."""
        return self.folder / _FILES / f"{model.sha256}.onnx"

    def add(self, content: bytes, signature: ModelSignature) -> StoredModel:
        """Write a model file and its signature. It is not in use yet.

        Raises:
            OutputError: The file cannot be written.
        """
        model = StoredModel(signature.sha256, signature.release, signature.key)
        with self._lock:
            make_folder(self.folder, private=True)
            make_folder(self.folder / _FILES, private=True)
            path = self.path(model)
            write_file(signature_path(path), signature.to_json(), remedy=_REMEDY, private=True, durable=True)
            write_file(path, content, remedy=_REMEDY, private=True, durable=True)
        return model

    def discard_unused(self) -> None:
        """Remove the files that are neither active nor previous."""
        with self._lock:
            self._prune(self._read())

    def activate(self, kind: str, model: StoredModel, command: str = "") -> None:
        """Make a model the active one, not confirmed yet. The present one becomes the previous one.

        Raises:
            OutputError: The state cannot be written.
        """
        with self._lock:
            before = self.state(kind)
            state = KindState(
                active=model,
                previous=before.active,
                confirmed=False,
                starts=1,
                highest_release=max(before.highest_release, model.release),
                command=command,
            )
            self._write(kind, state)

    def choose(self, kind: str, *, count: bool = True) -> StoredModel | None:
        """Return the model to use at a start of the process; None for the bundled one.

        A model that is missing or damaged, or with which the process has started too often without
        being confirmed, is given up for the previous one.

        Args:
            kind: Kind of the model.
            count: Count the start.
        """
        with self._lock:
            state = self.state(kind)
            if not state.confirmed and state.active is not None and count:
                if state.starts >= MOST_STARTS:
                    state = self.give_up(kind, f"the process has ended {state.starts} times before the model was confirmed")
                else:
                    state = replace(state, starts=state.starts + 1)
                    self._write_or_warn(kind, state)
            while state.active is not None and (problem := self.problem(state.active)):
                state = self.give_up(kind, problem)
            return state.active

    def give_up(self, kind: str, reason: str) -> KindState:
        """Go back from the active model to the previous one, or from that to the bundled one.

        Args:
            kind: Kind of the model.
            reason: Why, for the log and the fleet.

        Returns:
            The new state. It holds even if it cannot be written.
        """
        with self._lock:
            state = self.state(kind)
            if state.active is None:
                return state
            failed = state.active
            back = "the bundled one" if state.previous is None else f"release {state.previous.release}"
            _log.warning("the %s of release %d is given up for %s: %s.", kind, failed.release, back, reason.rstrip("."))
            state = replace(
                state, active=state.previous, previous=None, confirmed=True, starts=0, failed=failed.sha256, failure=reason
            )
            self._write_or_warn(kind, state)
            return state

    def confirm(self, kind: str) -> None:
        """Note that the active model works. Older files are removed.

        Raises:
            OutputError: The state cannot be written.
        """
        with self._lock:
            self._write(kind, replace(self.state(kind), confirmed=True, starts=0))
            self._prune(self._read())

    def forget_failure(self, kind: str) -> None:
        """Forget the last model that was given up, after it was reported."""
        with self._lock:
            state = self.state(kind)
            if state.failed:
                self._write_or_warn(kind, replace(state, failed="", failure="", command="" if state.confirmed else state.command))

    def revert(self, kind: str) -> StoredModel | None:
        """Go back to the previous model because of a command.

        Returns:
            The model that is in use now; None for the bundled one.

        Raises:
            ModelError: The bundled model is in use.
            OutputError: The state cannot be written.
        """
        with self._lock:
            state = self.state(kind)
            if state.active is None:
                raise ModelError(f"the bundled {kind} is in use: there is no model to go back to.")
            self._write(kind, replace(state, active=state.previous, previous=None, confirmed=True, starts=0, command=""))
            return state.previous

    def problem(self, model: StoredModel) -> str:
        """Return why a file of the store cannot be used, as a clause; empty if it is whole."""
        path = self.path(model)
        try:
            whole = hashlib.sha256(read_regular(path, MOST_BYTES)).hexdigest() == model.sha256
            read_regular(signature_path(path), MOST_BYTES)
        except OSError as error:
            return f"{displayable(path)} cannot be read ({error.strerror})"
        return "" if whole else f"{displayable(path)} is damaged"

    def _read(self) -> dict[str, KindState]:
        return self._read_file() | self._unsaved

    def _read_file(self) -> dict[str, KindState]:
        path = self.folder / _STATE
        try:
            content = read_json(read_regular(path, _MOST_STATE).decode("utf-8"))
            if content["version"] != _VERSION:
                raise ValueError(f"its version is {content['version']!r}")
            return {kind: _kind_state(content["kinds"][kind]) for kind in UPDATED_KINDS if kind in content["kinds"]}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s cannot be read (%.100s): the bundled models are used.", displayable(path), error)
            return {}

    def _write(self, kind: str, state: KindState) -> None:
        kinds = self._read() | {kind: state}
        content = to_json({"version": _VERSION, "kinds": {name: asdict(one) for name, one in kinds.items()}})
        make_folder(self.folder, private=True)
        write_file(self.folder / _STATE, content, remedy=_REMEDY, private=True, durable=True)
        self._unsaved.clear()

    def _write_or_warn(self, kind: str, state: KindState) -> None:
        """Write the state at a start, which must succeed even on a full disk."""
        try:
            self._write(kind, state)
        except OutputError as error:
            self._unsaved[kind] = state
            _log.warning("%s", error)

    def _prune(self, kinds: Mapping[str, KindState]) -> None:
        """Remove the files that no state refers to, and remains of an interrupted write."""
        kept = {model.sha256 for state in kinds.values() for model in (state.active, state.previous) if model is not None}
        with contextlib.suppress(OSError):
            for path in (self.folder / _FILES).iterdir():
                if path.name.split(".")[0] not in kept:
                    path.unlink()


def _kind_state(content: Any) -> KindState:
    """Read the state of a kind. Raises ValueError, KeyError or TypeError if it is malformed."""
    models = {name: _stored(content[name]) for name in ("active", "previous")}
    state = KindState(**{**content, **models})
    numbers = (state.starts, state.highest_release)
    texts = (state.command, state.failed, state.failure)
    if not all(isinstance(number, int) for number in numbers) or not all(isinstance(text, str) for text in texts):
        raise TypeError("a field has the wrong type")
    return state


def _stored(content: Any) -> StoredModel | None:
    if content is None:
        return None
    model = StoredModel(**content)
    if not _HEX.fullmatch(model.sha256) or not isinstance(model.release, int):
        raise ValueError("a model has no checksum")
    return model
