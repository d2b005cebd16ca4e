"""Models that the server takes: signature, contract, self-test and release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from helpers.support import write_model
from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.contract import MODELS
from maskedge.modelfile.signature import sign_model
from maskedge_fleet.database.tables import Model
from maskedge_fleet.rollouts import models
from maskedge_fleet.rollouts.models import add_model, find_model, model_keys, read_signature_text

KEY = Ed25519PrivateKey.generate()
CONTENT = (MODELS / "edgenet.onnx").read_bytes()
OTHER = (MODELS / "edgenet.int8.onnx").read_bytes()


def add(engine: Engine, content: bytes = CONTENT, signature: Any = None, release: int = 2, key: Ed25519PrivateKey = KEY) -> str:
    with Session(engine) as session, session.begin():
        signed = sign_model(content, key, release) if signature is None else signature
        return add_model(session, content, signed, r"C:\models\edge.onnx", [KEY.public_key()], by="test").sha256


def count(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(Model)) or 0


def test_a_signed_model_is_stored_once(engine: Engine) -> None:
    digest = add(engine)
    assert add(engine) == digest
    assert count(engine) == 1
    with Session(engine) as session:
        model = find_model(session, digest[:8])
        assert (model.name, model.kind, model.release, model.size) == ("edge.onnx", "classifier", 2, len(CONTENT))
        assert model.content == CONTENT
        assert model.card["labels"] == ["with_mask", "without_mask", "incorrect_mask", "not_a_face"]


def test_the_release_must_rise(engine: Engine) -> None:
    add(engine, release=5)
    for release in (4, 5):
        with pytest.raises(ModelError, match=f"has the release {release}, and the newest classifier has 5"):
            add(engine, OTHER, release=release)
    add(engine, OTHER, release=6)
    assert count(engine) == 2


@pytest.mark.parametrize("content", [CONTENT, OTHER])
def test_a_model_that_is_stored_during_the_self_test_of_another_counts(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    try_model = models._try_model

    def store_another(*given: Any) -> Any:
        monkeypatch.setattr(models, "_try_model", try_model)
        add(engine, content)
        return try_model(*given)

    monkeypatch.setattr(models, "_try_model", store_another)
    if content == CONTENT:
        assert add(engine)
    else:
        with pytest.raises(ModelError, match="has the release 2, and the newest classifier has 2"):
            add(engine)
    assert count(engine) == 1


def test_a_model_without_a_valid_signature_of_a_trusted_key_is_refused(engine: Engine) -> None:
    signature = sign_model(CONTENT, KEY, 2)
    wrong: list[tuple[bytes, Any]] = [
        (OTHER, signature),
        (CONTENT + b"\0", signature),
        (CONTENT, signature | {"release": 3}),
        (CONTENT, signature | {"kind": "detector"}),
        (CONTENT, signature | {"signature": signature["signature"][::-1]}),
        (CONTENT, {}),
        (CONTENT, None or []),
        (CONTENT, sign_model(CONTENT, Ed25519PrivateKey.generate(), 2)),
    ]
    for content, given in wrong:
        with pytest.raises(ModelError):
            add(engine, content, given)
    assert count(engine) == 0


def test_a_signed_file_that_breaks_the_contract_or_its_self_test_is_refused(engine: Engine, tmp_path: Path) -> None:
    # It follows the contract, but holds no self-test.
    with pytest.raises(ModelError, match="no self-test") as caught:
        add(engine, write_model(tmp_path / "model.onnx").read_bytes())
    assert "maskedge-" not in str(caught.value), "no path of this machine"
    with pytest.raises(ModelError):
        add(engine, write_model(tmp_path / "model.onnx", output_name="wrong").read_bytes())
    cascade = (MODELS / "haar.xml").read_bytes()
    with pytest.raises(ModelError, match="is a cascade"):
        add(engine, cascade)
    assert count(engine) == 0


def test_settings_and_files_of_signatures_are_checked(engine: Engine) -> None:
    with pytest.raises(UsageError, match=r"set \[models\] trusted_keys"):
        model_keys(())
    for content in (b"", b"\xff", b"{", b"{" * 5000):
        with pytest.raises(ModelError, match="is not JSON"):
            read_signature_text(content)
    with Session(engine) as session, pytest.raises(UsageError, match="there is no model"):
        find_model(session, "abc")
