"""Updated models at the start of `edge-run`, in its state and in `edge-doctor`."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from helpers.fleet.model_updates import key_pair, other_labels, same_model
from maskedge.cli import app, doctor
from maskedge.config import load_config
from maskedge.errors import ModelError, UsageError
from maskedge.modelfile import trusted
from maskedge.modelfile.contract import default_model
from maskedge.modelfile.signature import parse_signature, sign_model, signature_path
from maskedge.remote.model_store import ModelStore
from maskedge.remote.model_update import open_updater
from maskedge.runtime.build import build_run, open_detector, start_tracking
from maskedge.sources import open_source
from maskedge.sources.demo import draw


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The state folder of this test."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    yield tmp_path / "state"
    trusted.trust_keys(())


def configure(folder: Path, public: Path, *, model: str = "", keys: str = "bundled") -> Path:
    file = folder / "edge.toml"
    file.write_text(f"""
[source]
uri = "demo"
[mqtt]
url = "mqtt://127.0.0.1:9"
topic = "maskedge/door"
[fleet]
enabled = true
commands = ["update_model"]
trusted_keys = ["{public}"]
[model]
trusted_keys = ["{keys}", "{public}"]
{model}
""")
    return file


def store_model(state: Path, content: bytes, key: Any, release: int, *, confirmed: bool = True) -> ModelStore:
    store = ModelStore(state / "models")
    store.activate("classifier", store.add(content, parse_signature(sign_model(content, key, release))))
    if confirmed:
        store.confirm("classifier")
    return store


def test_run_uses_the_updated_model_and_reports_it(tmp_path: Path, state: Path) -> None:
    key, public = key_pair(tmp_path)
    content = same_model("new")
    store_model(state, content, key, 4)
    config = load_config(configure(tmp_path, public), {}).config
    updater = open_updater(config)
    assert updater is not None
    assert "the classifier is release 4, the detector is the bundled one" in updater.notice
    detector, source = open_detector(config, chosen=False, updater=updater), open_source("demo")
    assert detector.classifier.path.read_bytes() == content
    start_tracking(config, source, detector)
    built = build_run(load_config(None, {}, {"source.uri": "demo"}).config, source, detector, [])
    assert built.context.state is not None
    assert built.context.state.snapshot()["model"]["release"] == 4
    # The state follows a switch, from the next frame on.
    detector.replace_networks(detector.variant(classifier=default_model()))
    detector(draw(0))
    assert built.context.state.snapshot()["model"]["name"] == default_model().name
    source.close()
    updater.close()


def test_run_falls_back_when_the_updated_model_is_refused(tmp_path: Path, state: Path) -> None:
    key, public = key_pair(tmp_path)
    file = configure(tmp_path, public, model='labels = ["without_mask", "with_mask"]')
    store = store_model(state, same_model("new"), key, 4)
    active = store.state("classifier").active
    assert active is not None
    store.path(active).write_bytes(b"damaged")
    config = load_config(file, {}).config
    updater = open_updater(config)
    assert updater is not None
    assert open_detector(config, chosen=False, updater=updater).classifier.path.parent == default_model().parent
    assert "damaged" in updater.given_up()[0].sentence


def test_configured_model_is_used_instead_of_an_updated_one(tmp_path: Path, state: Path) -> None:
    key, public = key_pair(tmp_path)
    store_model(state, same_model("new"), key, 4)
    config = load_config(configure(tmp_path, public, model=f'file = "{default_model()}"'), {}).config
    updater = open_updater(config)
    assert updater is not None
    assert "the classifier is set by model.file" in updater.notice
    assert open_detector(config, chosen=False, updater=updater).classifier.path == default_model()


def test_updates_need_keys_of_models(tmp_path: Path) -> None:
    _, public = key_pair(tmp_path)
    file = configure(tmp_path, public)
    file.write_text(re.sub(r"\[model\]\ntrusted_keys = .*\n", "", file.read_text()))
    with pytest.raises(UsageError, match=r"set model\.trusted_keys"):
        open_updater(load_config(file, {}).config)
    file.write_text(file.read_text().replace('commands = ["update_model"]', ""))
    assert open_updater(load_config(file, {}).config) is None


def test_bundled_models_need_their_key_as_well(tmp_path: Path) -> None:
    _, public = key_pair(tmp_path)
    config = load_config(configure(tmp_path, public, keys=str(public)), {}).config
    with pytest.raises(ModelError, match="not trusted"):
        open_detector(config, chosen=False, updater=open_updater(config))


def test_doctor_lists_updated_models_and_signatures(tmp_path: Path, state: Path) -> None:
    key, _ = key_pair(tmp_path)
    store = store_model(state, same_model("new"), key, 4, confirmed=False)
    own = tmp_path / "own.onnx"
    own.write_bytes(same_model("own"))
    signature_path(own).write_text(json.dumps(sign_model(own.read_bytes(), key, 9)))
    output = CliRunner().invoke(doctor.main, ["--model", str(own)]).output
    assert re.search(r"ok +updated classifier in .*: release 4 .*, before it the bundled one; not confirmed yet", output)
    assert "release 9 (not verified: this key is not known here)" in output
    own.write_bytes(other_labels())
    active = store.state("classifier").active
    assert active is not None
    store.path(active).unlink()
    output = CliRunner().invoke(doctor.main, ["--model", str(own)]).output
    assert "FAIL model: the signature is not for" in output
    assert re.search(r"FAIL updated classifier .* cannot be read .* -> edge-run uses the bundled one instead", output)


def test_app_takes_only_models_of_its_trusted_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("streamlit")
    from maskedge.app import model_library, server

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    monkeypatch.setattr(server, "serve", lambda *arguments: None)
    assert CliRunner().invoke(app.main, ["--port", port, "--trusted-key", "bundled"]).exit_code == 0
    assert model_library.installed_models()[0].name == default_model().name
    with pytest.raises(ModelError, match=r"own\.onnx is not signed"):
        model_library.check_model("own.onnx", same_model("own"))
    done = CliRunner().invoke(app.main, ["--port", port, "--trusted-key", str(tmp_path / "missing")])
    assert done.exit_code == 2
    assert "missing cannot be read" in done.output
