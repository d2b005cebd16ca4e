"""The store of updated models: every state on disk leads to a working model, after kill -9 at any step, too."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.fleet.model_updates import key_pair, same_model
from helpers.support import ROOT
from maskedge.errors import ModelError, OutputError
from maskedge.modelfile.signature import ModelSignature, sign_model
from maskedge.remote.model_store import MOST_STARTS, ModelStore, StoredModel

CHILD = """
import json, os, signal, sys
from pathlib import Path
from maskedge.modelfile.signature import parse_signature
from maskedge.remote.model_store import ModelStore
folder, model, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
content, signature = model.read_bytes(), parse_signature(json.loads(model.with_suffix(".sig").read_text()))
calls = 0
def counted(call):
    def run(*arguments, **more):
        global calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **more)
    return run
for place, names in ((os, ("open", "fsync", "replace", "rename", "mkdir", "unlink")), (Path, ("replace", "unlink", "mkdir"))):
    for name in names:
        setattr(place, name, counted(getattr(place, name)))
store = ModelStore(folder)
added = store.add(content, signature)
print("added", flush=True)
store.activate("classifier", added, "command")
print("activated", flush=True)
store.choose("classifier")
store.confirm("classifier")
print("confirmed", flush=True)
store.give_up("classifier", "a test")
store.discard_unused()
print("calls", calls, flush=True)
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[bytes, ModelSignature]]:
    key, _ = key_pair(tmp_path_factory.mktemp("keys"))
    contents = {release: same_model(str(release)) for release in (1, 2, 3)}
    return {release: (content, ModelSignature(**sign_model(content, key, release))) for release, content in contents.items()}


def activate(store: ModelStore, signed: dict[int, tuple[bytes, ModelSignature]], release: int) -> StoredModel:
    model = store.add(*signed[release])
    store.activate("classifier", model)
    return model


def test_empty_store_stands_for_the_bundled_models(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    assert store.choose("classifier") is None
    assert not (tmp_path / "models").exists()


def test_models_follow_each_other_and_go_back(tmp_path: Path, signed: dict[int, tuple[bytes, ModelSignature]]) -> None:
    store = ModelStore(tmp_path)
    first = activate(store, signed, 1)
    store.confirm("classifier")
    second = activate(store, signed, 2)
    assert ModelStore(tmp_path).choose("classifier") == second
    assert store.give_up("classifier", "a reason").active == first
    state = ModelStore(tmp_path).state("classifier")
    assert (state.active, state.previous, state.failed, state.failure) == (first, None, second.sha256, "a reason")
    assert state.highest_release == 2  # the given up release does not come back
    assert store.revert("classifier") is None
    with pytest.raises(ModelError, match="bundled classifier is in use"):
        store.revert("classifier")


def test_confirmed_model_replaces_older_files(tmp_path: Path, signed: dict[int, tuple[bytes, ModelSignature]]) -> None:
    store = ModelStore(tmp_path)
    for release in (1, 2, 3):
        activate(store, signed, release)
        store.confirm("classifier")
    kept = {signed[release][1].sha256 for release in (2, 3)}
    assert {path.name.split(".")[0] for path in (tmp_path / "files").iterdir()} == kept


def test_model_with_which_the_process_dies_again_and_again_is_given_up(
    tmp_path: Path, signed: dict[int, tuple[bytes, ModelSignature]]
) -> None:
    first = activate(ModelStore(tmp_path), signed, 1)
    ModelStore(tmp_path).confirm("classifier")
    second = activate(ModelStore(tmp_path), signed, 2)
    starts = [ModelStore(tmp_path).choose("classifier") for _ in range(MOST_STARTS + 2)]
    assert starts == [second] * (MOST_STARTS - 1) + [first] * 3
    assert "has ended 3 times" in ModelStore(tmp_path).state("classifier").failure


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "unsigned", "a folder"])
def test_damaged_file_is_given_up_for_the_previous_one(
    damage: str, tmp_path: Path, signed: dict[int, tuple[bytes, ModelSignature]]
) -> None:
    store = ModelStore(tmp_path)
    first = activate(store, signed, 1)
    second = activate(store, signed, 2)
    path = store.path(second)
    content = path.read_bytes()
    if damage == "unsigned":
        path.with_name(f"{path.name}.sig").unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-10])
    elif damage == "changed":
        path.write_bytes(content[:1000] + b"X" + content[1001:])
    else:
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    assert ModelStore(tmp_path).choose("classifier") == first
    store.path(first).unlink()
    assert ModelStore(tmp_path).choose("classifier") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "kinds": {}}',
        '{"version": 1}',
        '{"version": 1, "kinds": {"classifier": {"active": {}}}}',
        '{"version": 1, "kinds": {"classifier": {"active": {"sha256": "../../x", "release": 1, "key": ""}, "previous": null}}}',
        "[" * 10000,
    ],
)
def test_unreadable_state_stands_for_the_bundled_models(
    content: str, tmp_path: Path, signed: dict[int, tuple[bytes, ModelSignature]]
) -> None:
    (tmp_path / "active.json").write_text(content)
    store = ModelStore(tmp_path)
    assert store.choose("classifier") is None
    assert activate(store, signed, 1) == ModelStore(tmp_path).choose("classifier")


def test_full_disk_keeps_the_present_model(
    tmp_path: Path, signed: dict[int, tuple[bytes, ModelSignature]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(tmp_path)
    first = activate(store, signed, 1)
    second = store.add(*signed[2])

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        store.activate("classifier", second)
    with pytest.raises(OutputError, match="No space left"):
        store.add(*signed[3])
    assert store.choose("classifier") == first
    # A file that is damaged on a full disk is given up all the same.
    store.path(first).unlink()
    assert store.choose("classifier") is None
    assert store.state("classifier").active is None


@pytest.mark.slow
def test_kill_at_every_step_leaves_a_whole_model(tmp_path: Path, signed: dict[int, tuple[bytes, ModelSignature]]) -> None:
    model = tmp_path / "new.onnx"
    model.write_bytes(signed[2][0])
    model.with_suffix(".sig").write_text(signed[2][1].to_json())

    def run(folder: Path, kill_at: int) -> subprocess.CompletedProcess[str]:
        activate(ModelStore(folder), signed, 1)
        ModelStore(folder).confirm("classifier")
        command = [sys.executable, "-c", CHILD, str(folder), str(model), str(kill_at)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)

    whole = run(tmp_path / "whole", 0)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stdout.split()[-1])
    assert calls > 20
    seen = set()
    for kill_at in range(1, calls + 1):
        folder = tmp_path / str(kill_at)
        killed = run(folder, kill_at)
        assert killed.returncode == -9, killed.stderr
        store = ModelStore(folder)
        chosen = store.choose("classifier")
        assert chosen is not None
        assert hashlib.sha256(store.path(chosen).read_bytes()).hexdigest() == chosen.sha256
        assert store.path(chosen).with_name(f"{store.path(chosen).name}.sig").is_file()
        seen.add(chosen.release)
        if "activated" in killed.stdout and "confirmed" not in killed.stdout:
            assert chosen.release == 2
        # The next update finds nothing in its way.
        activate(store, signed, 3)
        store.confirm("classifier")
        assert json.loads((folder / "active.json").read_text())["kinds"]["classifier"]["highest_release"] == 3
        assert not list((folder / "files").glob("*.tmp"))
    assert seen == {1, 2}
