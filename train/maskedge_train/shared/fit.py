"""The run of a Lightning trainer, which a signal ends."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Signals(Callback):
    """Notes the signals of a run. One whose exception was lost ends the run before the next step.

    Python discards an exception that is raised in a finaliser, such as that of the data loader's processes.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._handlers: dict[int, Any] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):  # not one that is ignored, or that ends the process at once
                self._handlers[number] = handler
                signal.signal(number, self._note)

    def remove(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._handlers[number](number, frame)

    def end(self) -> None:
        """Raise what the signal asks for, if there was one."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.number is not None:
            sys.exit(128 + self.number)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.end()

    def on_validation_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.end()


def fit(
    trainer: lightning.Trainer, module: lightning.LightningModule, data: lightning.LightningDataModule, resumed: Path | None
) -> None:
    """Train a network.

    Args:
        trainer: The trainer.
        module: The network with its loss.
        data: The samples.
        resumed: Checkpoint of the training that goes on, or None for a new one.

    Raises:
        KeyboardInterrupt: Ctrl-C. Lightning itself would end the process with exit code 1.
        SystemExit: SIGTERM.
    """
    signals = _Signals()
    trainer.callbacks.append(signals)  # type: ignore[attr-defined]
    report = sys.unraisablehook

    def leave_out(lost: sys.UnraisableHookArgs) -> None:
        if signals.number is None or lost.exc_type not in (SystemExit, KeyboardInterrupt):
            report(lost)

    sys.unraisablehook = leave_out
    signals.install()
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
        signals.end()
    except SystemExit:
        signals.end()
        raise
    finally:
        signals.remove()
        sys.unraisablehook = report
