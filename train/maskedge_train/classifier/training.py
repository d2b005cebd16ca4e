"""Training of a mask classifier with Lightning."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassF1Score

from maskedge.errors import UsageError
from maskedge.support.files import make_folder
from maskedge.types import NOT_A_FACE, Image
from maskedge_train.data.crops import REAL, Crops
from maskedge_train.data.dataset import CROP, times_shown
from maskedge_train.data.split import PARTS
from maskedge_train.detector.loss import pair_iou
from maskedge_train.engine import Balanced, Engine, build_trainer, check_resume, describe, one_cycle

from .augment import training_augmentation
from .calibration import Calibration, calibrate
from .checkpoint import ClassifierSpec, add_results, load_classifier
from .metrics import Answers
from .nets import INPUT_SIZE, build, locate
from .warm_start import load_start

SHARES = {
    ("with_mask", False): 0.24, ("with_mask", True): 0.03,
    ("without_mask", False): 0.19, ("without_mask", True): 0.05,
    ("incorrect_mask", False): 0.09, ("incorrect_mask", True): 0.03,
    ("not_a_face", False): 0.37,
}  # fmt: skip
"""Share of each label in what the net sees, for real and for painted crops."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained, beside the engine's part.

    Attributes:
        net: Name in `nets.NETS`.
        samples: Crops an epoch.
        batch_size: Crops a step and process.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Of AdamW, on everything but biases and normalisation.
        augmentation: Name in `augment.AUGMENTATIONS`.
        mixup: Blend each crop with another of its batch, and their targets with them, in a proportion drawn from
            Beta(mixup, mixup) (Zhang et al., "mixup", 2018); 0 for none.
        smoothing: Label smoothing.
        balanced: Show each label in its share of `SHARES`; else as often as it occurs.
        oversample: Patterns of file names, and how many times as often as others such pictures are shown within their label.
        place_weight: Weight of where the face is, beside the label's loss, for nets that tell it.
    """

    net: str
    samples: int = 12000
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    augmentation: str = "camera"
    mixup: float = 0.0
    smoothing: float = 0.02
    balanced: bool = True
    oversample: tuple[tuple[str, int], ...] = ()
    place_weight: float = 1.0


_FIRST_LOOK = 16
"""Batches by which the statistics of an exported model are measured again."""

_Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Bring pixels from 0..1 to -1..1, the range that the nets are trained on. The exported graph does the same."""
    return pixels * 2 - 1


class ClassifierModule(lightning.LightningModule):
    """A classifier net, its loss and its optimiser.

    Args:
        spec: What the checkpoint must tell about the net.
        recipe: How to train it.
        notes: Further facts that a resumed run must agree on.
    """

    def __init__(self, spec: ClassifierSpec, recipe: Recipe, notes: dict[str, Any]) -> None:
        super().__init__()
        self.spec, self.recipe, self.notes = spec, recipe, notes
        # Half the time of the default memory layout on a CPU.
        self.net = build(spec.net, len(spec.labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.augment = training_augmentation(recipe.augmentation)
        self.macro_f1 = MulticlassF1Score(len(spec.labels), average="macro")
        self.history: list[dict[str, float]] = []
        self._losses: list[torch.Tensor] = []
        self._started = 0.0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write beside the weights what is needed to use them and to go on."""
        checkpoint["maskedge"] = self.spec.to_dict() | {"recipe": self.notes, "history": self.history}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the learning curves where they were."""
        self.history = checkpoint["maskedge"]["history"]

    def see(self, patches: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give what the net sees of uint8 `[N, 3, 104, 104]` patches, float32 `[N, 3, 64, 64]`, and where in it the faces are."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            crops, places = self.augment(patches.float() / 255, places)
            return normalise(crops).contiguous(memory_format=torch.channels_last), places

    def training_step(self, batch: _Batch, batch_index: int) -> torch.Tensor:
        """Loss of one batch of uint8 `[N, 3, 104, 104]` patches, their labels, and where their faces are."""
        patches, targets, places = batch
        crops, places = self.see(patches, places)
        if self.recipe.mixup:
            share = float(torch.distributions.Beta(self.recipe.mixup, self.recipe.mixup).sample())
            order = torch.randperm(len(crops), device=crops.device)
            logits = self.net(share * crops + (1 - share) * crops[order])
            own, other = functional.cross_entropy(logits, targets), functional.cross_entropy(logits, targets[order])
            loss = share * own + (1 - share) * other
        else:
            logits, located = locate(self.net, crops)
            loss = functional.cross_entropy(logits, targets, label_smoothing=self.recipe.smoothing)
            if located is not None:
                loss = loss + self.recipe.place_weight * _place_loss(located, places)
        self.log("train_loss", loss, prog_bar=True)
        self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: _Batch, batch_index: int) -> None:
        """Loss and F1 of uint8 `[N, 3, 64, 64]` crops, as the device would see them."""
        crops, targets, _ = batch
        logits = self.net(normalise(crops.float() / 255).contiguous(memory_format=torch.channels_last)).float()
        self.macro_f1.update(logits, targets)
        self.log("val_loss", functional.cross_entropy(logits, targets), prog_bar=True, batch_size=len(targets), sync_dist=True)
        self.log("val_macro_f1", self.macro_f1, prog_bar=True, batch_size=len(targets))

    def on_train_epoch_start(self) -> None:
        """Start the epoch's clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's figures, for the learning curves."""
        metrics = {name: round(float(self.trainer.callback_metrics[name]), 5) for name in ("val_loss", "val_macro_f1")}
        train_loss = round(float(torch.stack(self._losses).mean()), 5)
        self._losses.clear()
        seconds = round(time.perf_counter() - self._started, 1)
        self.history = [*self.history, {"epoch": self.current_epoch, "seconds": seconds, "train_loss": train_loss, **metrics}]

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule."""
        return one_cycle(
            self.net, self.recipe.learning_rate, self.recipe.weight_decay, int(self.trainer.estimated_stepping_batches), warm=0.15
        )


def _place_loss(located: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Mean over the crops whose face is known of 1 - generalised IoU (Rezatofighi et al., 2019)."""
    known = ~torch.isnan(places[:, 0])
    if not known.any():
        return located.sum() * 0
    return (1 - pair_iou(located[known], places[known])[1]).mean()


class _Batches(Dataset[_Batch]):
    """Whole batches by their rows: uint8 `[N, 3, S, S]`, int64 `[N]` and float32 `[N, 4]`."""

    def __init__(self, images: Image, targets: npt.NDArray[np.int64], places: npt.NDArray[np.float32]) -> None:
        self.images, self.targets, self.places = images, targets, places

    def __getitem__(self, rows: list[int]) -> _Batch:
        return to_tensor(self.images[rows]), torch.from_numpy(self.targets[rows]), torch.from_numpy(self.places[rows])


class CropsData(lightning.LightningDataModule):
    """The training and validation parts of the crops, built in each process of a distributed run."""

    def __init__(self, crops: Crops, labels: tuple[str, ...], recipe: Recipe, seed: int) -> None:
        super().__init__()
        self.crops, self.recipe, self.seed = crops, recipe, seed
        self.targets = crops.targets(labels)
        self.train, self.val = crops.where("train"), crops.where("val")
        self.categories = (2 * self.targets + ~np.isin(crops.origins, REAL))[self.train]
        self.shares = [SHARES.get((label, painted), 0.0) for label in labels for painted in (False, True)]
        if not recipe.balanced:
            self.shares = np.bincount(self.categories, minlength=len(self.shares)).tolist()

    def train_dataloader(self) -> Any:
        """Batches of patches, for the augmentation to cut."""
        times = times_shown(self.crops.names[self.train].tolist(), self.recipe.oversample)
        sampler = Balanced(self.categories, self.shares, self.recipe.samples, self.recipe.batch_size, self.seed, times)
        if self.trainer is not None:
            # A resumed training fetches its first batch before Lightning tells the sampler which epoch it is.
            sampler.set_epoch(self.trainer.current_epoch)
        own = self.train
        batches = _Batches(self.crops.patches[own], self.targets[own], self.crops.places[own])
        return DataLoader(batches, sampler=sampler, batch_size=None)

    def val_dataloader(self) -> Any:
        """Batches of exact crops."""
        rows = [self.val[start : start + 256].tolist() for start in range(0, len(self.val), 256)]
        return DataLoader(_Batches(self.crops.exact, self.targets, self.crops.places), sampler=rows, batch_size=None)


def to_tensor(images: Image) -> torch.Tensor:
    """Turn uint8 `[N, H, W, 3]` pictures to a uint8 `[N, 3, H, W]` tensor."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@torch.inference_mode()
def predict(net: nn.Module, images: Image) -> npt.NDArray[np.float32]:
    """Give the logits, float32 `[N, C]`, of uint8 `[N, 64, 64, 3]` BGR crops."""
    net.eval()
    outputs = [net(normalise(to_tensor(images[start : start + 256]).float() / 255)) for start in range(0, len(images), 256)]
    return np.asarray(torch.cat(outputs).numpy(), np.float32)


def answer(net: nn.Module, crops: Crops, labels: tuple[str, ...], name: str) -> Answers:
    """Let a net answer for crops, all of whose labels it must know."""
    files = [
        picture if origin == "face" else f"{picture} ({origin})"
        for picture, origin in zip(crops.names.tolist(), crops.origins.tolist(), strict=True)
    ]
    return Answers(name, labels, predict(net, crops.exact), crops.targets(labels), files, crops.exact)


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        checkpoint: The best epoch, calibrated.
        spec: What the checkpoint tells of the net.
        history: Figures of each epoch.
        seconds: Time that its epochs took, those before a resume too.
        calibration: How its probabilities were calibrated.
    """

    checkpoint: Path
    spec: ClassifierSpec
    history: list[dict[str, float]]
    seconds: float
    calibration: Calibration


def check_enough(crops: Crops, labels: tuple[str, ...]) -> None:
    """Refuse data that leaves a label without a face to learn from, or without one to choose the epoch by.

    Raises:
        UsageError: It does; the sentence gives the counts.
    """
    for label in labels:
        own = (crops.labels == label) & ((crops.origins == "face") | (label == NOT_A_FACE))
        train, val, test = ((own & (crops.parts == part)).sum() for part in range(len(PARTS)))
        if not train or not val:
            raise UsageError(
                f"too few pictures of {label}: the split leaves {train} to learn from, {val} to choose the epoch by and {test} to "
                "measure on; give more pictures of it, 20 or more that are no copies of one another."
            )


def train_classifier(
    crops: Crops,
    labels: tuple[str, ...],
    recipe: Recipe,
    engine: Engine,
    out: Path,
    *,
    data: dict[str, Any],
    resume: bool = False,
    start: Path | None = None,
) -> Trained | None:
    """Train a net and calibrate it on the validation part.

    Args:
        crops: What to learn from and to validate on.
        labels: Labels of the model, in output order.
        recipe: How.
        engine: On what, and how long.
        out: Folder for the checkpoints `best.ckpt` and `last.ckpt`, and the logs.
        data: Digests of data and split; a resumed run must have the same.
        resume: Go on from `last.ckpt`.
        start: Checkpoint or exported model whose weights it starts from (`start.load_start`); None for fresh ones.

    Returns:
        What was trained; None in the helper processes of a distributed run.

    Raises:
        UsageError: `resume` with another recipe, or with nothing to resume.
        OutputError: A checkpoint cannot be written.
    """
    notes = {**asdict(recipe), **describe(engine), "labels": list(labels), **data}
    make_folder(out)
    last = out / "last.ckpt"
    if resume:
        check_resume(last, notes)
    lightning.seed_everything(engine.seed, workers=True, verbose=False)
    spec = ClassifierSpec(net=recipe.net, labels=labels, size=INPUT_SIZE, crop=CROP)
    module = ClassifierModule(spec, recipe, notes)
    trainer, best = build_trainer(engine, out)
    module_data = CropsData(crops, labels, recipe, engine.seed)
    if start is not None and not resume:
        batches = itertools.islice(module_data.train_dataloader(), _FIRST_LOOK)
        pixels = torch.cat([module.see(patches, places)[0] for patches, _, places in batches])
        module.net.load_state_dict(load_start(start, recipe.net, labels, pixels).state_dict())
    trainer.fit(module, datamodule=module_data, ckpt_path=last if resume else None, weights_only=True)
    if not trainer.is_global_zero:
        return None
    checkpoint = Path(best.best_model_path)
    net, spec, _ = load_classifier(checkpoint)
    val = module_data.val
    fitted = calibrate(predict(net, crops.exact[val]), module_data.targets[val], crops.labels[val] != NOT_A_FACE)
    spec = replace(spec, temperature=fitted.temperature, unsure_below=fitted.unsure_below)
    add_results(checkpoint, spec, {})
    seconds = sum(epoch.get("seconds", 0.0) for epoch in module.history)
    return Trained(checkpoint, spec, module.history, seconds, fitted)
