"""The keys whose model files this process takes (`model.trusted_keys`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.errors import ModelError
from maskedge.support.text import displayable

from .signature import BUNDLED, ModelSignature, has_cryptography, key_id, load_public_keys, read_signature, verify_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_keys: tuple[Ed25519PublicKey, ...] = ()


def trust_keys(paths: Sequence[Path]) -> None:
    """Set the keys whose files this process takes from now on: networks and cascades.

    It is a property of the device, so it is one setting for the whole process.

    Args:
        paths: Public key files; `bundled` stands for the key of the bundled models. None at all:
            unsigned files are taken, too.

    Raises:
        UsageError: A file cannot be read or is not a public key, or the library of the extra
            `remote` is missing.
    """
    global _keys
    _keys = load_public_keys(paths)


def check_trusted(path: Path, content: bytes) -> ModelSignature | None:
    """Verify the signature of a model file if this process takes only signed ones.

    Args:
        path: The file. Its signature lies beside it.
        content: Its content.

    Returns:
        The signature; None if unsigned files are taken.

    Raises:
        ModelError: The file is not signed by a trusted key.
    """
    return verify_file(path, content, _keys) if _keys else None


def describe_signature(path: Path, content: bytes, key_files: Sequence[Path] = ()) -> str | None:
    """Return a clause about the signature beside a model file, such as `signed by ... (release 3)`.

    Args:
        path: The model file.
        content: Its content.
        key_files: Keys that may have signed it, besides that of the bundled models.

    Returns:
        The clause; None if the file is not signed.

    Raises:
        ModelError: The signature is not valid, or not for this file.
        UsageError: A key cannot be read.
    """
    signature = read_signature(path)
    if signature is None:
        return None
    named = f"signed by the key {signature.key}, release {signature.release}"
    if hashlib.sha256(content).hexdigest() != signature.sha256:
        raise ModelError(
            f"the signature is not for {displayable(path)} (SHA-256 differs): copy the model and its signature again, or sign it."
        )
    if not has_cryptography():
        return f"{named} (not verified: install the extra remote)"
    files = (Path(BUNDLED), *key_files)
    keys = {key_id(key): (file, key) for file, key in zip(files, load_public_keys(files), strict=True)}
    if signature.key in keys:
        file, key = keys[signature.key]
        verify_file(path, content, [key])
        return f"{named} (valid, {'bundled' if str(file) == BUNDLED else displayable(file.name)})"
    return f"{named} (not verified: this key is not known here)"
