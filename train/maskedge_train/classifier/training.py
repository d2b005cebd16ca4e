"""Training of a mask classifier with Lightning."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
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
from maskedge_train.data.dataset import times_shown
from maskedge_train.data.split import PARTS
from maskedge_train.shared.checkpoint import read_checkpoint, write_checkpoint
from maskedge_train.shared.engine import BalancedBatchSampler, Engine, build_trainer, check_resume, engine_facts, one_cycle
from maskedge_train.shared.face_crop import CROP, INPUT_SIZE
from maskedge_train.shared.fit import fit
from maskedge_train.shared.losses import pair_iou
from maskedge_train.shared.pixels import normalise, to_tensor
from maskedge_train.teachers.distillation import Teachers, blend_pairs

from .augment import training_augmentation
from .calibration import Calibration, calibrate
from .checkpoint import ClassifierSpec, load_classifier, store_card
from .metrics import Predictions
from .nets import build, locate
from .warm_start import initial_temperature, load_start

SHARES = {
    ("with_mask", False): 0.24, ("with_mask", True): 0.03,
    ("without_mask", False): 0.19, ("without_mask", True): 0.05,
    ("incorrect_mask", False): 0.09, ("incorrect_mask", True): 0.03,
    ("not_a_face", False): 0.37,
}  # fmt: skip
"""Share of each label among the training crops, for real and for painted crops."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a classifier's training.

    Attributes:
        net: Name in `nets.NETS`.
        samples: Crops per epoch.
        batch_size: Crops per step and process.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Weight decay of AdamW, except on biases and normalisation.
        augmentation: `camera` or `light` (`augment.training_augmentation`).
        mixup: Blend each crop and its target with another of the batch, in a proportion from
            Beta(mixup, mixup) (Zhang et al., "mixup", 2018); 0 disables blending.
        smoothing: Label smoothing.
        balanced: Draw each label with its share in `SHARES` instead of its frequency.
        oversample: Patterns of file names, each with the factor by which matching pictures are
            drawn more often within their label.
        trained_share: Share of the trained weights in the result; the rest are those of the initial
            network, so that less of what it knows is forgotten (Wortsman et al., "Robust
            fine-tuning of zero-shot models", 2022).
        average: Files whose weights are averaged with those after the last epoch, each with its share of the result
            (Wortsman et al., "Model soups", 2022).
        place_weight: Weight of the face box's loss relative to the label's loss, for networks that
            predict a box.
        teacher_share: Share of the teachers' probabilities in the targets, for a training with
            teachers; the rest are the smoothed labels.
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
    trained_share: float = 1.0
    average: tuple[tuple[str, float], ...] = ()
    place_weight: float = 1.0
    teacher_share: float = 1.0


_STATISTICS_BATCHES = 16
"""Number of batches used to measure the normalisation statistics of an exported model."""
_BLENDED_BATCHES = 64
"""This number for a blend of two networks."""

_Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ClassifierModule(lightning.LightningModule):
    """A classifier network with its loss and optimiser.

    Args:
        spec: Spec for the checkpoint.
        recipe: Hyperparameters of the training.
        notes: Facts that a resumed run must match.
        teachers: Networks with the same labels, whose probabilities are the targets. They are not
            part of the checkpoints.
    """

    def __init__(self, spec: ClassifierSpec, recipe: Recipe, notes: dict[str, Any], teachers: Teachers | None = None) -> None:
        super().__init__()
        self.spec, self.recipe, self.notes, self.teachers = spec, recipe, notes, teachers
        # On a CPU this memory layout takes half the time of the default one.
        self.net = build(spec.net, len(spec.labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # In the checkpoints, because a resumed training needs the same.
        self.initial = build(spec.net, len(spec.labels)).requires_grad_(False) if recipe.trained_share < 1 else None
        self.augment = training_augmentation(recipe.augmentation)
        self.macro_f1 = MulticlassF1Score(len(spec.labels), average="macro")
        self.history: list[dict[str, float]] = []
        self._losses: list[torch.Tensor] = []
        self._started = 0.0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the facts needed to use the weights and to resume."""
        checkpoint["maskedge"] = self.spec.to_dict() | {"recipe": self.notes, "history": self.history}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the learning curves."""
        self.history = checkpoint["maskedge"]["history"]

    def augment_batch(self, patches: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment a batch and convert it to the network's input.

        Args:
            patches: uint8 `[N, 3, 104, 104]`, BGR.
            places: float32 `[N, 4]`, the face boxes in the exact crops.

        Returns:
            float32 `[N, 3, 64, 64]` in -1..1, and the face boxes in these crops.
        """
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            crops, places = self.augment(patches.float() / 255, places)
            return normalise(crops).contiguous(memory_format=torch.channels_last), places

    def training_step(self, batch: _Batch, batch_index: int) -> torch.Tensor:
        """Return the loss of a batch: uint8 `[N, 3, 104, 104]` patches, labels, face boxes."""
        patches, targets, places = batch
        crops, places = self.augment_batch(patches, places)
        if self.teachers is not None:
            loss = self._teach(self.teachers, crops, targets, places, blended=batch_index % 2 == 1)
        elif self.recipe.mixup:
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

    def _teach(
        self, teachers: Teachers, crops: torch.Tensor, targets: torch.Tensor, places: torch.Tensor, blended: bool
    ) -> torch.Tensor:
        """Return the loss with the targets of teachers, for crops that are first blended with others if `blended`."""
        count, smoothing, share = len(self.spec.labels), self.recipe.smoothing, self.recipe.teacher_share
        probabilities = functional.one_hot(targets, count).float() * (1 - smoothing) + smoothing / count
        if blended:
            crops, probabilities = blend_pairs(crops, probabilities)
            places = torch.full_like(places, torch.nan)  # a blend of two faces has no box
        probabilities = share * teachers.predict(crops) + (1 - share) * probabilities
        logits, located = locate(self.net, crops)
        # Its gradient is that of the divergence of Kullback and Leibler; the entropy of the targets is constant.
        loss = functional.cross_entropy(logits.float(), probabilities)
        return loss if located is None else loss + self.recipe.place_weight * _place_loss(located, places)

    def validation_step(self, batch: _Batch, batch_index: int) -> None:
        """Log loss and F1 of uint8 `[N, 3, 64, 64]` crops, cut as on the device."""
        crops, targets, _ = batch
        logits = self.net(normalise(crops.float() / 255).contiguous(memory_format=torch.channels_last)).float()
        self.macro_f1.update(logits, targets)
        self.log("val_loss", functional.cross_entropy(logits, targets), prog_bar=True, batch_size=len(targets), sync_dist=True)
        self.log("val_macro_f1", self.macro_f1, prog_bar=True, batch_size=len(targets))

    def on_train_start(self) -> None:
        """Move the teachers to the device of the training, which Lightning does only for its own modules."""
        if self.teachers is not None:
            self.teachers.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Start timing the epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Append the epoch's figures to the learning curves."""
        metrics = {name: round(float(self.trainer.callback_metrics[name]), 5) for name in ("val_loss", "val_macro_f1")}
        train_loss = round(float(torch.stack(self._losses).mean()), 5)
        self._losses.clear()
        seconds = round(time.perf_counter() - self._started, 1)
        self.history = [*self.history, {"epoch": self.current_epoch, "seconds": seconds, "train_loss": train_loss, **metrics}]

    def configure_optimizers(self) -> Any:
        """Return AdamW with a one-cycle schedule."""
        return one_cycle(
            self.net, self.recipe.learning_rate, self.recipe.weight_decay, int(self.trainer.estimated_stepping_batches), warmup=0.15
        )


def _place_loss(located: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - generalised IoU over crops with a known face box."""
    known = ~torch.isnan(places[:, 0])
    if not known.any():
        return located.sum() * 0
    return (1 - pair_iou(located[known], places[known])[1]).mean()


class _Batches(Dataset[_Batch]):
    """Batches by row numbers: uint8 `[N, 3, S, S]`, int64 `[N]` and float32 `[N, 4]`.

    With `own`, the row numbers count only these rows. The images are not copied: they may be
    gigabytes.
    """

    def __init__(
        self,
        images: Image,
        targets: npt.NDArray[np.int64],
        places: npt.NDArray[np.float32],
        own: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.images, self.targets, self.places, self.own = images, targets, places, own

    def __getitem__(self, rows: npt.NDArray[np.int64] | list[int]) -> _Batch:
        if self.own is not None:
            rows = self.own[rows]
        return to_tensor(self.images[rows]), torch.from_numpy(self.targets[rows]), torch.from_numpy(self.places[rows])


class CropsData(lightning.LightningDataModule):
    """Training and validation crops, built in each process of a distributed run."""

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
        """Return batches of patches, which the augmentation cuts."""
        times = times_shown(self.crops.names[self.train].tolist(), self.recipe.oversample)
        sampler = BalancedBatchSampler(self.categories, self.shares, self.recipe.samples, self.recipe.batch_size, self.seed, times)
        if self.trainer is not None:
            # A resumed training fetches its first batch before Lightning sets the sampler's epoch.
            sampler.set_epoch(self.trainer.current_epoch)
        batches = _Batches(self.crops.patches, self.targets, self.crops.places, self.train)
        return DataLoader(batches, sampler=sampler, batch_size=None)

    def val_dataloader(self) -> Any:
        """Return batches of exact crops."""
        rows = [self.val[start : start + 256].tolist() for start in range(0, len(self.val), 256)]
        return DataLoader(_Batches(self.crops.exact, self.targets, self.crops.places), sampler=rows, batch_size=None)


@torch.inference_mode()
def predict(net: nn.Module, images: Image) -> npt.NDArray[np.float32]:
    """Return the logits, float32 `[N, C]`, of uint8 `[N, 64, 64, 3]` BGR crops."""
    net.eval()
    outputs = [net(normalise(to_tensor(images[start : start + 256]).float() / 255)) for start in range(0, len(images), 256)]
    return np.asarray(torch.cat(outputs).numpy(), np.float32)


def predict_crops(net: nn.Module, crops: Crops, labels: tuple[str, ...], name: str) -> Predictions:
    """Predict the labels of crops. The network must have all of their labels."""
    files = [
        picture if origin == "face" else f"{picture} ({origin})"
        for picture, origin in zip(crops.names.tolist(), crops.origins.tolist(), strict=True)
    ]
    return Predictions(name, labels, predict(net, crops.exact), crops.targets(labels), files, crops.exact)


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Attributes:
        checkpoint: Checkpoint of the best epoch, calibrated.
        spec: Spec of the checkpoint.
        history: Figures of each epoch.
        seconds: Duration of the epochs, including those before a resume.
        calibration: Result of the calibration.
    """

    checkpoint: Path
    spec: ClassifierSpec
    history: list[dict[str, float]]
    seconds: float
    calibration: Calibration


def check_label_counts(crops: Crops, labels: tuple[str, ...]) -> None:
    """Check that each label has faces in the training and in the validation part.

    Raises:
        UsageError: A label has too few faces. The message gives the counts.
    """
    for label in labels:
        own = (crops.labels == label) & ((crops.origins == "face") | (label == NOT_A_FACE))
        train, val, test = ((own & (crops.parts == part)).sum() for part in range(len(PARTS)))
        if not train or not val:
            raise UsageError(
                f"too few pictures of {label}: the split has {train} for training, {val} for validation and {test} for the test; "
                "give 20 or more pictures of it that are not copies of each other."
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
    teachers: Teachers | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> TrainingResult | None:
    """Train a network and calibrate it on the validation part.

    Args:
        crops: Crops of all parts.
        labels: Labels of the model, in output order.
        recipe: Hyperparameters of the training.
        engine: Hardware, length and seed of the training.
        out: Folder for the checkpoints `best.ckpt` and `last.ckpt`, and the logs.
        data: Digests of data, split and teachers, which a resumed run must match.
        resume: Continue from `last.ckpt`.
        start: Checkpoint, exported model or ImageNet weights to start from
            (`warm_start.load_start`); None for fresh weights.
        teachers: Networks with the same labels, whose probabilities are the targets; None to learn
            the labels alone.
        on_start: Called in the first process when nothing more is refused, before the first step.

    Returns:
        The result; None in helper processes of a distributed run.

    Raises:
        UsageError: The resumed run has another recipe, or there is no earlier run.
        OutputError: A checkpoint cannot be written.
    """
    notes = {**asdict(recipe), **engine_facts(engine), "labels": list(labels), **data}
    make_folder(out)
    last = out / "last.ckpt"
    if resume:
        check_resume(last, notes)
    lightning.seed_everything(engine.seed, workers=True, verbose=False)
    spec = ClassifierSpec(net=recipe.net, labels=labels, size=INPUT_SIZE, crop=CROP)
    module = ClassifierModule(spec, recipe, notes, teachers)
    trainer = build_trainer(engine, out)
    module_data = CropsData(crops, labels, recipe, engine.seed)
    if start is not None and not resume:
        batches = itertools.islice(module_data.train_dataloader(), _STATISTICS_BATCHES)
        pixels = torch.cat([module.augment_batch(patches, places)[0] for patches, _, places in batches])
        module.net.load_state_dict(load_start(start, recipe.net, labels, pixels).state_dict())
        if module.initial is not None:
            module.initial.load_state_dict(module.net.state_dict())
    if trainer.is_global_zero:
        on_start()
    if engine.epochs:
        fit(trainer, module, module_data, last if resume else None)
    if not trainer.is_global_zero:
        return None
    checkpoint = out / "best.ckpt"
    if not engine.epochs:
        weights = {f"net.{name}": value for name, value in module.net.state_dict().items()}
        write_checkpoint(last, {"state_dict": weights, "maskedge": spec.to_dict() | {"recipe": notes, "history": []}})
    if recipe.average or module.initial is not None:
        lightning.seed_everything(engine.seed, workers=True, verbose=False)
        batches = itertools.islice(module_data.train_dataloader(), _BLENDED_BATCHES)
        crops_of_batches = [module.augment_batch(own, at)[0] for own, _, at in batches]
        if module.initial is not None:
            _blend(checkpoint, checkpoint, [(module.initial, 1 - recipe.trained_share)], crops_of_batches)
        if recipe.average:
            pixels = torch.cat(crops_of_batches)
            others = [(load_start(Path(path), recipe.net, labels, pixels), share) for path, share in recipe.average]
            _blend(last, checkpoint, others, crops_of_batches)
    net, spec, _ = load_classifier(checkpoint)
    val = module_data.val
    # The data may lack what is hard elsewhere: the probabilities of a blend are not sharpened beyond those of its parts.
    parts = [start] if module.initial is not None else [Path(path) for path, _ in recipe.average]
    least = max((initial_temperature(path) for path in parts if path is not None), default=None)
    fitted = calibrate(predict(net, crops.exact[val]), module_data.targets[val], crops.labels[val] != NOT_A_FACE, least)
    spec = replace(spec, temperature=fitted.temperature, unsure_below=fitted.unsure_below)
    store_card(checkpoint, spec, {})
    seconds = sum(epoch.get("seconds", 0.0) for epoch in module.history)
    return TrainingResult(checkpoint, spec, module.history, seconds, fitted)


def _blend(path: Path, result: Path, others: Sequence[tuple[nn.Module, float]], batches: Iterable[torch.Tensor]) -> None:
    """Write a checkpoint whose weights are averaged with those of other networks.

    Args:
        path: The checkpoint.
        result: The file to write; it may be the same.
        others: Other networks, each with its share. The rest is the share of the checkpoint.
        batches: Training crops, float32 `[N, 3, 64, 64]` in -1..1. The statistics of the
            normalisation layers, which differ from those of each network, are measured on them.
    """
    content = read_checkpoint(path)
    if path == result and not any(name.startswith("initial.") for name in content["state_dict"]):
        return  # a resumed training that had ended: it is a blend already
    net, _, _ = load_classifier(path)
    own = 1 - sum(share for _, share in others)
    parts = [(net.state_dict(), own), *((other.state_dict(), share) for other, share in others)]
    net.load_state_dict(
        {
            name: torch.stack([state[name] * share for state, share in parts]).sum(0) if value.is_floating_point() else value
            for name, value in net.state_dict().items()
        }
    )
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean of all batches
    with torch.no_grad():
        net.train()
        for batch in batches:
            net(batch)
    write_checkpoint(result, content | {"state_dict": {f"net.{name}": value for name, value in net.state_dict().items()}})
