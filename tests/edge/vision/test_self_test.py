"""The proof that a file carries, and its card, with nothing but the base install."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from helpers.support import METADATA, write_model
from maskedge import ModelError
from maskedge.modelfile.contract import MODELS, default_model
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.model_card import render_card
from maskedge.vision.self_test import SelfTest, verify


def with_selftest(path: Path, change: float = 0.0, **fields: object) -> Path:
    """A tiny classifier with a self-test; its answers are off by `change`."""
    crops = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 255)])
    answers = MaskClassifier(write_model(path)).classify_crops(crops)
    text = SelfTest(crops, answers + np.array([change, -change], np.float32), 1e-4).to_json()
    text = json.dumps(json.loads(text) | fields)
    return write_model(path, metadata=METADATA | {"maskedge.selftest": text})


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.name)
def test_bundled_models_prove_themselves(path: Path) -> None:
    found = verify(path)
    assert found.passed
    # Probabilities; pixels of a box.
    assert found.worst <= (1e-3 if found.kind == "detector" else 1e-5)
    assert found.inputs >= (4 if found.kind == "detector" else 8)
    assert found.checksums == ("its own", "MODELS.json")


def test_selftest_knows_masked_from_unmasked() -> None:
    text = MaskClassifier().contract.selftest
    assert text is not None
    assert set(SelfTest.from_json(text).answers.argmax(axis=1).tolist()) >= {0, 1}


def test_other_answers_fail(tmp_path: Path) -> None:
    assert verify(with_selftest(tmp_path / "model.onnx")).passed
    found = verify(with_selftest(tmp_path / "model.onnx", change=0.01))
    assert not found.passed
    assert found.worst == pytest.approx(0.01, rel=0.1)


def huge_png() -> str:
    """The head of a PNG of 10^10 pixels."""
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5B", 13, b"IHDR", 100_000, 100_000, 8, 2, 0, 0, 0)
    return base64.b64encode(head + b"\0" * 100).decode()


@pytest.mark.parametrize(
    "fields",
    [
        *({"crops": "no base64!"}, {"crops": "AAAA"}, {"crops": huge_png()}, {"answers": [[1.0]]}, {"tolerance": None}),
        *({"answers": "x"}, {"answers": [[1], [1, 2]]}, {"crops": 3}, {"tolerance": [1]}),
    ],
)
def test_broken_selftest_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="export it again"):
        verify(with_selftest(tmp_path / "model.onnx", **fields))


def test_file_without_selftest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no self-test"):
        verify(write_model(tmp_path / "model.onnx"))


def test_card_of_the_bundled_model() -> None:
    path = default_model()
    card = render_card(path)
    assert card == path.with_suffix(".md").read_text(encoding="utf-8")
    for words in (
        "Use and misuse",
        "digest of the split",
        "licences",
        "incorrect_mask",
        "crop of 16 pixels",
        "parity with PyTorch",
        "torch",
    ):
        assert words in card


def test_card_of_a_file_that_tells_little(tmp_path: Path) -> None:
    card = render_card(write_model(tmp_path / "own.onnx"))
    assert "does not state its training data" in card
    assert "not known" in card


@pytest.mark.parametrize(
    ("facts", "row"),
    [
        ({"epochs": 3, "train_seconds": 9}, "3 epochs, 9 s"),
        (
            {"epochs": 3, "train_seconds": 9, "recipe": {"init": "abc", "average": [["def", 0.25]]}},
            "3 epochs, 9 s, from the weights of the file with SHA-256 `abc`; averaged with other files, by SHA-256: 0.25 of `def`",
        ),
        (
            {"epochs": 0, "train_seconds": 0, "recipe": {"init": "abc", "average": [["def", 0.25], ["123", 0.5]]}},
            "as an average of other files, by SHA-256: 0.25 of `abc`, 0.25 of `def`, 0.5 of `123`",
        ),
    ],
)
def test_a_card_tells_how_the_weights_came_about(tmp_path: Path, facts: dict[str, object], row: str) -> None:
    path = write_model(tmp_path / "own.onnx", metadata=METADATA | {"maskedge.card": json.dumps(facts)})
    assert f"| trained | {row} |" in render_card(path)


def test_a_text_of_a_card_does_not_control_the_terminal(tmp_path: Path) -> None:
    card = json.dumps({"net": "\x1b[2J\u202eown"})
    path = write_model(tmp_path / "own.onnx", metadata=METADATA | {"maskedge.card": card})
    assert r"| net | \x1b[2J\u202eown |" in render_card(path)


@pytest.mark.parametrize(
    "card",
    [
        *('{"parameters": "many"}', '{"evaluations": [1]}', '{"evaluations": 3}', '{"recipe": 1}', '{"data": {"pictures": "x"}}'),
        *('{"licences": [1], "data": {"pictures": 1}}', '{"limits": [{}]}', '{"versions": 5}', '{"gate": {"a": 1}}'),
        *('{"train_seconds": 1e999}', '{"parity": 1}'),
    ],
)
def test_a_card_of_another_form_is_refused_in_a_sentence(tmp_path: Path, card: str) -> None:
    path = write_model(tmp_path / "own.onnx", metadata=METADATA | {"maskedge.card": card})
    try:
        assert render_card(path)
    except ModelError as error:
        assert "export it again" in str(error).lower() or "cannot be shown" in str(error)


def test_bundled_models_are_small() -> None:
    assert sum(path.stat().st_size for path in MODELS.glob("*.onnx")) <= 1_850_000
