"""Signals that end a training."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from maskedge_train.shared.engine import Engine, build_trainer
from maskedge_train.shared.fit import fit


class _InFinaliser:
    """Python discards exceptions that are raised here."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


class _Module(lightning.LightningModule):
    def __init__(self, number: int, *, lost: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.number, self.lost, self.steps = number, lost, 0

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.steps += 1
        if self.steps == 2:
            _InFinaliser(self.number) if self.lost else signal.raise_signal(self.number)
        return self.layer(batch[0]).sum()  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class _Data(lightning.LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(64, 1)))


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_a_training_with_its_exit_code(
    tmp_path: Path, number: int, expected: type[BaseException], lost: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _leave}
    before = {one: signal.signal(one, handler) for one, handler in handlers.items()}
    module = _Module(number, lost=lost)
    try:
        with pytest.raises(expected) as caught:
            fit(build_trainer(Engine(1, progress=False, accelerator="cpu", loggers=()), tmp_path), module, _Data(), None)
        assert {one: signal.getsignal(one) for one in handlers} == handlers
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert getattr(caught.value, "code", 143) == 143
    assert module.steps == 2
    assert "Exception ignored" not in capfd.readouterr().err
