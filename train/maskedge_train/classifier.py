"""Training of a mask classifier on a folder data set with Lightning."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from maskedge.crop import CropRule
from maskedge.types import Image

from .augment import training_augmentation
from .checkpoint import Card, ClassifierSpec, add_card, load_classifier
from .dataset import LABELS, LabelledPictures
from .metrics import classification_metrics
from .nets import INPUT_SIZE, build, count_parameters
from .split import Split

CACHE_SIZE = 96
"""Side in pixels at which pictures are held in memory: room for the random crop to zoom in."""


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Bring pixels from 0..1 to -1..1, the range that the nets are trained on. The exported graph does the same."""
    return pixels * 2 - 1


class ClassifierModule(lightning.LightningModule):
    """A classifier net, its loss and its optimiser.

    Args:
        spec: What the checkpoint must tell about the net.
        learning_rate: Peak of the one-cycle schedule.
        augmentation: Name in `augment.AUGMENTATIONS`.
        mixup: Blend each picture with another of its batch, and their targets with them, in a proportion drawn from
            Beta(mixup, mixup) (Zhang et al., "mixup", 2018); 0 for none.
    """

    def __init__(self, spec: ClassifierSpec, learning_rate: float, augmentation: str, mixup: float) -> None:
        super().__init__()
        self.spec = spec
        self.learning_rate = learning_rate
        self.mixup = mixup
        self.net = build(spec.net, len(spec.labels))
        self.augment = training_augmentation(augmentation)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the spec beside the weights, so that a checkpoint needs no other file."""
        checkpoint["maskedge"] = self.spec.to_dict()

    def training_step(self, batch: list[torch.Tensor], batch_index: int) -> torch.Tensor:
        """Loss of one batch of uint8 `[N, 3, 96, 96]` pictures and their targets."""
        pixels, targets = batch
        with torch.no_grad():
            crops = self.augment(pixels.float() / 255)
        if self.mixup:
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            order = torch.randperm(len(crops), device=crops.device)
            logits = self.net(normalise(share * crops + (1 - share) * crops[order]))
            own, other = functional.cross_entropy(logits, targets), functional.cross_entropy(logits, targets[order])
            loss = share * own + (1 - share) * other
        else:
            loss = functional.cross_entropy(self.net(normalise(crops)), targets, label_smoothing=0.02)
        self.log("train_loss", loss, prog_bar=True, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_index: int) -> None:
        """Loss and accuracy of uint8 `[N, 3, 64, 64]` pictures, as the device would see them."""
        pixels, targets = batch
        logits = self.net(normalise(pixels.float() / 255))
        self.log("val_loss", functional.cross_entropy(logits, targets), prog_bar=True)
        self.log("val_accuracy", (logits.argmax(1) == targets).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule."""
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=0.02)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.learning_rate, total_steps=steps, pct_start=0.2)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def resize_all(images: Image, size: int) -> Image:
    """Shrink uint8 `[N, R, R, 3]` pictures to `[N, size, size, 3]` by area averaging, as the device does."""
    return np.stack([np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8) for image in images])


def to_tensor(images: Image) -> torch.Tensor:
    """Turn uint8 `[N, H, W, 3]` pictures to a uint8 `[N, 3, H, W]` tensor."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@torch.inference_mode()
def predict(net: nn.Module, images: Image) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Give the probabilities, float32 `[N, C]`, of uint8 `[N, 64, 64, 3]` BGR pictures."""
    net.eval()
    outputs = [
        net(normalise(to_tensor(images[start : start + 256]).float() / 255)).softmax(1) for start in range(0, len(images), 256)
    ]
    return np.asarray(torch.cat(outputs).numpy(), np.float32)


def _quieten() -> None:
    """Keep Lightning to what a user can act on: no advertisements, no notes on idle hardware or loader workers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    # Its own leaf check is deprecated in torch; nothing a user can act on.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def train_classifier(
    pictures: LabelledPictures,
    split: Split,
    net: str,
    out: Path,
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    augmentation: str = "camera",
    mixup: float = 0.0,
    seed: int = 0,
    progress: bool = True,
) -> tuple[Path, Card]:
    """Train `net` and measure it on the test part.

    Args:
        pictures: The data, at `CACHE_SIZE`.
        split: Which picture is for training, for choosing the epoch, and for the final figure.
        net: Name in `nets.NETS`.
        out: Folder for the checkpoints `best.ckpt` and `last.ckpt` and the log.
        epochs: Passes over the training part.
        batch_size: Pictures a step.
        learning_rate: Peak learning rate.
        augmentation: Name in `augment.AUGMENTATIONS`.
        mixup: Parameter of the blending of pictures; 0 for none.
        seed: Seed of weights, order and augmentation.
        progress: Show progress bars.

    Returns:
        Path of the best checkpoint, and its card.
    """
    started = time.perf_counter()
    _quieten()
    lightning.seed_everything(seed, workers=True, verbose=False)
    rows = split.indices(pictures)
    targets = torch.from_numpy(pictures.targets)
    small = resize_all(pictures.images, INPUT_SIZE)
    training = DataLoader(
        TensorDataset(to_tensor(pictures.images[rows["train"]]), targets[rows["train"]]),
        batch_size,
        shuffle=True,
        drop_last=True,
    )
    validation = DataLoader(TensorDataset(to_tensor(small[rows["val"]]), targets[rows["val"]]), 256)
    spec = ClassifierSpec(net=net, labels=LABELS, size=INPUT_SIZE, crop=CropRule())
    module = ClassifierModule(spec, learning_rate, augmentation, mixup)
    best = ModelCheckpoint(out, "best", monitor="val_loss", save_last=True, enable_version_counter=False)
    callbacks: list[Callback] = [best, EarlyStopping("val_loss", patience=max(10, epochs // 2))]
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=callbacks,
        logger=CSVLogger(out, name="", version="log"),
        enable_progress_bar=progress,
        enable_model_summary=False,
        log_every_n_steps=10,
    )
    trainer.fit(module, training, validation)

    checkpoint = Path(best.best_model_path)
    trained, _, _ = load_classifier(checkpoint)
    test = rows["test"]
    metrics = classification_metrics(predict(trained, small[test]), pictures.targets[test], LABELS)
    card: Card = {
        "net": net,
        "parameters": count_parameters(trained),
        "epochs": trainer.current_epoch,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "augmentation": augmentation,
        "mixup": mixup,
        "train_seconds": round(time.perf_counter() - started, 1),
        "seed": seed,
        "data": {
            "name": pictures.root.name,
            "digest": pictures.digest,
            "pictures": len(pictures.names),
            "unreadable": len(pictures.unreadable),
        },
        "split": {
            "seed": split.seed,
            "digest": split.digest,
            "grouped": split.grouped,
            **{part: len(names) for part, names in split.parts.items()},
        },
        "test": metrics,
    }
    add_card(checkpoint, card)
    return checkpoint, card
