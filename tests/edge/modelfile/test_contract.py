"""Every clause of the model contract, broken one at a time in a real ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from helpers.support import METADATA, write_model
from maskedge import ModelError
from maskedge.modelfile.contract import MODELS, default_model, is_sealed, read_catalogue, read_model, seal
from maskedge.vision.classifier import MaskClassifier


def test_bundled_model_keeps_the_contract() -> None:
    contract = MaskClassifier(default_model()).contract
    assert set(contract.labels) >= {"with_mask", "without_mask"}
    assert contract.size == 64
    assert contract.card["parity"]["worst_difference"] <= 1e-4
    model = onnx.load(default_model())
    assert model.ir_version <= 10
    assert max(entry.version for entry in model.opset_import) <= 18


def test_bundled_figures_are_those_of_the_card() -> None:
    entry = read_catalogue(MODELS)["edgenet.onnx"]
    card = MaskClassifier(default_model()).contract.card
    assert entry["test"]["two_way"] == card["evaluations"][0]["two_way"]
    assert entry["test"]["two_way"]["two_labels"] >= 0.95
    assert entry["labels"] == card["labels"]
    assert entry["parameters"] == card["parameters"] <= 150_000


def test_changed_bundled_model_is_refused(tmp_path: Path) -> None:
    content = bytearray(default_model().read_bytes())
    content[-1000] ^= 1
    (tmp_path / "edgenet.onnx").write_bytes(content)
    (tmp_path / "MODELS.json").write_text((MODELS / "MODELS.json").read_text())
    with pytest.raises(ModelError, match="checksum differs"):
        read_model(tmp_path / "edgenet.onnx")


def test_flipped_byte_is_noticed_without_a_catalogue(tmp_path: Path) -> None:
    content = default_model().read_bytes()
    (tmp_path / "whole.onnx").write_bytes(content)
    assert read_model(tmp_path / "whole.onnx") == content
    for place in (100, len(content) // 2, len(content) - 200):
        flipped = bytearray(content)
        flipped[place] ^= 16
        (tmp_path / "flipped.onnx").write_bytes(flipped)
        with pytest.raises(ModelError, match="damaged"):
            read_model(tmp_path / "flipped.onnx")
    (tmp_path / "short.onnx").write_bytes(content[:-5000])
    with pytest.raises(ModelError, match=r"short\.onnx"):
        MaskClassifier(tmp_path / "short.onnx")


def test_seal_closes_what_is_marked(tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain.onnx").read_bytes()
    assert not is_sealed(plain)
    assert seal(plain) == plain
    marked = write_model(tmp_path / "sealed.onnx", metadata=METADATA | {"maskedge.sha256": "0" * 64}).read_bytes()
    sealed = seal(marked)
    assert is_sealed(sealed)
    assert len(sealed) == len(marked)
    (tmp_path / "sealed.onnx").write_bytes(sealed)
    assert read_model(tmp_path / "sealed.onnx") == sealed


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_weights_in_another_file_are_refused(tmp_path: Path, location: str) -> None:
    path = write_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    weight = next(item for item in model.graph.initializer if item.name == "weights")
    onnx.external_data_helper.set_external_data(weight, location)
    weight.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="must be one file"):
        MaskClassifier(path)


def test_own_model_is_obeyed(tmp_path: Path) -> None:
    metadata = METADATA | {"maskedge.labels": '["day", "dusk", "night"]'}
    classifier = MaskClassifier(write_model(tmp_path / "own.onnx", metadata=metadata, outputs=3, shape=("N", 48, 48, 3)))
    assert classifier.labels == ("day", "dusk", "night")
    answers = classifier.classify(np.full((90, 120, 3), 255, np.uint8), [(0, 0, 50, 50), (20, 20, 60, 70)])
    assert answers.shape == (2, 3)
    assert answers.argmax(axis=1).tolist() == [2, 2]


def test_boxes_are_located_to_where_the_model_sees_the_face(tmp_path: Path) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    boxes = [(60.0, 20.0, 110.0, 70.0), (0.0, 0.0, 50.0, 40.0)]
    plain = MaskClassifier(write_model(tmp_path / "plain.onnx"))
    assert plain.classify_and_locate(image, boxes)[1] == boxes
    assert plain.classify_and_locate(image, [])[1] == []
    model = MaskClassifier(write_model(tmp_path / "places.onnx", place=(0.25, 0.0, 0.75, 1.0)))
    probabilities, located = model.classify_and_locate(image, boxes)
    assert probabilities.shape == (2, 2)
    # The crops are 60 pixels wide: a tenth of the larger side is added all around.
    assert located[0] == pytest.approx((70, 15, 100, 75))
    assert located[1] == pytest.approx((10, -10, 40, 50))
    np.testing.assert_array_equal(probabilities, model.classify(image, boxes))
    # Left in the mirror image is right in the picture.
    left = MaskClassifier(write_model(tmp_path / "left.onnx", place=(0.0, 0.0, 0.5, 1.0)))
    assert left.classify_and_locate(image, boxes)[1][0] == pytest.approx((55, 15, 85, 75))
    assert left.classify_and_locate(image, boxes, mirrored=True)[1][0] == pytest.approx((85, 15, 115, 75))
    assert left.classify_and_locate(image, [], mirrored=True)[1] == []


BROKEN = {
    "places of three numbers": ({"place": (0.0, 0.0, 1.0)}, "'places' must be"),
    "no metadata": ({"metadata": {}}, "no maskedge.contract"),
    "no labels": ({"metadata": {k: v for k, v in METADATA.items() if k != "maskedge.labels"}}, "no maskedge.labels"),
    "newer contract": ({"metadata": METADATA | {"maskedge.contract": "9"}}, "contract version is '9'"),
    "a detector": ({"metadata": METADATA | {"maskedge.kind": "detector"}}, "kind is 'detector'"),
    "labels no JSON": ({"metadata": METADATA | {"maskedge.labels": "with_mask"}}, "metadata cannot be read"),
    "one label": ({"metadata": METADATA | {"maskedge.labels": '["with_mask"]'}}, "two or more names"),
    "label twice": ({"metadata": METADATA | {"maskedge.labels": '["a", "a"]'}}, "twice"),
    "bad crop": ({"metadata": METADATA | {"maskedge.crop": '{"margin": -1, "square": true}'}}, "margin must be"),
    "card a list": ({"metadata": METADATA | {"maskedge.card": "[]"}}, "maskedge.card must be"),
    "other input name": ({"input_name": "image"}, "expected one input 'faces'"),
    "float input": ({"dtype": TensorProto.FLOAT}, "expected one input 'faces' of uint8"),
    "channels first": ({"shape": ("N", 3, 32, 32)}, "the input must be"),
    "fixed batch": ({"shape": (1, 32, 32, 3)}, "free N"),
    "three labels, four outputs": (
        {"metadata": METADATA | {"maskedge.labels": '["a", "b", "c"]'}, "outputs": 4},
        "3 labels need an output",
    ),
    "other output name": ({"output_name": "scores"}, "expected an output 'probabilities'"),
}


@pytest.mark.parametrize(("changes", "clause"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_clause_is_named(tmp_path: Path, changes: dict[str, Any], clause: str) -> None:
    path = write_model(tmp_path / "broken.onnx", **changes)
    with pytest.raises(ModelError, match="breaks the model contract") as refusal:
        MaskClassifier(path)
    assert clause in str(refusal.value)
    assert "edge-export" in str(refusal.value)


def test_missing_model() -> None:
    with pytest.raises(ModelError, match="there is no model file"):
        MaskClassifier(Path("/nowhere/model.onnx"))


def test_folder_as_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        MaskClassifier(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x0a" * 500])
def test_file_that_is_no_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as refusal:
        MaskClassifier(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_newer_format_names_the_runtime(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"needs a newer onnxruntime than the installed \d"):
        MaskClassifier(write_model(tmp_path / "new.onnx", ir_version=99))


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2 * 1024**3)
    with pytest.raises(ModelError, match="is it the right file"):
        MaskClassifier(path)


def test_catalogue_lists_what_is_there() -> None:
    assert set(read_catalogue(MODELS)) == {path.name for path in MODELS.iterdir() if path.suffix in (".onnx", ".xml")}


def test_a_catalogue_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MODELS.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"MODELS\.json is not a catalogue"):
        MaskClassifier(write_model(tmp_path / "own.onnx"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b'<?xml version="1.0"?>\n<opencv_storage>', "a cascade"),
        (b"PK\x03\x04....", "ZIP"),
        (b"\x89HDF\r\n\x1a\n", "Keras"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        (b"", "empty"),
    ],
    ids=["pointer", "page", "cascade", "zip", "keras", "tflite", "empty"],
)
def test_what_is_often_given_for_a_model_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"not an ONNX model, but .*{named}"):
        read_model(path)
