"""`edge-export verify` and `inspect`, and invalid input to them and to the export."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner, Result

from helpers.support import METADATA, write_model
from maskedge.modelfile.contract import default_model
from maskedge_export.cli import main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def exported(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the exported files, which no test changes."""
    folder = tmp_path_factory.mktemp("exported")
    done = run(saved, "-o", folder / "model.onnx")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported model."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path / "model.onnx"


def test_verify_alone_and_with_the_checkpoint(model: Path, checkpoint: Path, faces_folder: Path) -> None:
    alone = run("verify", model)
    assert alone.exit_code == 0, alone.output
    assert "its own agree" in alone.output
    assert "8 inputs" in alone.output
    both = run("verify", model, "--checkpoint", checkpoint, "--data", faces_folder)
    assert both.exit_code == 0, both.output
    assert "parity:" in both.output


def test_a_file_with_a_prior_agrees_with_its_checkpoint(model: Path, checkpoint: Path, tmp_path: Path) -> None:
    done = run("annotate", model, "-o", tmp_path / "shifted.onnx", "--prior", "with_mask=-0.5")
    assert done.exit_code == 0, done.output
    both = run("verify", tmp_path / "shifted.onnx", "--checkpoint", checkpoint)
    assert both.exit_code == 0, both.output
    assert "0 labels changed" in both.output
    odd = onnx.load(tmp_path / "shifted.onnx")
    metadata = {entry.key: entry.value for entry in odd.metadata_props if entry.key != "maskedge.sha256"}
    onnx.helper.set_model_props(odd, metadata | {"maskedge.card": '{"prior": {"with_mask": 1e4}}'})
    onnx.save(odd, tmp_path / "odd.onnx")
    both = run("verify", tmp_path / "odd.onnx", "--checkpoint", checkpoint)
    assert both.exit_code == 4
    assert "odd.onnx is refused: the prior of with_mask is 10000" in both.output


def test_verify_notices_another_checkpoint(model: Path, checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    (name,) = [name for name in content["state_dict"] if name.endswith("label.3.bias")]
    content["state_dict"][name] += torch.tensor([0.3, -0.3])
    torch.save(content, checkpoint)
    done = run("verify", model, "--checkpoint", checkpoint)
    assert done.exit_code == 1
    assert "differs from" in done.output
    content["maskedge"]["labels"] = ["a", "b"]
    torch.save(content, checkpoint)
    done = run("verify", model, "--checkpoint", checkpoint)
    assert done.exit_code == 4
    assert "was not exported from" in done.output


def test_inspect_prints_the_card_beside_the_model(model: Path) -> None:
    done = run("inspect", model)
    assert done.exit_code == 0, done.output
    assert done.output == model.with_suffix(".md").read_text()
    assert "Model card: model.onnx" in done.output


def test_help_shows_both_forms() -> None:
    done = run("--help")
    for words in ("CHECKPOINT -o FILE", "COMMAND", "--int8", "verify", "inspect"):
        assert words in done.output
    assert "..." not in done.output.split("Commands:")[1]


def test_refused_models(tmp_path: Path) -> None:
    flipped = bytearray(default_model().read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "flipped.onnx").write_bytes(flipped)
    newer = write_model(tmp_path / "newer.onnx", ir_version=99)
    odd = write_model(tmp_path / "odd.onnx", metadata=METADATA | {"maskedge.labels": '["a", "b", "c"]'}, outputs=4)
    for path, words in (
        (tmp_path / "flipped.onnx", "damaged"),
        (newer, "newer onnxruntime"),
        (odd, "3 labels"),
        (tmp_path, "cannot be read"),
    ):
        for command in ("verify", "inspect"):
            done = run(command, path)
            assert done.exit_code == 4
            assert words in done.output
            assert done.output.count("\n") == 1


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


def test_refused_checkpoints(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    torch.save({"maskedge": _Bomb(tmp_path / "exploded")}, bomb)
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "other.ckpt")
    (tmp_path / "bomb.ckpt").write_bytes(bomb.getvalue())
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(_Bomb(tmp_path / "exploded")))
    for name, words in (
        ("other.ckpt", "another project"),
        ("bomb.ckpt", "nothing in it was executed"),
        ("plain.ckpt", "nothing in it"),
    ):
        done = run(tmp_path / name, "-o", tmp_path / "model.onnx")
        assert done.exit_code == 4
        assert words in done.output
        assert not (tmp_path / "model.onnx").exists()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("command", [(), ("adopt", "--labels", "a,b"), ("int8",), ("annotate", "--prior", "a=1")])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(command: tuple[str, ...], tmp_path: Path) -> None:
    # The input does not exist, so a command that began its work would say so.
    for name in ("folder.md", "listed/MODELS.json"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "device.onnx").symlink_to("/dev/null")
    before = sorted(tmp_path.rglob("*"))
    for name, code, words in (
        ("/proc/model.onnx", 5, "cannot be written"),
        ("none/model.onnx", 5, "does not exist: create it"),
        ("device.onnx", 5, "device.onnx is not a regular file"),
        ("folder.onnx", 5, "folder.md is not a regular file"),
        ("x" * 300 + ".onnx", 5, "File name too long"),
        ("listed/model.onnx", 4, "MODELS.json cannot be read"),
    ):
        done = run(*command[:1], tmp_path / "none.ckpt", "-o", tmp_path / name, *command[1:])
        assert done.exit_code == code, done.output
        assert words in done.output
        assert done.output.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_options_that_would_be_ignored_are_refused(model: Path, checkpoint: Path, faces_folder: Path, tmp_path: Path) -> None:
    done = run("verify", model, "--data", faces_folder)
    assert done.exit_code == 2
    assert "--data needs --checkpoint" in done.output
    done = run(checkpoint, "-o", tmp_path / "own.onnx", "--test-backgrounds", faces_folder)
    assert done.exit_code == 2
    assert "only --int8 and --fp16 are measured on labelled pictures" in " ".join(done.output.split())
    done = run(checkpoint, "-o", tmp_path / "own.pem")
    assert done.exit_code == 2
    assert "does not end with .onnx" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("room.ckpt",), "Missing option '-o'"),
        (("room.ckpt", "-o", "m.onnx", "--nope"), "No such option"),
        (("--int8", "room.ckpt", "-o", "m.onnx"), "--int8 is calibrated"),
        (("verfy", "m.onnx"), "'verfy' is neither a command nor a file: did you mean verify?"),
    ],
)
def test_wrong_usage_shows_the_usage_of_an_export(invoke: Any, arguments: tuple[str, ...], words: str) -> None:
    done = invoke("edge-export", *arguments)
    assert done.returncode == 2
    assert "CHECKPOINT -o FILE [OPTIONS]" in done.stderr.splitlines()[0]
    assert "checkpoint [OPTIONS]" not in done.stderr
    assert words in done.stderr
