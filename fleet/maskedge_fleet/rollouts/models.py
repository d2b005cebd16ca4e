"""The models of the fleet: checks of new files, and the arguments of their commands."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.signature import ModelSignature, load_public_keys, verify_model
from maskedge.remote.model_store import UPDATED_KINDS
from maskedge.settings import shown
from maskedge.support.text import displayable, read_json
from maskedge_fleet.database.rounds import wait_for_others
from maskedge_fleet.database.tables import LONGEST_NAME, Device, Model

from .downloads import download_url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MOST_BYTES = 64 * 1024 * 1024
"""Maximum size of a model file in bytes, as on a device."""
MOST_SIGNATURE_BYTES = 4096
_DIGITS = re.compile(r"[0-9a-f]{1,64}")
DOWNLOAD_S = 3600
"""Seconds that a download may take after the command has expired."""


def model_keys(paths: Sequence[Path]) -> tuple[Ed25519PublicKey, ...]:
    """Return the keys whose models the server takes.

    Args:
        paths: The setting `models.trusted_keys`.

    Raises:
        UsageError: There is none, or a file is not a key.
    """
    if not paths:
        raise UsageError("models need a trusted key: set [models] trusted_keys to the public key files (PEM).")
    return load_public_keys(paths)


def read_signature_text(content: bytes) -> Any:
    """Return the object of a signature file.

    Raises:
        ModelError: The content is not JSON.
    """
    try:
        return read_json(content[:MOST_SIGNATURE_BYTES].decode())
    except ValueError as error:
        raise ModelError("the signature is not JSON: give the file .sig that edge-export sign has written.") from error


def add_model(session: Session, content: bytes, signature: Any, name: str, keys: Sequence[Ed25519PublicKey], *, by: str) -> Model:
    """Check a model as a device does, and store it.

    Args:
        session: The transaction.
        content: The .onnx file.
        signature: The object of its signature file.
        name: Name of the file.
        keys: The trusted keys.
        by: Name of the token.

    Returns:
        The model. It is in `session.new`, unless it is stored already.

    Raises:
        ModelError: The signature is not valid or not of a trusted key; the file breaks the
            contract, or its self-test fails on this machine; or the release does not rise.
    """
    if len(content) > MOST_BYTES:
        raise ModelError(f"the model has {len(content):,} bytes, and {MOST_BYTES:,} are allowed.")
    # The file name of a browser may be a path.
    name = displayable(Path(name.replace("\\", "/")).name)[:LONGEST_NAME] or "model.onnx"
    signed = verify_model(content, signature, keys, name)
    if signed.kind not in UPDATED_KINDS:
        raise ModelError(f"{name} is a {signed.kind}: devices can be updated with a {' or a '.join(UPDATED_KINDS)}.")
    digest = hashlib.sha256(content).hexdigest()
    known = _find_stored(session, digest, signed, name)
    if known is not None:
        return known
    card = _try_model(content, name)
    # Another request may have stored a model during the self-test.
    wait_for_others(session, "models")
    known = _find_stored(session, digest, signed, name)
    if known is not None:
        return known
    model = Model(
        sha256=digest,
        name=name,
        kind=signed.kind,
        release=signed.release,
        size=len(content),
        signature=dict(_fields(signed)),
        card=card,
        content=content,
        created=datetime.now(timezone.utc),
        created_by=by,
    )
    session.add(model)
    return model


def _find_stored(session: Session, digest: str, signed: ModelSignature, name: str) -> Model | None:
    """Return the model if it is stored already.

    Raises:
        ModelError: It is not, and its release does not rise.
    """
    known = session.scalar(select(Model).where(Model.sha256 == digest))
    newest = session.scalar(select(func.max(Model.release)).where(Model.kind == signed.kind))
    if known is None and newest is not None and signed.release <= newest:
        raise ModelError(
            f"{name} has the release {signed.release}, and the newest {signed.kind} has {newest}: sign it with a higher one."
        )
    return known


def _fields(signed: ModelSignature) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads(signed.to_json())
    return content


def _try_model(content: bytes, name: str) -> dict[str, Any]:
    """Run the self-test of a model, after the sandbox has opened it. Return the labels and figures.

    Raises:
        ModelError: The file breaks the contract, or the self-test fails.
    """
    # Imported here: OpenCV and ONNX Runtime are loaded only for an upload.
    from maskedge.vision.self_test import verify

    with tempfile.TemporaryDirectory(prefix="maskedge-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        try:
            result = verify(path)
        except ModelError as error:
            raise ModelError(str(error).replace(str(path), name)) from error
    if not result.passed:
        raise ModelError(
            f"the self-test of {name} fails here: {result.changed} of {result.inputs} outputs differ. Export it again."
        )
    return {"labels": list(result.labels), "inputs": result.inputs, "worst_difference": result.worst}


def find_model(session: Session, key: str | int) -> Model:
    """Return a model.

    Args:
        session: The transaction.
        key: Its id, or its SHA-256 or the first digits of it.

    Raises:
        UsageError: There is no such model, or several.
    """
    if isinstance(key, int):
        found = [model for model in [session.get(Model, key)] if model is not None]
    elif not _DIGITS.fullmatch(key):
        found = []
    else:
        found = list(session.scalars(select(Model).where(Model.sha256.startswith(key, autoescape=True)).limit(2)))
    if not found:
        raise UsageError(f"there is no model {shown(key)}: GET /api/v1/models lists them.")
    if len(found) > 1:
        raise UsageError(f"several models begin with {shown(key)}: give more digits.")
    return found[0]


def update_arguments(model: Model, public_url: str, expires: datetime, secret: bytes) -> dict[str, Any]:
    """Return the arguments of the command that updates a device to a model.

    Args:
        model: The model.
        public_url: The setting `server.public_url`.
        expires: When the address of the file expires.
        secret: Secret of the addresses.

    Raises:
        UsageError: The setting is missing.
    """
    if not public_url:
        raise UsageError("devices need an address to download models from: set [server] public_url, as https://fleet.example.org.")
    return {
        "url": download_url(public_url, model.sha256, expires, secret),
        "sha256": model.sha256,
        "size": model.size,
        "signature": model.signature,
        "kind": model.kind,
    }


def model_of(device: Device, kind: str) -> str:
    """Return the SHA-256 of a device's model of a kind, by its newest state; empty if unknown."""
    current = device.model if kind == "classifier" else device.detector
    return str(current.get("sha256") or "")
