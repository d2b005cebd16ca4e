"""Signatures of model files: Ed25519, in a file `NAME.sig` beside the model (docs/contracts.md).

A checksum shows that a file is whole. A signature shows who released it. The library is
`cryptography`, of the extra `remote`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge.errors import ModelError, UsageError
from maskedge.support.files import expand_home, read_regular
from maskedge.support.install_hint import install_command
from maskedge.support.text import displayable, read_json

from .onnx_graph import GraphError, read_graph

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CONTRACT = "1"
"""Version of the contract between a model file and the runtime (docs/contracts.md)."""
ALGORITHM = "ed25519"
KINDS = ("classifier", "detector", "cascade")
"""Kinds of signed files. A cascade is an XML file; the others are networks (ONNX)."""
SUFFIX = ".sig"
"""Suffix of a signature file, after the full name of the model file."""
BUNDLED = "bundled"
"""Word that stands for the key of the bundled models in a list of key files."""
MOST_RELEASE = 2**53 - 1
"""Highest release number: the highest integer that every reader of JSON keeps exactly."""
_PREFIX = b"maskedge-model-1\n"
"""First bytes of the signed text, so that no signature for another purpose is valid here."""
_SIGNATURE_BYTES = 64
_MOST_BYTES = 4096
"""Maximum size of a signature file in bytes."""
_MOST_KEY_BYTES = 16384
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True)
class ModelSignature:
    """The content of a signature file.

    Attributes:
        algorithm: `ed25519`.
        key: Id of the key (`key_id`).
        sha256: SHA-256 of the model file, 64 hex digits.
        contract: Version of the contract of the model file.
        kind: `classifier`, `detector` or `cascade`.
        release: Number of the release, from 1, rising.
        signature: The signature in base64.
    """

    algorithm: str
    key: str
    sha256: str
    contract: str
    kind: str
    release: int
    signature: str

    def to_json(self) -> str:
        """Return the text of a signature file."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that the signature covers."""
        covered = {"contract": self.contract, "kind": self.kind, "release": self.release, "sha256": self.sha256}
        return _PREFIX + json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()


def signature_path(model: Path) -> Path:
    """Return the path of the signature file of a model file."""
    return model.with_name(model.name + SUFFIX)


def read_signature(model: Path) -> ModelSignature | None:
    """Read the signature file beside a model file. The signature itself is not verified.

    Returns:
        Its content; None if there is no signature file.

    Raises:
        ModelError: The file cannot be read, or is not a signature file.
    """
    path = signature_path(model)
    try:
        return parse_signature(read_json(read_regular(path, _MOST_BYTES).decode("utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"the signature {displayable(path)} cannot be read ({error.strerror}): copy it again.") from error
    except (ValueError, ModelError) as error:
        reason = str(error).rstrip(".") if isinstance(error, ModelError) else "it is not JSON"
        raise ModelError(f"{displayable(path)} is not a signature file ({reason}): copy it again.") from error


def parse_signature(fields: Any) -> ModelSignature:
    """Check the form of a signature. The signature itself is not verified.

    Args:
        fields: The object of a signature file. Other keys than those of `ModelSignature` are not
            accepted.

    Raises:
        ModelError: A field is missing, unknown or malformed.
    """
    names = tuple(ModelSignature.__dataclass_fields__)
    if not isinstance(fields, Mapping) or set(fields) != set(names):
        raise ModelError(f"the signature must have exactly the fields {', '.join(names)}.")
    release = fields["release"]
    wrong = [name for name in names if name != "release" and not isinstance(fields[name], str)]
    if wrong:
        raise ModelError(f"the field {wrong[0]} of the signature must be a text.")
    if isinstance(release, bool) or not isinstance(release, int) or not 1 <= release <= MOST_RELEASE:
        raise ModelError("the field release of the signature must be a whole number from 1.")
    found = ModelSignature(**fields)
    if found.algorithm != ALGORITHM:
        raise ModelError(f"the algorithm of the signature must be {ALGORITHM}.")
    if found.kind not in KINDS:
        raise ModelError(f"the kind of the signature must be one of {', '.join(KINDS)}.")
    if len(found.sha256) != 64 or len(found.key) != 16 or not (_HEX.fullmatch(found.sha256) and _HEX.fullmatch(found.key)):
        raise ModelError("sha256 and key of the signature must be 64 and 16 hex digits.")
    if len(_signature_bytes(found)) != _SIGNATURE_BYTES:
        raise ModelError(f"the field signature must be {_SIGNATURE_BYTES} bytes in base64.")
    return found


def _signature_bytes(found: ModelSignature) -> bytes:
    """Return the decoded signature; empty if it is not base64 in its only canonical form."""
    try:
        decoded = base64.b64decode(found.signature, validate=True)
    except ValueError:
        return b""
    return decoded if base64.b64encode(decoded).decode() == found.signature else b""


def verify_model(
    content: bytes, signature: ModelSignature | Mapping[str, Any], keys: Sequence[Ed25519PublicKey], name: str = "the model"
) -> ModelSignature:
    """Verify that a trusted key has signed a model file.

    Args:
        content: The model file.
        signature: The object of the signature file.
        keys: The trusted keys.
        name: Name of the model file in messages.

    Returns:
        The content of the signature.

    Raises:
        ModelError: The signature is malformed, of an unknown key, not valid, or not for this file.
        UsageError: The library of the extra `remote` is missing.
    """
    found = verify_signature(signature, keys, name)
    if hashlib.sha256(content).hexdigest() != found.sha256:
        raise ModelError(f"the signature is not for {name} (SHA-256 differs): copy the model and its signature again, or sign it.")
    if found.contract != CONTRACT:
        raise ModelError(
            f"{name} is signed for the contract {found.contract}, this runtime reads {CONTRACT}: install the newer one."
        )
    kind = read_signed_kind(content)
    if kind != found.kind:
        raise ModelError(f"{name} is signed as a {found.kind}, but is a {kind}: sign it again.")
    return found


def verify_signature(
    signature: ModelSignature | Mapping[str, Any], keys: Sequence[Ed25519PublicKey], name: str = "the model"
) -> ModelSignature:
    """Verify that a trusted key has made a signature. The model file itself is not needed.

    Args:
        signature: The object of the signature file.
        keys: The trusted keys.
        name: Name of the model file in messages.

    Raises:
        ModelError: The signature is malformed, of an unknown key or not valid.
        UsageError: The library of the extra `remote` is missing.
    """
    _require_cryptography()
    from cryptography.exceptions import InvalidSignature

    found = signature if isinstance(signature, ModelSignature) else parse_signature(signature)
    known = {key_id(key): key for key in keys}
    if found.key not in known:
        raise ModelError(f"{name} is signed by the key {found.key}, which is not trusted: add its public key, or use another file.")
    try:
        known[found.key].verify(_signature_bytes(found), found.signed_bytes)
    except InvalidSignature as error:
        raise ModelError(f"the signature of {name} is not valid: copy the model and its signature again.") from error
    return found


def verify_file(path: Path, content: bytes, keys: Sequence[Ed25519PublicKey]) -> ModelSignature:
    """Verify a model file by the signature file beside it.

    Args:
        path: The model file.
        content: Its content.
        keys: The trusted keys.

    Raises:
        ModelError: There is no signature, or it is not valid (`verify_model`).
        UsageError: The library of the extra `remote` is missing.
    """
    signature = read_signature(path)
    if signature is None:
        raise ModelError(
            f"{displayable(path)} is not signed (there is no {displayable(signature_path(path).name)}), and with a trusted key "
            "(model.trusted_keys, --public-key) only signed files are used: sign it with edge-export sign, or use another file."
        )
    return verify_model(content, signature, keys, displayable(path))


def sign_model(content: bytes, key: Ed25519PrivateKey, release: int) -> dict[str, Any]:
    """Sign a model file.

    Args:
        content: The file, a network or a cascade.
        key: The private key.
        release: Number of the release, from 1. A device takes no lower one than it has had.

    Returns:
        The object of the signature file.

    Raises:
        ModelError: The file is neither a network of this contract nor a cascade.
        UsageError: The release is out of range.
    """
    if not 1 <= release <= MOST_RELEASE:
        raise UsageError(f"a release is a whole number from 1 to {MOST_RELEASE}, got {release}.")
    unsigned = ModelSignature(
        algorithm=ALGORITHM,
        key=key_id(key.public_key()),
        sha256=hashlib.sha256(content).hexdigest(),
        contract=CONTRACT,
        kind=read_signed_kind(content),
        release=release,
        signature="",
    )
    signature = base64.b64encode(key.sign(unsigned.signed_bytes)).decode()
    return {**asdict(unsigned), "signature": signature}


def read_signed_kind(content: bytes) -> str:
    """Return the kind of a model file: `classifier`, `detector` or `cascade`.

    Only the metadata of a network is read, and only the first bytes of a cascade.

    Raises:
        ModelError: The file is none of these, or a network of another contract.
    """
    if is_cascade(content):
        return "cascade"
    try:
        metadata = read_graph(content).metadata
    except GraphError as error:
        raise ModelError(f"the file is neither a network nor a cascade: {error}.") from error
    kind, contract = metadata.get("maskedge.kind"), metadata.get("maskedge.contract")
    if kind not in ("classifier", "detector"):
        raise ModelError("the file states no kind (maskedge.kind): edge-export writes it (docs/contracts.md).")
    if contract != CONTRACT:
        raise ModelError(f"the file has the contract version {contract!r}, this runtime reads {CONTRACT!r}.")
    return kind


def is_cascade(content: bytes) -> bool:
    """Return True if a file is XML, as cascades are. A network cannot begin like that."""
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def key_id(public: Ed25519PublicKey) -> str:
    """Return the id of a key: the first 16 hex digits of SHA-256 of its 32 bytes."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key file (PEM, SubjectPublicKeyInfo).

    Args:
        path: The file; `bundled` stands for the key of the bundled models.

    Raises:
        UsageError: The file cannot be read or is not such a key, or the library of the extra
            `remote` is missing.
    """
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    path = release_key() if str(path) == BUNDLED else expand_home(path)
    content = _read_key(path, "public")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = " It holds a private key: give the file .pub." if b"PRIVATE KEY" in content else ""
        raise UsageError(f"{displayable(path)} is not a public key in PEM: make one with edge-export keygen.{hint}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{displayable(path)} is not an Ed25519 key: make one with edge-export keygen.")
    return key


def load_public_keys(paths: Sequence[Path]) -> tuple[Ed25519PublicKey, ...]:
    """Read public key files. See `load_public_key`."""
    return tuple(load_public_key(path) for path in paths)


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key file (PEM, PKCS8, without a password).

    Raises:
        UsageError: The file cannot be read or is not such a key, or the library of the extra
            `remote` is missing.
    """
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read_key(path, "private")
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise UsageError(
            f"{displayable(path)} is encrypted: decrypt it into a file that only you can read (openssl pkey -in FILE -out FILE2)."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{displayable(path)} is not a private key in PEM: make one with edge-export keygen.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{displayable(path)} is not an Ed25519 key: make one with edge-export keygen.")
    return key


def generate_key() -> tuple[bytes, bytes]:
    """Generate a key pair.

    Returns:
        The private key (PEM, PKCS8) and the public key (PEM, SubjectPublicKeyInfo).

    Raises:
        UsageError: The library of the extra `remote` is missing.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def release_key() -> Path:
    """Return the path of the public key of the bundled models."""
    return Path(str(files("maskedge") / "models" / "release.pub"))


def _read_key(path: Path, what: str) -> bytes:
    try:
        return read_regular(path, _MOST_KEY_BYTES)
    except OSError as error:
        raise UsageError(f"the {what} key {displayable(path)} cannot be read ({error.strerror}): check the path.") from error


def has_cryptography() -> bool:
    """Return True if the library of the extra `remote` is installed."""
    return find_spec("cryptography") is not None


def _require_cryptography() -> None:
    if not has_cryptography():
        raise UsageError(
            f"keys and signatures need the package cryptography: install the extra remote: {install_command('remote')}"
        )
