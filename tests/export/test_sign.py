"""`edge-export sign`, `keygen` and the signature in `verify`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from helpers.support import write_model
from maskedge.modelfile.contract import MODELS, default_model
from maskedge_export.cli import main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    done = run("keygen", tmp_path / "own.key")
    assert done.exit_code == 0, done.output
    return tmp_path / "own.key"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "own.onnx"
    path.write_bytes(default_model().read_bytes())
    return path


def test_keygen_writes_a_private_key_for_the_user_alone(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert (key.parent / "own.key.pub").read_text().startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_keygen_needs_the_name_of_a_file(name: str) -> None:
    done = run("keygen", name)
    assert done.exit_code == 2
    assert "is a folder: name a file in it" in done.output


def test_keygen_never_replaces_a_file(key: Path) -> None:
    before = key.read_bytes()
    done = run("keygen", key)
    assert done.exit_code == 2
    assert "never replaced" in done.output
    assert key.read_bytes() == before
    key.unlink()
    assert run("keygen", key).exit_code == 2  # the public key is still there
    assert not key.exists()
    assert run("keygen", key.parent / "missing" / "key").exit_code == 5


def test_sign_writes_a_signature_that_verify_reports(model: Path, key: Path) -> None:
    before = model.read_bytes()
    done = run("sign", model, "--key", key, "--release", "3")
    assert done.exit_code == 0, done.output
    assert "a classifier, release 3" in done.output
    assert model.read_bytes() == before
    fields = json.loads((model.parent / "own.onnx.sig").read_text())
    assert (fields["algorithm"], fields["kind"], fields["release"]) == ("ed25519", "classifier", 3)
    done = run("verify", model)
    assert done.exit_code == 0, done.output
    assert "release 3 (not verified: this key is not known here)" in done.output
    done = run("verify", model, "--public-key", f"{key}.pub")
    assert done.exit_code == 0, done.output
    assert "release 3 (valid, own.key.pub)" in done.output


def test_verify_demands_a_signature_of_the_given_key(model: Path, key: Path, tmp_path: Path) -> None:
    done = run("verify", model, "--public-key", f"{key}.pub")
    assert done.exit_code == 4
    assert "is not signed" in done.output
    run("sign", model, "--key", key, "--release", "3")
    run("keygen", tmp_path / "other")
    done = run("verify", model, "--public-key", tmp_path / "other.pub")
    assert done.exit_code == 4
    assert "not trusted" in done.output
    assert "signature: none" in run("verify", _unsigned(tmp_path)).output


def _unsigned(folder: Path) -> Path:
    path = folder / "unsigned.onnx"
    path.write_bytes(default_model().read_bytes())
    return path


def test_sign_refuses_to_go_back_to_a_lower_release(model: Path, key: Path) -> None:
    assert run("sign", model, "--key", key, "--release", "5").exit_code == 0
    signed = (model.parent / "own.onnx.sig").read_bytes()
    done = run("sign", model, "--key", key, "--release", "4")
    assert done.exit_code == 2
    assert "higher release 5" in done.output
    assert (model.parent / "own.onnx.sig").read_bytes() == signed
    assert run("sign", model, "--key", key, "--release", "5").exit_code == 0  # the same once more
    assert run("sign", model, "--key", key, "--release", "4", "--force").exit_code == 0
    write_model(model)
    done = run("sign", model, "--key", key, "--release", "4")
    assert done.exit_code == 2
    assert "another file of the release 4" in done.output
    assert run("sign", model, "--key", key, "--release", "5").exit_code == 0


def test_sign_signs_cascades_and_refuses_other_files(key: Path, tmp_path: Path) -> None:
    cascade = tmp_path / "own.xml"
    cascade.write_bytes((MODELS / "haar.xml").read_bytes())
    done = run("sign", cascade, "--key", key, "--release", "1")
    assert done.exit_code == 0, done.output
    assert "a cascade" in done.output
    for name, content in (("page.xml", b"<html></html>"), ("text.onnx", b"hello"), ("empty.onnx", b"")):
        (tmp_path / name).write_bytes(content)
        done = run("sign", tmp_path / name, "--key", key, "--release", "1")
        assert done.exit_code == 4, done.output
        assert not (tmp_path / f"{name}.sig").exists()
    assert run("sign", tmp_path / "missing.onnx", "--key", key, "--release", "1").exit_code == 4


@pytest.mark.parametrize("release", ["0", "-1", "9007199254740993", "x"])
def test_sign_takes_whole_numbers_from_one(model: Path, key: Path, release: str) -> None:
    assert run("sign", model, "--key", key, "--release", release).exit_code == 2
    assert not (model.parent / "own.onnx.sig").exists()


def test_sign_needs_a_private_key(model: Path, key: Path, tmp_path: Path) -> None:
    for name in ("own.key.pub", "missing"):
        done = run("sign", model, "--key", tmp_path / name, "--release", "1")
        assert done.exit_code == 2
        assert "\n" not in done.output.strip()
