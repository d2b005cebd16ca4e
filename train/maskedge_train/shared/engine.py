"""What every training of the project shares: the trainer, its checkpoints, its seeds, and how it goes on after a kill."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import Sampler

from maskedge.errors import UsageError
from maskedge_train.shared.checkpoint import read_checkpoint, write_checkpoint

# Numbers of malloc.h (mallopt(3)).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 32 << 20
"""The most that glibc admits, in bytes."""


@dataclass(frozen=True)
class Engine:
    """On what, how long and how a training runs.

    Attributes:
        epochs: Most passes.
        patience: Passes without a better validation loss after which training stops early.
        seed: Seed of weights, order and augmentation.
        accelerator: `auto`, `cpu` or `gpu`.
        precision: `auto` (bfloat16 where there is a GPU that has it, else float32), or one of Lightning's names.
        devices: Processes on this machine, one a device; with several, gradients are averaged over all (DDP).
        nodes: Machines, each started with the same command by torchrun or a cluster's launcher.
        progress: Show progress bars.
    """

    epochs: int
    patience: int = 10
    seed: int = 0
    accelerator: str = "auto"
    precision: str = "auto"
    devices: int = 1
    nodes: int = 1
    progress: bool = True


class Balanced(Sampler[list[int]]):
    """Batches in which each category of samples has a fixed share, whatever its size.

    Each category is walked through in a fresh random order, again and again, so no sample is seen twice before all were seen once.
    The order depends on seed and epoch alone: a resumed training sees what an unbroken one would have.

    Args:
        categories: int64 `[N]`, category of each sample.
        shares: Share of each category; those that have no sample are left out.
        samples: Samples an epoch, over all processes.
        batch_size: Samples a batch and process.
        seed: Seed of the order.
        times: int64 `[N]`, how often each sample stands in its category; once where this is not given.

    Raises:
        UsageError: The samples do not fill a batch.
    """

    def __init__(
        self,
        categories: npt.NDArray[Any],
        shares: Sequence[float],
        samples: int,
        batch_size: int,
        seed: int,
        times: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.rows = [np.flatnonzero(categories == category) for category in range(len(shares))]
        if times is not None:
            self.rows = [np.repeat(rows, times[rows]) for rows in self.rows]
        weights = np.array([share if len(rows) else 0.0 for share, rows in zip(shares, self.rows, strict=True)])
        self.quotas = np.floor(weights / weights.sum() * samples).astype(int)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.rank, self.world = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        if not len(self):
            raise UsageError(
                f"a pass of {samples} samples has {self.quotas.sum()} once the shares of the labels are rounded, and a step takes "
                f"{batch_size * self.world}: give more --samples, or a smaller --batch-size."
            )

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch comes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return int(self.quotas.sum()) // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        drawn = []
        for rows, quota in zip(self.rows, self.quotas.tolist(), strict=True):
            drawn += [random.permutation(rows)[: quota - start] for start in range(0, quota, max(len(rows), 1))]
        order = random.permutation(np.concatenate(drawn))[self.rank :: self.world]
        for index in range(len(self)):
            yield order[index * self.batch_size : (index + 1) * self.batch_size].tolist()


class _Reseed(Callback):
    """Seed augmentation and dropout of each step by its number, so that a resumed training repeats an unbroken one exactly."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        torch.manual_seed((self.seed * 1_000_003 + trainer.global_step) * 1_009 + trainer.global_rank)


class _CheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or absent, and that run no code when they are read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def keep_freed_memory() -> None:
    """Let the allocator of the C library keep what is freed for the next step, where it has such settings (glibc).

    It would give each large tensor back to the system and ask for it again, page by page: a third of the time of a step on a CPU.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)


def quieten() -> None:
    """Keep Lightning to what a user can act on: no advertisements, no notes on idle hardware or loader workers."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    # Its own leaf check is deprecated in torch; nothing a user can act on.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def check_resume(checkpoint: Path, recipe: Mapping[str, Any]) -> None:
    """Refuse to go on with a training that was begun otherwise.

    Args:
        checkpoint: The `last.ckpt` of the earlier run.
        recipe: What the run to come would do.

    Raises:
        UsageError: There is none, or its recipe differs; the text says in what.
        ModelError: It cannot be read.
    """
    if not checkpoint.exists():
        raise UsageError(f"there is nothing to resume: {checkpoint} does not exist. Start without --resume.")
    begun = read_checkpoint(checkpoint)["maskedge"].get("recipe", {})
    differing = [f"{name} was {begun.get(name)!r}, now {value!r}" for name, value in recipe.items() if begun.get(name) != value]
    if differing:
        raise UsageError(
            f"{checkpoint} cannot be resumed with another recipe: {'; '.join(differing)}. Repeat the first command, or train anew "
            "in another --out."
        )


def build_trainer(
    engine: Engine, out: Path, *, more: Sequence[Callback] = (), reload_every_epoch: bool = False
) -> tuple[lightning.Trainer, ModelCheckpoint]:
    """Build the trainer: `best.ckpt` by `val_loss`, `last.ckpt` after every epoch, TensorBoard logs in `out/logs`.

    Args:
        engine: How long and on what.
        out: Folder for what is written.
        more: Further callbacks.
        reload_every_epoch: Ask for the training data anew before each epoch: they differ from epoch to epoch.
    """
    quieten()
    keep_freed_memory()
    gpu = torch.cuda.is_available() and engine.accelerator != "cpu"
    precision = engine.precision
    if precision == "auto":
        precision = "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"
    best = ModelCheckpoint(out, "best", monitor="val_loss", enable_version_counter=False, save_on_train_epoch_end=True)
    # Of its own: `save_last` follows the best epoch, and would lose those after it. It comes second, so that it knows the best.
    last = ModelCheckpoint(out, "last", enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[Callback] = [_Reseed(engine.seed), EarlyStopping("val_loss", patience=engine.patience), *more, best, last]
    if engine.progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    several = engine.devices * engine.nodes > 1
    trainer = lightning.Trainer(
        max_epochs=engine.epochs,
        accelerator=engine.accelerator,
        devices=engine.devices,
        num_nodes=engine.nodes,
        # Processes of their own, by gloo without a GPU and by NCCL with one.
        strategy="ddp" if several else "auto",
        precision=precision,  # type: ignore[arg-type]
        callbacks=callbacks,
        logger=TensorBoardLogger(out, name="", version="logs"),
        plugins=[_CheckpointIO()],
        enable_progress_bar=engine.progress,
        enable_model_summary=False,
        log_every_n_steps=10,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=int(reload_every_epoch),
    )
    return trainer, best


def one_cycle(net: nn.Module, learning_rate: float, weight_decay: float, steps: int, *, warm: float) -> Any:
    """Give AdamW with a one-cycle schedule, as Lightning wants them; biases and normalisation do not decay.

    Args:
        net: What is trained.
        learning_rate: Peak of the schedule.
        weight_decay: Of the matrices.
        steps: Steps in all.
        warm: Share of them until the peak.
    """
    matrices = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=warm)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def describe(engine: Engine) -> dict[str, Any]:
    """Give what of the engine changes the result, for the recipe."""
    return {name: value for name, value in asdict(engine).items() if name not in ("accelerator", "progress")}
