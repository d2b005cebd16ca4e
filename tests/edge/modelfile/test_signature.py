"""Signatures of model files: who signed what, and what a device with trusted keys takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from helpers.fleet.model_updates import key_pair, other_contract, other_labels, same_model
from helpers.support import write_detector, write_model
from maskedge.config import load_config
from maskedge.errors import ModelError, UsageError
from maskedge.modelfile import signature, trusted
from maskedge.modelfile.contract import MODELS, default_detector, default_model, read_model
from maskedge.modelfile.signature import ModelSignature, load_private_key, load_public_key, sign_model, signature_path, verify_model
from maskedge.runtime.build import open_detector
from maskedge.vision.detectors import load_detector
from maskedge.vision.self_test import verify

BUNDLED = sorted([*MODELS.glob("*.onnx"), MODELS / "haar.xml"])


@pytest.fixture(autouse=True)
def _no_keys_afterwards() -> Iterator[None]:
    yield
    trusted.trust_keys(())


def sign_beside(path: Path, key: signature.Ed25519PrivateKey, release: int = 1) -> None:
    signature_path(path).write_text(json.dumps(sign_model(path.read_bytes(), key, release)))


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_each_bundled_file_has_a_valid_signature_of_the_release_key(path: Path) -> None:
    found = signature.verify_file(path, path.read_bytes(), [load_public_key(Path("bundled"))])
    assert found.release >= 1


def test_private_release_key_is_not_in_the_repository() -> None:
    assert [path.name for path in MODELS.iterdir() if b"PRIVATE KEY" in path.read_bytes()] == []


def test_signature_covers_file_kind_contract_and_release(tmp_path: Path) -> None:
    key, _ = key_pair(tmp_path)
    content = default_model().read_bytes()
    signed = sign_model(content, key, 7)
    found = verify_model(content, signed, [key.public_key()])
    assert (found.kind, found.contract, found.release) == ("classifier", "1", 7)
    for change in ({"release": 8}, {"kind": "detector"}, {"contract": "2"}, {"sha256": "0" * 64}):
        with pytest.raises(ModelError, match="signature of the model is not valid"):
            verify_model(content, signed | change, [key.public_key()])
    with pytest.raises(ModelError, match="not for the model"):
        verify_model(content + b"\0", signed, [key.public_key()])


def test_signature_is_of_a_trusted_key(tmp_path: Path) -> None:
    key, other = key_pair(tmp_path)[0], key_pair(tmp_path, "other")[0]
    content = default_model().read_bytes()
    signed = sign_model(content, other, 1)
    with pytest.raises(ModelError, match="not trusted"):
        verify_model(content, signed, [key.public_key()])
    with pytest.raises(ModelError, match="not trusted"):
        verify_model(content, signed, [])
    # The id of a trusted key does not make a signature one of that key.
    with pytest.raises(ModelError, match="not valid"):
        verify_model(content, signed | {"key": signature.key_id(key.public_key())}, [key.public_key()])


def test_another_kind_than_the_signed_one_is_refused(tmp_path: Path) -> None:
    key, _ = key_pair(tmp_path)
    content = default_detector().read_bytes()
    found = ModelSignature(**sign_model(content, key, 1))
    lie = ModelSignature(**(asdict(found) | {"kind": "classifier"}))
    lie = ModelSignature(**(asdict(lie) | {"signature": base64.b64encode(key.sign(lie.signed_bytes)).decode()}))
    with pytest.raises(ModelError, match="signed as a classifier, but is a detector"):
        verify_model(content, lie, [key.public_key()])


def test_files_that_are_no_models_are_not_signed(tmp_path: Path) -> None:
    key, _ = key_pair(tmp_path)
    for content, reason in ((b"", "neither"), (b"hello", "neither"), (other_contract(), "contract version '2'")):
        with pytest.raises(ModelError, match=reason):
            sign_model(content, key, 1)
    with pytest.raises(UsageError, match="whole number from 1"):
        sign_model(default_model().read_bytes(), key, 0)


def test_no_forged_truncated_or_changed_signature_is_accepted(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    key, other = key_pair(tmp_path)[0], key_pair(tmp_path, "other")[0]
    content = write_detector(tmp_path / "small.onnx").read_bytes()
    text = json.dumps(sign_model(content, key, 5)).encode()
    forged = sign_model(content, other, 6) | {"key": signature.key_id(key.public_key())}
    variants = [text[:length] for length in range(len(text))]
    for _ in range(1000):
        flipped = bytearray(text)
        flipped[random.integers(len(text))] ^= 1 << int(random.integers(8))
        variants.append(bytes(flipped))
    for _ in range(300):
        variants.append(json.dumps(forged | {"signature": base64.b64encode(random.bytes(64)).decode()}).encode())
        variants.append(json.dumps(json.loads(text) | {"release": int(random.integers(6, 2**40))}).encode())
    accepted = []
    for variant in variants:
        try:
            verify_model(content, json.loads(variant), [key.public_key()])
        except (ModelError, ValueError, RecursionError):
            continue
        accepted.append(variant)
    # A flipped bit of a blank between two tokens, if any, leaves the same object.
    assert [variant for variant in accepted if json.loads(variant) != json.loads(text)] == []


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        "text",
        {},
        {"release": True},
        {"release": 1.5},
        {"release": 0},
        {"release": 2**60},
        {"algorithm": "none"},
        {"algorithm": "hs256"},
        {"kind": "model"},
        {"key": "X" * 16},
        {"key": None},
        {"sha256": "ab"},
        {"signature": ""},
        {"signature": "AA=="},
        {"signature": "\u00e9" * 88},
        {"more": 1},
    ],
)
def test_malformed_signatures_are_refused_with_the_field(fields: object, tmp_path: Path) -> None:
    key, _ = key_pair(tmp_path)
    content = write_model(tmp_path / "small.onnx").read_bytes()
    if isinstance(fields, dict) and fields:
        fields = sign_model(content, key, 1) | fields
    with pytest.raises(ModelError, match="signature"):
        verify_model(content, fields, [key.public_key()])  # type: ignore[arg-type]


def test_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

    key, public = key_pair(tmp_path)
    encrypted, elliptic = tmp_path / "encrypted", tmp_path / "elliptic"
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    curve = ec.generate_private_key(ec.SECP256R1())
    elliptic.write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(UsageError, match=r"give the file \.pub"):
        load_public_key(tmp_path / "key")
    with pytest.raises(UsageError, match="No such file"):
        load_public_key(tmp_path / "missing")
    with pytest.raises(UsageError, match="not a private key"):
        load_private_key(public)
    with pytest.raises(UsageError, match="encrypted"):
        load_private_key(encrypted)
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        load_private_key(elliptic)


def test_without_the_library_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, public = key_pair(tmp_path)
    monkeypatch.setattr(signature, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="install the extra remote"):
        trusted.trust_keys([public])
    clause = trusted.describe_signature(default_model(), default_model().read_bytes())
    assert clause is not None
    assert "not verified: install the extra remote" in clause


def test_swapped_labels_pass_the_self_test_and_are_refused_with_trusted_keys(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(other_labels())
    assert verify(path).passed
    key, public = key_pair(tmp_path)
    trusted.trust_keys([public])
    with pytest.raises(ModelError, match="is not signed"):
        read_model(path)
    # The signature of the file before does not fit.
    signature_path(path).write_text(json.dumps(sign_model(default_model().read_bytes(), key, 1)))
    with pytest.raises(ModelError, match="SHA-256 differs"):
        verify(path)
    sign_beside(path, key)
    assert verify(path).passed


def test_trusted_keys_hold_for_classifiers_detectors_and_cascades(tmp_path: Path) -> None:
    key, public = key_pair(tmp_path)
    cascade, network = tmp_path / "own.xml", tmp_path / "faces.onnx"
    cascade.write_bytes((MODELS / "haar.xml").read_bytes())
    network.write_bytes(default_detector().read_bytes())
    trusted.trust_keys([public])
    for detector in (cascade, network, "haar", "cnn", "haar-stock"):
        with pytest.raises(ModelError, match=r"is not signed|not trusted"):
            load_detector(detector)
    sign_beside(cascade, key)
    sign_beside(network, key)
    load_detector(cascade)
    load_detector(network)
    trusted.trust_keys([public, Path("bundled")])
    load_detector("haar")


def test_run_takes_only_signed_models_with_trusted_keys(tmp_path: Path) -> None:
    key, public = key_pair(tmp_path)
    own = tmp_path / "own.onnx"
    own.write_bytes(same_model("own"))
    file = tmp_path / "edge.toml"
    file.write_text(f'[model]\nfile = "{own}"\ntrusted_keys = ["{public}", "bundled"]\n[source]\nuri = "demo"\n')
    config = load_config(file, {}).config
    with pytest.raises(ModelError, match=r"own\.onnx is not signed"):
        open_detector(config)
    sign_beside(own, key)
    assert open_detector(config).classifier.path == own
    # Without the key of the bundled models, the bundled cascade is refused, too.
    file.write_text(f'[model]\nfile = "{own}"\ntrusted_keys = ["{public}"]\n[source]\nuri = "demo"\n')
    with pytest.raises(ModelError, match=r"haar\.xml is signed by the key .* not trusted"):
        open_detector(load_config(file, {}).config)


def test_damaged_signature_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(same_model("own"))
    for content in (b"", b"\xff\xfe", b"{", b"[" * 5000, b"x" * 5000, b"null"):
        signature_path(path).write_bytes(content)
        with pytest.raises(ModelError, match=r"own\.onnx\.sig"):
            signature.read_signature(path)
