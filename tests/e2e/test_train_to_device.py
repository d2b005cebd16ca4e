"""From pictures over training and export to the device, on composite faces: no data set is needed."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest

from maskedge import MaskDetector
from maskedge.vision.classifier import MaskClassifier

pytest.importorskip("torch", reason="PyTorch is not installed (make test installs it)")
pytestmark = pytest.mark.slow  # two trainings

LABELS = ["with_mask", "without_mask", "incorrect_mask", "not_a_face"]


def labels_of(net: str) -> list[str]:
    """Return the labels that the training of a net below must find."""
    return [label for label in LABELS if label != "incorrect_mask"] if net == "seednet" else LABELS


@pytest.fixture(scope="module", params=["edgenet", "seednet"])
def trained(  # type: ignore[no-untyped-def]
    request: pytest.FixtureRequest, command, faces_folder: Path, scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Train the default net on four labels, and the original one on a folder of faces alone, as docs/training.md does first."""
    out = tmp_path_factory.mktemp(request.param)
    if request.param == "seednet":
        recipe = ["--augment", "light", "--mixup", "0.3", "--learning-rate", "1e-3", "--epochs", "6"]
    else:
        scenes = scenes_folder / "boxes.csv"
        backgrounds = scenes_folder / "backgrounds"
        recipe = ["--scenes", scenes, "--backgrounds", backgrounds, "--test-scenes", scenes, "--test-backgrounds", backgrounds]
        (out / "right.csv").write_text("image,label\n" + "".join(f"with_mask/face {n}.jpg,incorrect_mask\n" for n in range(12)))
        recipe += ["--epochs", "4", "--relabel", out / "right.csv", "--oversample", "^1=2"]
    done = command(
        *("edge-train", "classifier", "--data", faces_folder, "--net", request.param, "--samples", "320", "--batch-size", "16"),
        *("--generated", "4"),
        *(*recipe, "--out", out, "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    assert "faces test: accuracy" in done.stdout
    assert "edge-export" in done.stdout
    report = json.loads((out / "report.json").read_text())
    assert report["net"] == request.param
    assert report["labels"] == labels_of(request.param)
    assert report["calibration"]["fitted"] is False
    assert "not calibrated" in done.stderr
    for part in report["evaluations"]:
        assert part["pictures"] == sum(map(sum, part["confusion"]))
    assert report["split"]["test"] > 0
    if request.param == "edgenet":
        given, right = report["evaluations"][:2]
        assert (given["name"], right["name"]) == ("faces test", "faces test, relabelled")
        assert given["labels"]["incorrect_mask"]["count"] == 0
        assert right["labels"]["incorrect_mask"]["count"] > 0
        assert right["pictures"] == given["pictures"]
    for name in ("split.json", "last.ckpt", "report.html", "learning_curves.png"):
        assert (out / name).is_file()
    assert list((out / "logs").glob("events.out.tfevents.*"))
    return out


@pytest.fixture(scope="module")
def exported(trained: Path, command, faces_folder: Path) -> Path:  # type: ignore[no-untyped-def]
    model = trained / "model.onnx"
    done = command("edge-export", trained / "best.ckpt", "-o", model, "--data", faces_folder, "--compact")
    assert done.returncode == 0, done.stderr
    assert "no label changed" in done.stdout
    assert "96 pictures" in done.stdout
    return model


def test_file_keeps_the_contract(exported: Path) -> None:
    contract = MaskClassifier(exported).contract
    # There is too little data for calibration.
    assert contract.card["temperature"] == 1
    assert "not calibrated, since there are too few faces" in exported.with_suffix(".md").read_text()
    assert contract.labels == tuple(labels_of(contract.card["net"]))
    assert contract.card["parity"]["worst_difference"] <= 1e-4
    assert contract.card["parity"]["changed"] == 0
    model = onnx.load(exported)
    assert model.ir_version <= 10
    assert max(entry.version for entry in model.opset_import) <= 18
    assert not any(item.data_location == onnx.TensorProto.EXTERNAL for item in model.graph.initializer)


def test_file_contains_no_paths_of_the_machine(exported: Path, faces_folder: Path) -> None:
    content = exported.read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content
    assert str(Path.home()).encode() not in content
    assert str(faces_folder.parent).encode() not in content


def test_compact_file_is_smaller_and_its_casts_fold_away(exported: Path) -> None:
    net = MaskClassifier(exported).contract.card["net"]
    assert exported.stat().st_size < (2_700_000 if net == "seednet" else 700_000)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(exported.with_suffix(".folded.onnx"))
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(exported), options)
    folded = onnx.load(exported.with_suffix(".folded.onnx"))
    # The only remaining cast converts the uint8 pixels.
    assert [node.op_type for node in folded.graph.node].count("Cast") == 1


def test_second_export_of_a_checkpoint_has_the_same_bytes(exported: Path, trained: Path, invoke, faces_folder: Path) -> None:  # type: ignore[no-untyped-def]
    again = trained / "again.onnx"
    done = invoke("edge-export", trained / "best.ckpt", "-o", again, "--data", faces_folder, "--compact")
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == exported.read_bytes()


def test_model_of_a_plain_folder_rejects_non_faces(exported: Path, trained: Path, invoke) -> None:  # type: ignore[no-untyped-def]
    """After a few steps it does so badly, but it has the label, and the device uses it."""
    detector = MaskDetector(exported)
    assert detector.notice is None
    assert "not_a_face" in detector.classifier.labels
    report = json.loads((trained / "report.json").read_text())
    assert report["data"]["generated"] > 0
    assert report["crops"]["not_a_face"] > report["crops"]["with_mask"] / 2
    assert (trained / "face_boxes.csv").is_file()
    done = invoke("edge-train", "runs", trained)
    assert done.returncode == 0, done.stderr
    assert report["net"] in done.stdout


def test_device_runs_it(exported: Path, command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    # Trained on so few faces, the net stays below the default threshold.
    env = {"MASKEDGE_DETECT_FACE_THRESHOLD": "0.3"}
    events = tmp_path / "e.jsonl"
    done = command("edge-run", "--source", "demo", "--model", exported, "--max-frames", "20", "--events", events, env=env)
    assert done.returncode == 0, done.stderr
    assert sum(len(json.loads(line).get("faces", ())) for line in events.read_text().splitlines()) >= 5


def test_evaluate_repeats_the_figures_of_training(
    trained: Path, invoke, faces_folder: Path, scenes_folder: Path, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    report = json.loads((trained / "report.json").read_text())
    data = ["--data", faces_folder, "--split", trained / "split.json"]
    if report["net"] == "edgenet":
        data += ["--scenes", scenes_folder / "boxes.csv", "--backgrounds", scenes_folder / "backgrounds"]
    done = invoke("edge-train", "evaluate", trained / "best.ckpt", *data, "--out", tmp_path, "--quiet")
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "report.json").read_text())["evaluations"][0]
    assert again["two_way"] == report["evaluations"][0]["two_way"]
    assert (tmp_path / "report.html").is_file()
