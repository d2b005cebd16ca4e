"""Signatures beside model files (docs/contracts.md)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.cascade_file import MOST_BYTES, CascadeError, read_cascade
from maskedge.modelfile.contract import read_model
from maskedge.modelfile.signature import (
    ModelSignature,
    is_cascade,
    load_private_key,
    read_signature,
    sign_model,
    signature_path,
)
from maskedge.support.files import read_regular, write_file
from maskedge.support.text import displayable


def sign_file(model: Path, key_file: Path, release: int, *, force: bool = False) -> tuple[Path, ModelSignature]:
    """Sign a model file. The signature is written atomically beside it.

    Args:
        model: A network of the contract, or a cascade.
        key_file: The private key.
        release: Number of the release, from 1.
        force: Replace a signature of a higher release, or of this release for another file.

    Returns:
        The path and the content of the signature.

    Raises:
        ModelError: The model is refused.
        UsageError: The key cannot be used, or the signature must not be replaced.
        OutputError: The signature cannot be written.
    """
    key = load_private_key(key_file)
    content = _read(model)
    path = signature_path(model)
    signed = ModelSignature(**sign_model(content, key, release))
    before = None
    if force:
        # A damaged signature is replaced, too.
        with contextlib.suppress(ModelError):
            before = read_signature(model)
    else:
        before = read_signature(model)
        if before is not None and (before.release > release or (before.release == release and before.sha256 != signed.sha256)):
            what = "is of the higher release" if before.release > release else "is for another file of the release"
            raise UsageError(
                f"{displayable(path)} {what} {before.release}: give --release {before.release + 1}, or --force to replace it."
            )
    write_file(path, signed.to_json(), remedy="choose a folder with space that you may write")
    return path, signed


def _read(model: Path) -> bytes:
    """Read a model file that may be signed: a network that keeps the contract, or a usable cascade."""
    try:
        content = read_regular(model, MOST_BYTES)
    except OSError:
        return read_model(model)  # its message names the cause
    if is_cascade(content):
        try:
            read_cascade(content)
        except CascadeError as error:
            raise ModelError(f"{displayable(model)} is not a usable cascade: {error}.") from error
        return content
    return read_model(model)
