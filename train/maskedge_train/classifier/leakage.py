"""The effect of leakage: one recipe trained on a random split and on a group split."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskedge_train.data.crops import cut_crops
from maskedge_train.data.dataset import DataSet
from maskedge_train.data.split import split_dataset
from maskedge_train.shared.engine import Engine
from maskedge_train.shared.layers import count_parameters

from .checkpoint import load_classifier
from .evaluate import store_results
from .metrics import measure
from .training import Recipe, predict_crops, train_classifier

SCHEMA = "maskedge.leakage/1"


def compare_splits(
    dataset: DataSet,
    recipe: Recipe,
    engine: Engine,
    out: Path,
    *,
    seeds: Sequence[int],
    people: re.Pattern[str] | None,
    progress: Callable[[str, float], None] = lambda name, accuracy: None,
) -> dict[str, Any]:
    """Train a recipe on both splits, once per seed, and measure each network.

    Each network is measured on the test part of its split.

    Args:
        dataset: The pictures. Negatives and occlusions are not added.
        recipe: Hyperparameters of the training.
        engine: Hardware and length of the training. The seed of the engine is replaced.
        out: Folder for the checkpoints.
        seeds: Seeds of both split and training.
        people: Pattern that finds a person's name in a file name.
        progress: Called after each training with its name and accuracy.

    Returns:
        For `random` and `group`: `accuracy` of each seed, and `separated`, the mean share of test
            pictures with a near-duplicate in another part.
    """
    result: dict[str, Any] = {"schema": SCHEMA, "net": recipe.net, "epochs": engine.epochs, "seeds": list(seeds)}
    for by in ("random", "group"):
        accuracies, separated = [], []
        for seed in seeds:
            split = split_dataset(dataset, seed, by=by, people=people)
            crops = cut_crops(dataset, split.part_of(dataset), negatives=False, painted=False)
            folder = out / f"{by}-{seed}"
            digests = {"data": dataset.digest, "split": split.digest}
            trained = train_classifier(crops, dataset.labels, recipe, replace(engine, seed=seed), folder, data=digests)
            if trained is None:
                continue
            net, spec, _ = load_classifier(trained.checkpoint)
            figures = measure(
                predict_crops(net, crops.take(crops.where("test")), spec.labels, "faces test"), spec.temperature, spec.unsure_below
            )
            facts = {
                "net": recipe.net,
                "parameters": count_parameters(net),
                "epochs": len(trained.history),
                "labels": list(spec.labels),
            }
            facts |= {"data": dataset.to_card(), "split": split.to_card(), "train_seconds": round(trained.seconds, 1)}
            store_results(trained.checkpoint, {**facts, "evaluations": [figures]})
            progress(f"{by} split, seed {seed}", figures["accuracy"])
            accuracies.append(figures["accuracy"])
            separated.append(split.separated)
        result[by] = {"accuracy": accuracies, "separated": round(sum(separated) / max(len(separated), 1), 4)}
    return result
