"""Training of the face detector with Lightning."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.utils.data import DataLoader

from maskedge.errors import UsageError
from maskedge.support.files import make_folder
from maskedge_train.data.dataset import Picture
from maskedge_train.shared.engine import Engine, build_trainer, check_resume, engine_facts, one_cycle
from maskedge_train.shared.fit import fit
from maskedge_train.shared.pixels import normalise

from .loss import detection_loss, lost_score_loss
from .net import EdgeFace
from .samples import TILE, WHOLE, Plan, SampleBatches, Scene, WholePictures

_MIN_FACES = 20
_TILES = Plan(batches=1, batch_size=48, side=TILE, whole=0.0, empty=0.2, pasted=0.35)


@dataclass(frozen=True)
class DetectorRecipe:
    """Hyperparameters of a detector's training.

    Attributes:
        batches: Steps per epoch.
        tile_batch: Tiles per step.
        whole_batch: Whole pictures per step.
        whole_share: Share of the epochs, at the end, on whole pictures.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Weight decay of AdamW, except on biases and normalisation.
        box_weight: Weight of the box loss relative to objectness.
        averaging: Decay of the averaged weights per step.
        fixed_statistics: Keep mean and variance of the normalisation layers of the initial weights.
        keep: Weight of the loss for lower scores of faces that the initial network detects.
    """

    batches: int = 150
    tile_batch: int = 48
    whole_batch: int = 10
    whole_share: float = 0.3
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    box_weight: float = 1.0
    averaging: float = 0.998
    fixed_statistics: bool = False
    keep: float = 0.0


class DetectorModule(lightning.LightningModule):
    """The detector network with its loss and optimiser.

    Args:
        recipe: Hyperparameters of the training.
        notes: Facts that a resumed run must match.
        epochs: Maximum number of epochs.
        start: Initial network, in evaluation mode, for `DetectorRecipe.keep`.
    """

    def __init__(self, recipe: DetectorRecipe, notes: dict[str, Any], epochs: int, start: EdgeFace | None = None) -> None:
        super().__init__()
        self._start = [start] if start is not None and recipe.keep else []  # in a list, it is not part of the checkpoint
        self.recipe, self.notes, self.steps = recipe, notes, epochs * recipe.batches
        self.net = EdgeFace()
        self.history: list[dict[str, float]] = []
        self._losses: list[torch.Tensor] = []
        self._started = 0.0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the facts needed to use the weights and to resume."""
        checkpoint["maskedge"] = {"kind": "detector", "net": "edgeface", "recipe": self.notes, "history": self.history}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the learning curves."""
        self.history = checkpoint["maskedge"]["history"]

    def _loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        images, faces = batch
        pixels = normalise(images.float() / 255).contiguous(memory_format=torch.channels_last)
        logits, boxes = self.net(pixels)
        objectness, places = detection_loss(logits, boxes, faces, images.shape[2], images.shape[3])
        for start in self._start:
            with torch.no_grad():
                known = torch.sigmoid(start.to(self.device)(pixels)[0])
            objectness = objectness + self.recipe.keep * lost_score_loss(logits, known, faces, images.shape[2], images.shape[3])
        return objectness, places

    def train(self, mode: bool = True) -> DetectorModule:
        """Set the mode; `fixed_statistics` keeps the normalisation layers in evaluation mode."""
        super().train(mode)
        if self.recipe.fixed_statistics:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_index: int) -> torch.Tensor:
        """Return the loss of a batch: uint8 `[N, 3, S, S]` BGR and float32 `[N, F, 4]`."""
        objectness, boxes = self._loss(batch)
        loss = objectness + self.recipe.box_weight * boxes
        self.log_dict({"train_objectness": objectness, "train_boxes": boxes}, prog_bar=True)
        self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_index: int) -> None:
        """Log the losses of whole pictures."""
        objectness, boxes = self._loss(batch)
        values = {"val_loss": objectness + self.recipe.box_weight * boxes, "val_objectness": objectness, "val_boxes": boxes}
        self.log_dict(values, batch_size=len(batch[0]), sync_dist=True)

    def on_train_epoch_start(self) -> None:
        """Start timing the epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Append the epoch's figures to the learning curves."""
        names: list[str] = [name for name in ("val_loss", "val_objectness", "val_boxes") if name in self.trainer.callback_metrics]
        metrics: dict[str, float] = {name: round(float(self.trainer.callback_metrics[name]), 5) for name in names}
        train_loss = round(float(torch.stack(self._losses).mean()), 5)
        self._losses.clear()
        seconds = round(time.perf_counter() - self._started, 1)
        self.history = [*self.history, {"epoch": self.current_epoch, "seconds": seconds, "train_loss": train_loss, **metrics}]

    def configure_optimizers(self) -> Any:
        """Return AdamW with a one-cycle schedule."""
        # A phase without steps would make the schedule divide by zero.
        warmup = min(max(0.1, 1.5 / self.steps), 0.75)
        return one_cycle(self.net, self.recipe.learning_rate, self.recipe.weight_decay, self.steps, warmup=warmup)


class _Data(lightning.LightningDataModule):
    """Tiles in the first epochs, whole pictures in the last; held-out pictures for validation."""

    def __init__(
        self, train: tuple[list[Scene], list[Scene]], held: list[Scene], recipe: DetectorRecipe, engine: Engine, workers: int
    ) -> None:
        super().__init__()
        self.train, self.held, self.recipe, self.engine, self.workers = train, held, recipe, engine, workers

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None  # noqa: S101
        epoch = self.trainer.current_epoch
        tiles = replace(_TILES, batches=self.recipe.batches, batch_size=self.recipe.tile_batch)
        whole = Plan(self.recipe.batches, self.recipe.whole_batch, WHOLE, whole=0.7, empty=0.25, pasted=0.35)
        late = epoch >= round(self.engine.epochs * (1 - self.recipe.whole_share))
        rank, world = self.trainer.global_rank, self.trainer.world_size
        data = SampleBatches(*self.train, whole if late else tiles, self.engine.seed * world + rank, epoch)
        return DataLoader(data, batch_size=None, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(WholePictures(self.held, WHOLE, 16), batch_size=None)


def sample_tiles(scenes: Sequence[Scene], seed: int) -> torch.Tensor:
    """Draw a few hundred training tiles, float32 `[N, 3, TILE, TILE]` in -1..1."""
    empty = [scene for scene in scenes if not len(scene.boxes)]
    samples = SampleBatches([scene for scene in scenes if len(scene.boxes)], empty, replace(_TILES, batches=8), seed, 0)
    return normalise(torch.cat([samples[index][0] for index in range(len(samples))]).float() / 255)


def check_faces(pictures: Sequence[Picture], *, fine_tune: bool = False) -> None:
    """Check that there are labelled faces to train on.

    Args:
        pictures: Pictures to train on.
        fine_tune: The training is a fine-tuning, which needs fewer faces.

    Raises:
        UsageError: There are too few.
    """
    faces = sum(len(picture.faces) for picture in pictures if picture.source == "scenes")
    if faces < _MIN_FACES:
        wanted = "fine-tuning needs about a hundred" if fine_tune else "a detector needs hundreds"
        raise UsageError(f"there are {faces} labelled faces in whole pictures for training: {wanted} (--scenes).")


def train_detector(
    train: tuple[list[Scene], list[Scene]],
    held: list[Scene],
    recipe: DetectorRecipe,
    engine: Engine,
    out: Path,
    *,
    data: dict[str, Any],
    resume: bool = False,
    workers: int = 1,
    start: EdgeFace | None = None,
) -> tuple[Path, list[dict[str, float]]] | None:
    """Train a detector.

    Args:
        train: Pictures with faces, and pictures without people.
        held: Held-out pictures.
        recipe: Hyperparameters of the training.
        engine: Hardware, length and seed of the training.
        out: Folder for the checkpoints; created if missing.
        data: Digests of the data, for the checkpoint.
        resume: Continue after the last finished epoch.
        workers: Processes that draw samples.
        start: Network to start from; None for fresh weights.

    Returns:
        The checkpoint of the last epoch, at the end of the schedule, and the learning curves; None
        in helper processes of a distributed run. The last epoch is better than the epoch with the
        lowest validation loss, because this loss penalises detections of unlabelled faces.

    Raises:
        UsageError: There is no held-out picture, or the resumed run has another recipe.
        OutputError: A checkpoint cannot be written.
    """
    if not held:
        raise UsageError("there is no held-out picture: give more --scenes.")
    make_folder(out)
    notes = {**asdict(recipe), **engine_facts(engine), **data}
    last = out / "last.ckpt"
    if resume:
        check_resume(last, notes)
    lightning.seed_everything(engine.seed, workers=True, verbose=False)
    module = DetectorModule(recipe, notes, engine.epochs, start)
    if start is not None:
        module.net.load_state_dict(start.state_dict())
    # The averaged weights are measured and saved (Polyak and Juditsky, 1992). The average leaves
    # out the first hundred steps, which are too far from the result.
    averaging = EMAWeightAveraging(decay=recipe.averaging, update_starting_at_step=100)
    trainer = build_trainer(engine, out, extra_callbacks=[averaging], reload_every_epoch=True)
    fit(trainer, module, _Data(train, held, recipe, engine, workers), last if resume else None)
    if trainer.global_rank != 0:
        return None
    return last, module.history
