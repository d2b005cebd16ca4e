"""Reports of a training: the figures as JSON, and a page with charts and the worst mistakes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskedge.rendering import html as page
from maskedge.support.files import make_folder, write_file
from maskedge.support.text import counted
from maskedge_train.classifier.checkpoint import load_classifier
from maskedge_train.classifier.evaluate import predict_sets
from maskedge_train.classifier.metrics import Predictions, measure, probabilities
from maskedge_train.classifier.robustness import measure_robustness
from maskedge_train.data.crops import Crops

from . import charts

SCHEMA = "maskedge.training/1"
MISTAKES = 48
"""Maximum number of mistakes shown per data set."""
_LEAD = (
    "Written by edge-train. The figures are in report.json. This page contains pictures of the data set: "
    "share it only as the data set itself may be shared."
)


def report_checkpoint(
    checkpoint: Path,
    sets: Mapping[str, Crops],
    out: Path,
    *,
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure a checkpoint and write report.json, report.html and the charts.

    Args:
        checkpoint: A checkpoint of `edge-train classifier`.
        sets: Crops by the name of their data set. The first is the main one.
        out: Output folder.
        facts: See `write_report`.
        history: See `write_report`.
        comparison: See `write_report`.

    Returns:
        The content of report.json.
    """
    spec, _, predictions, gates = predict_sets(checkpoint, sets)
    limits = measure_robustness(load_classifier(checkpoint)[0], spec, next(iter(sets.values())))
    measured = {**({"gate": gates} if gates else {}), **({"limits": limits} if limits else {})}
    return write_report(
        out,
        f"Training report of {spec.net}",
        predictions,
        temperature=spec.temperature,
        unsure_below=spec.unsure_below,
        facts={**facts, "labels": list(spec.labels), **measured},
        history=history,
        comparison=comparison,
    )


def write_report(
    out: Path,
    title: str,
    predictions: Sequence[Predictions],
    *,
    temperature: float,
    unsure_below: float,
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write report.json, report.html and the charts as PNG files.

    Only report.html contains pictures of the data.

    Args:
        out: Output folder; created if missing.
        title: Heading of the page.
        predictions: The network's predictions for each data set.
        temperature: Divisor of the logits.
        unsure_below: Top probability below which a prediction is unsure.
        facts: Further facts about the training: net, parameters, seconds, data, split. `notes` are
            sentences shown beside the result. JSON types, nested or flat.
        history: The epochs of the training, see `charts.learning_curves`.
        comparison: For the splits `random` and `group`, the `accuracy` of each seed, and the share
            of test pictures `separated` from a related picture.

    Returns:
        The content of report.json.

    Raises:
        UsageError: A data set has no crops.
        OutputError: A file cannot be written.
    """
    evaluations = [measure(part, temperature, unsure_below) for part in predictions]
    report = {"schema": SCHEMA, **facts, "temperature": temperature, "unsure_below": unsure_below, "evaluations": evaluations}
    if comparison is not None:
        report["comparison"] = dict(comparison)
    if history:
        # JSON has no NaN.
        report["history"] = [{name: value if math.isfinite(value) else None for name, value in epoch.items()} for epoch in history]
    make_folder(out)

    robustness = facts.get("limits", ())
    shown = {key: value for key, value in facts.items() if key not in ("limits", "notes")}
    shown |= {"temperature": temperature, "unsure below": unsure_below}
    # The result comes first. The recipe and digests come last, because few readers need them.
    first = predictions[0]
    sections = [_result(first, evaluations, temperature, facts)]
    for part, evaluation, slug in zip(predictions, evaluations, _slugs(predictions), strict=True):
        images = {
            "confusion": charts.confusion_chart(evaluation),
            "roc": charts.roc_chart(part, temperature),
            "precision_recall": charts.precision_recall_chart(part, temperature),
            "reliability": charts.reliability_chart(part, temperature),
        }
        for kind, content in images.items():
            write_file(out / f"{kind}_{slug}.png", content)
        sections.append(_evaluation(part, evaluation, images, [] if part is first else _mistakes(part, temperature)))
    if robustness:
        rows = [(row["condition"], _figure(row["accuracy"]), row["faces"]) for row in robustness]
        words = f"Masked and unmasked faces of {first.name}, each changed in one way. A prediction may be any label."
        sections.append(page.section("Robustness", page.paragraph(words), page.table(("Condition", "Accuracy", "Faces"), rows)))
    if history:
        curves = charts.learning_curves(history)
        write_file(out / "learning_curves.png", curves)
        sections.append(page.section("Learning curves", page.charts([page.figure(page.png(curves), "Loss and figures by epoch")])))
    if comparison is not None:
        sections.append(_comparison(comparison))
    sections.append(page.section("Recipe, data and digests", page.table(("Setting", "Value"), _rows(shown))))
    write_file(out / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    page.write_page(out / "report.html", title, _LEAD, sections)
    return report


def _slugs(predictions: Sequence[Predictions]) -> list[str]:
    """Convert the names of the data sets to unique parts of file names."""
    slugs: list[str] = []
    for part in predictions:
        slug = re.sub(r"[^a-z0-9]+", "_", part.name.lower()).strip("_")[:80] or "data"  # a file name has a limit
        slugs.append(slug if slug not in slugs else f"{slug}_{len(slugs) + 1}")
    return slugs


def _rows(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Flatten nested facts to table rows: `pictures` in `data` becomes `Data: pictures`."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = above + str(key).replace("_", " ")
        if not above:
            name = name[:1].upper() + name[1:]
        if isinstance(value, Mapping):
            rows += _rows(value, f"{name}: ")
        else:
            rows.append((name, _format_value(value)))
    return rows


def _format_value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_format_value, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _result(part: Predictions, evaluations: Sequence[Mapping[str, Any]], temperature: float, facts: Mapping[str, Any]) -> str:
    """Return the main section: accuracy, confusion matrix and the worst mistakes."""
    own = evaluations[0]
    headline = [page.headline(f"{own['accuracy']:.1%}", f"accuracy on {counted(own['pictures'], 'crop')} of {part.name}")]
    if two_way := own.get("two_way"):
        headline.append(page.headline(f"{two_way['two_labels']:.1%}", "accuracy, with or without a mask (the likelier of the two)"))
    if own["macro_f1"] is not None:
        headline.append(page.headline(f"{own['macro_f1']:.3f}", "macro F1, the mean over the labels"))
    for name, gate in facts.get("gate", {}).items():
        if name == part.name and gate["rejected"] is not None:
            words = f"of {gate['false_alarms']:,} false alarms of the detectors are rejected"
            headline.append(page.headline(f"{gate['rejected']:.1%}", words))
    rows = [(each["name"], f"{each['pictures']:,}", _figure(each["accuracy"]), _figure(each["macro_f1"])) for each in evaluations]
    return page.section(
        "Result",
        page.headlines(headline),
        *(page.warning(note) for note in facts.get("notes", ())),
        page.confusion(list(own["labels"]), own["confusion"]),
        *([page.table(("Data", "Crops", "Accuracy", "Macro F1"), rows, "All data")] if len(rows) > 1 else []),
        page.heading("Worst mistakes"),
        *_mistakes(part, temperature),
    )


def _evaluation(part: Predictions, evaluation: Mapping[str, Any], images: Mapping[str, bytes], mistakes: Sequence[str]) -> str:
    calibration, unsure = evaluation["calibration"], evaluation["unsure"]
    columns = ("precision", "recall", "f1", "roc_auc", "average_precision")
    labels = [
        (label, figures["count"], *(_figure(figures[column]) for column in columns))
        for label, figures in evaluation["labels"].items()
    ]
    whole = [
        ("Accuracy", _figure(evaluation["accuracy"])),
        ("Macro F1", _figure(evaluation["macro_f1"])),
        ("Calibration error before and after the temperature", f"{calibration['ece_before']:.4f}, {calibration['ece_after']:.4f}"),
        ("Negative log-likelihood before and after", f"{calibration['nll_before']:.4f}, {calibration['nll_after']:.4f}"),
        (f"Share of unsure predictions (below {unsure['below']:g})", _figure(unsure["share_unsure"])),
        ("Accuracy of all other predictions", _figure(unsure["accuracy_of_the_sure"])),
    ]
    if two_way := evaluation.get("two_way"):
        whole += [
            ("Mask or no mask: accuracy over all labels", _figure(two_way["strict"])),
            ("Mask or no mask: accuracy of the likelier of the two", _figure(two_way["two_labels"])),
        ]
    captions = {
        "confusion": "Confusion matrix: crops, and their share of the row",
        "roc": "ROC curve, one label against the rest",
        "precision_recall": "Precision and recall, one label against the rest",
        "reliability": "Calibration before and after the temperature",
    }
    return page.section(
        f"{part.name}: {counted(evaluation['pictures'], 'crop')}",
        page.table(("Metric", "Value"), whole),
        page.table(("Label", "Crops", "Precision", "Recall", "F1", "ROC AUC", "Average precision"), labels, "By label"),
        page.charts(page.figure(page.png(images[kind]), caption) for kind, caption in captions.items()),
        *mistakes,
    )


def _mistakes(part: Predictions, temperature: float) -> list[str]:
    """Show the wrong predictions, the most confident first."""
    probs = probabilities(part.logits, temperature)
    predicted, top = probs.argmax(axis=1), probs.max(axis=1)
    wrong = np.flatnonzero(predicted != part.targets)
    worst = wrong[np.argsort(-top[wrong], kind="stable")][:MISTAKES].tolist()
    if not worst:
        return [page.paragraph("No prediction is wrong.")]
    figures = [
        page.figure(
            page.picture(part.crops[row]),
            f"{part.files[row]}: {part.labels[part.targets[row]]} → {part.labels[predicted[row]]}, {top[row]:.1%}",
        )
        for row in worst
    ]
    which = f"The {len(worst)} most confident ones are shown" if len(worst) < len(wrong) else "They are shown"
    words = f"{len(wrong)} predictions are wrong. {which}, the most confident first: truth → prediction, probability."
    return [page.paragraph(words), page.gallery(figures)]


def _comparison(comparison: Mapping[str, Any]) -> str:
    rows = []
    for by in ("random", "group"):
        split = comparison.get(by, {})
        accuracy = split.get("accuracy", [])
        span = (np.mean(accuracy), min(accuracy), max(accuracy)) if accuracy else (None,) * 3
        rows.append((by, len(accuracy), *map(_figure, span), _figure(split.get("separated"))))
    head = ("Split", "Seeds", "Mean accuracy", "Lowest", "Highest", "Test pictures related to another part")
    words = (
        "The random split draws each picture alone. Its test part contains near-duplicates of training pictures and other "
        "pictures of the same people, which a network can memorise. The group split keeps related pictures in one part, so "
        "only its accuracy shows what to expect on new pictures."
    )
    return page.section("Random split and group split", page.table(head, rows), page.paragraph(words))
