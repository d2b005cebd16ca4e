"""The trainer that all networks share: checkpoints, seeds, early stopping and resuming."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
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
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import Sampler

from maskedge.errors import UsageError
from maskedge_train.shared.checkpoint import read_checkpoint, write_checkpoint
from maskedge_train.shared.lock import check_same_recipe

# Numbers of malloc.h (mallopt(3)).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 32 << 20
"""The largest threshold that glibc accepts, in bytes."""

EXPERIMENT = "maskedge"
"""Name of the experiment at MLflow, unless MLFLOW_EXPERIMENT_NAME names another one."""


@dataclass(frozen=True)
class Engine:
    """Hardware, length and seed of a training.

    Attributes:
        epochs: Maximum number of epochs.
        patience: Epochs without a lower validation loss after which training stops early.
        seed: Seed of weights, sample order and augmentation.
        accelerator: `auto`, `cpu` or `gpu`.
        precision: `auto` (bfloat16 on a GPU that supports it, float32 elsewhere) or a precision
            name of Lightning.
        devices: Processes on this machine, one per device. With several, gradients are averaged
            over all (DDP).
        nodes: Number of machines. torchrun or a cluster launcher starts the same command on each.
        progress: Show progress bars.
        loggers: Where the losses and figures of each epoch go (`open_logger`).
    """

    epochs: int
    patience: int = 10
    seed: int = 0
    accelerator: str = "auto"
    precision: str = "auto"
    devices: int = 1
    nodes: int = 1
    progress: bool = True
    loggers: tuple[str, ...] = ("tensorboard",)


class BalancedBatchSampler(Sampler[list[int]]):
    """A sampler whose batches hold a fixed share of each category, independent of its size.

    Each category is traversed in a new random order, repeatedly, so a sample recurs only after all
    other samples of its category. The order depends on seed and epoch alone, so a resumed training
    gets the same batches as an uninterrupted training.

    Args:
        categories: int64 `[N]`, category of each sample.
        shares: Share of each category. Categories without samples are ignored.
        samples: Samples per epoch, over all processes.
        batch_size: Samples per batch and process.
        seed: Seed of the order.
        times: int64 `[N]`, how often each sample is listed in its category; once by default.

    Raises:
        UsageError: The samples do not fill one batch.
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
                f"an epoch of {samples} samples has {self.quotas.sum()} after rounding the shares of the labels, and a step takes "
                f"{batch_size * self.world}: give more --samples, or a smaller --batch-size."
            )

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return int(self.quotas.sum()) // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        chosen = []
        for rows, quota in zip(self.rows, self.quotas.tolist(), strict=True):
            chosen += [random.permutation(rows)[: quota - start] for start in range(0, quota, max(len(rows), 1))]
        order = random.permutation(np.concatenate(chosen))[self.rank :: self.world]
        for index in range(len(self)):
            yield order[index * self.batch_size : (index + 1) * self.batch_size].tolist()


class _Reseed(Callback):
    """Seeds augmentation and dropout of each step by its number. Resuming is then reproducible."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        torch.manual_seed((self.seed * 1_000_003 + trainer.global_step) * 1_009 + trainer.global_rank)


class _Checkpoint(ModelCheckpoint):
    """Checkpoints in the folder of this training, also if the folder was moved or copied since it began."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which checkpoint is the best. Lightning stores absolute paths, of the folder of that time."""
        folder = Path(self.dirpath or ".")

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        moved = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath, "best_k_models": best})


class _CheckpointIO(TorchCheckpointIO):
    """Checkpoint files that are written atomically and run no code when read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def keep_freed_memory() -> None:
    """Make the C library's allocator keep freed memory for the next step (glibc only).

    By default glibc returns each large tensor to the system and requests it again page by page,
    which takes a third of the time of a step on a CPU.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)


def silence_lightning() -> None:
    """Limit Lightning's output to warnings that a user can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    # Lightning calls a deprecated function of torch; a user cannot act on it.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def check_resume(checkpoint: Path, recipe: Mapping[str, Any]) -> None:
    """Check that a training can be resumed with the same recipe.

    Args:
        checkpoint: The `last.ckpt` of the earlier run.
        recipe: Recipe of the new run.

    Raises:
        UsageError: The checkpoint is missing, or its recipe differs. The message names the
            differences.
        ModelError: The checkpoint cannot be read.
    """
    if not checkpoint.exists():
        raise UsageError(f"there is nothing to resume: {checkpoint} does not exist. Start without --resume.")
    check_same_recipe(checkpoint, read_checkpoint(checkpoint)["maskedge"].get("recipe", {}), recipe)


def open_logger(name: str, out: Path) -> Logger:
    """Return a logger of Lightning.

    Args:
        name: `tensorboard`, `csv` or `mlflow`.
        out: Folder of the training. `tensorboard` and `csv` write into its folder `logs`. Its name is
            the name of the run at MLflow, whose server is in MLFLOW_TRACKING_URI.

    Raises:
        UsageError: The package mlflow is missing, or no server is named.
    """
    if name == "csv":
        return CSVLogger(out, name="", version="logs")
    if name != "mlflow":
        return TensorBoardLogger(out, name="", version="logs")
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:
        raise UsageError("--logger mlflow needs a server: set MLFLOW_TRACKING_URI, such as http://mlflow.example.org:5000.")
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    # MLflow would report its use to its maker, and keep an identifier in ~/.config. It reads this when it is loaded.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        logger = MLFlowLogger(experiment, run_name=out.name, tracking_uri=server)
    except ModuleNotFoundError as error:
        raise UsageError("--logger mlflow needs the package mlflow: pip install mlflow-skinny.") from error
    return logger


def build_trainer(
    engine: Engine, out: Path, *, extra_callbacks: Sequence[Callback] = (), reload_every_epoch: bool = False
) -> lightning.Trainer:
    """Build the trainer, which writes `best.ckpt`, `last.ckpt` and logs.

    `best.ckpt` holds the epoch with the lowest `val_loss`, `last.ckpt` the latest epoch. The logs
    of TensorBoard and CSV go to `out/logs`.

    Args:
        engine: Hardware, length and seed of the training.
        out: Output folder.
        extra_callbacks: Further Lightning callbacks.
        reload_every_epoch: Rebuild the training data loader before each epoch.
    """
    silence_lightning()
    keep_freed_memory()
    gpu = torch.cuda.is_available() and engine.accelerator != "cpu"
    precision = engine.precision
    if precision == "auto":
        precision = "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"
    best = _Checkpoint(out, "best", monitor="val_loss", enable_version_counter=False, save_on_train_epoch_end=True)
    # Lightning's `save_last` follows the best epoch and would lose later ones. This callback comes
    # second, so that it records the best epoch.
    last = _Checkpoint(out, "last", enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[Callback] = [
        _Reseed(engine.seed),
        EarlyStopping("val_loss", patience=engine.patience),
        *extra_callbacks,
        best,
        last,
    ]
    if engine.progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    several = engine.devices * engine.nodes > 1
    return lightning.Trainer(
        max_epochs=engine.epochs,
        accelerator=engine.accelerator,
        devices=engine.devices,
        num_nodes=engine.nodes,
        # One process per device: gloo without a GPU, NCCL with one.
        strategy="ddp" if several else "auto",
        precision=precision,  # type: ignore[arg-type]
        callbacks=callbacks,
        logger=[open_logger(name, out) for name in engine.loggers],
        plugins=[_CheckpointIO()],
        enable_progress_bar=engine.progress,
        enable_model_summary=False,
        log_every_n_steps=10,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=int(reload_every_epoch),
    )


def one_cycle(net: nn.Module, learning_rate: float, weight_decay: float, steps: int, *, warmup: float) -> Any:
    """Build AdamW with a one-cycle schedule, in the form that Lightning expects.

    Weight decay applies to matrices only, not to biases and normalisation layers.

    Args:
        net: Network to train.
        learning_rate: Peak of the schedule.
        weight_decay: Weight decay of the matrices.
        steps: Total number of steps.
        warmup: Share of the steps before the peak.

    Returns:
        Lightning's dictionary of optimiser and schedule.
    """
    matrices = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=warmup)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def engine_facts(engine: Engine) -> dict[str, Any]:
    """Return the settings of an engine that affect the result, as part of the recipe."""
    return {name: value for name, value in asdict(engine).items() if name not in ("accelerator", "progress", "loggers")}
