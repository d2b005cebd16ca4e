from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from maskedge import ModelError
from maskedge.modelfile.crop import CropRule
from maskedge_train.classifier.checkpoint import ClassifierSpec, load_classifier
from maskedge_train.classifier.nets import build
from maskedge_train.shared.checkpoint import write_checkpoint


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickle_bomb_is_refused_unexecuted(tmp_path: Path) -> None:
    for name, save in (("plain", lambda o, p: p.write_bytes(pickle.dumps(o))), ("torch", torch.save)):
        path = tmp_path / f"{name}.ckpt"
        save({"maskedge": Bomb(tmp_path / "crater")}, path)
        with pytest.raises(ModelError, match="nothing in it was executed"):
            load_classifier(path)
    assert not (tmp_path / "crater").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_forbidden_checkpoint_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "secret.ckpt").touch(0)
    with pytest.raises(ModelError, match=r"secret\.ckpt cannot be read \(Permission denied\)"):
        load_classifier(tmp_path / "secret.ckpt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    with pytest.raises(ModelError, match="there is no checkpoint"):
        load_classifier(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ModelError, match="another project"):
        load_classifier(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="damaged"):
        load_classifier(path)
    torch.save({"maskedge": {"net": "edgenet"}, "state_dict": {}}, path)
    with pytest.raises(ModelError, match="does not fit"):
        load_classifier(path)
    spec = ClassifierSpec("edgenet", ("with_mask", "without_mask"), 64, CropRule(), 0.5).to_dict()
    torch.save({"maskedge": {**spec, "net": "of the future"}, "state_dict": {}}, path)
    with pytest.raises(ModelError, match="does not fit"):
        load_classifier(path)
    torch.save({"maskedge": "by hand", "state_dict": {}}, path)
    with pytest.raises(ModelError, match="another project"):
        load_classifier(path)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    net = build("edgenet", 2)
    spec = ClassifierSpec("edgenet", ("with_mask", "without_mask"), 64, CropRule(0.1, square=True))
    next(net.parameters()).data[0] = torch.nan
    path = tmp_path / "diverged.ckpt"
    weights = {f"net.{name}": value for name, value in net.state_dict().items()}
    write_checkpoint(path, {"state_dict": weights, "maskedge": spec.to_dict()})
    with pytest.raises(ModelError, match="has weights that are infinite or not numbers: train it again"):
        load_classifier(path)
