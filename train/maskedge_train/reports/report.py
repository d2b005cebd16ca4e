"""The report of a training: its figures as JSON, and a page with its charts and its worst mistakes."""

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
from maskedge_train.classifier.checkpoint import load_classifier
from maskedge_train.classifier.evaluate import judge
from maskedge_train.classifier.metrics import Answers, measure, probabilities
from maskedge_train.classifier.robustness import measure_limits
from maskedge_train.data.crops import Crops

from . import charts

SCHEMA = "maskedge.training/1"
MISTAKES = 48
"""Most mistakes that the page shows of one data set."""
_LEAD = (
    "Made by edge-train; the figures are in report.json. This page contains pictures of the data set: "
    "share it only as the data set itself may be shared."
)


def report_on(
    checkpoint: Path,
    sets: Mapping[str, Crops],
    out: Path,
    *,
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure a checkpoint and write report.json, report.html and the charts to `out`. Gives the content of report.json."""
    spec, _, answers, gates = judge(checkpoint, sets)
    limits = measure_limits(load_classifier(checkpoint)[0], spec, next(iter(sets.values())))
    measured = {**({"gate": gates} if gates else {}), **({"limits": limits} if limits else {})}
    return write_report(
        out,
        f"{spec.net}: what it learnt",
        answers,
        temperature=spec.temperature,
        unsure_below=spec.unsure_below,
        facts={**facts, "labels": list(spec.labels), **measured},
        history=history,
        comparison=comparison,
    )


def write_report(
    out: Path,
    title: str,
    answers: Sequence[Answers],
    *,
    temperature: float,
    unsure_below: float,
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write report.json, report.html and the charts as PNG files. Only the page contains pictures of the data.

    Args:
        out: Folder to write to; made when missing.
        title: Heading of the page.
        answers: What the net said, data set by data set.
        temperature: What the net's logits are divided by.
        unsure_below: Top probability below which an answer counts as unsure.
        facts: What else is known of the training: net, parameters, seconds, data, split; `notes`, sentences that stand beside the
            result. JSON types, nested or flat.
        history: The training epoch by epoch, see `charts.learning_curves`.
        comparison: For the splits `random` and `group`, the `accuracy` of each seed and the share of test pictures that were
            `separated` from a relative.

    Returns:
        The content of report.json.

    Raises:
        UsageError: There is nothing to measure in one of the answers.
        OutputError: A file cannot be written.
    """
    evaluations = [measure(part, temperature, unsure_below) for part in answers]
    report = {"schema": SCHEMA, **facts, "temperature": temperature, "unsure_below": unsure_below, "evaluations": evaluations}
    if comparison is not None:
        report["comparison"] = dict(comparison)
    if history:
        # JSON has no word for what is no number.
        report["history"] = [{name: value if math.isfinite(value) else None for name, value in epoch.items()} for epoch in history]
    make_folder(out)

    limits = facts.get("limits", ())
    shown = {key: value for key, value in facts.items() if key not in ("limits", "notes")}
    shown |= {"temperature": temperature, "unsure below": unsure_below}
    # The result comes first, then what it is made of; recipe and digests, which few readers want, come last.
    first = answers[0]
    sections = [_result(first, evaluations, temperature, facts)]
    for part, evaluation, slug in zip(answers, evaluations, _slugs(answers), strict=True):
        drawn = {
            "confusion": charts.confusion_chart(evaluation),
            "roc": charts.roc_chart(part, temperature),
            "precision_recall": charts.precision_recall_chart(part, temperature),
            "reliability": charts.reliability_chart(part, temperature),
        }
        for kind, content in drawn.items():
            write_file(out / f"{kind}_{slug}.png", content)
        sections.append(_evaluation(part, evaluation, drawn, [] if part is first else _mistakes(part, temperature)))
    if limits:
        rows = [(limit["condition"], _figure(limit["accuracy"]), limit["faces"]) for limit in limits]
        words = f"Masked and unmasked faces of {first.name}, each changed in one way; any label may be the answer."
        sections.append(page.section("Limits", page.paragraph(words), page.table(("the same faces", "accuracy", "faces"), rows)))
    if history:
        curves = charts.learning_curves(history)
        write_file(out / "learning_curves.png", curves)
        sections.append(page.section("Learning curves", page.charts([page.figure(page.png(curves), "Loss and figures by epoch")])))
    if comparison is not None:
        sections.append(_comparison(comparison))
    sections.append(page.section("Recipe, data and digests", page.table(("what", "value"), _rows(shown))))
    write_file(out / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    page.write_page(out / "report.html", title, _LEAD, sections)
    return report


def _slugs(answers: Sequence[Answers]) -> list[str]:
    """Turn the names to parts of file names, a different one each."""
    slugs: list[str] = []
    for part in answers:
        slug = re.sub(r"[^a-z0-9]+", "_", part.name.lower()).strip("_") or "data"
        slugs.append(slug if slug not in slugs else f"{slug}_{len(slugs) + 1}")
    return slugs


def _rows(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Flatten nested facts to rows of a table: `data` with `pictures` in it becomes `data: pictures`."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = above + str(key).replace("_", " ")
        if isinstance(value, Mapping):
            rows += _rows(value, f"{name}: ")
        else:
            rows.append((name, _spoken(value)))
    return rows


def _spoken(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_spoken, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _result(part: Answers, evaluations: Sequence[Mapping[str, Any]], temperature: float, facts: Mapping[str, Any]) -> str:
    """Give what a reader wants to know first: how often it is right, what it takes for what, and its worst mistakes."""
    own = evaluations[0]
    headline = [page.headline(f"{own['accuracy']:.1%}", f"of {own['pictures']:,} crops of {part.name} are answered right")]
    if two_way := own.get("two_way"):
        headline.append(page.headline(f"{two_way['two_labels']:.1%}", "with or without a mask, the likelier of the two"))
    if own["macro_f1"] is not None:
        headline.append(page.headline(f"{own['macro_f1']:.3f}", "macro F1: the mean over the labels"))
    for name, gate in facts.get("gate", {}).items():
        if name == part.name and gate["rejected"] is not None:
            words = f"of {gate['false_alarms']:,} false alarms of the detectors are thrown out"
            headline.append(page.headline(f"{gate['rejected']:.1%}", words))
    rows = [(each["name"], f"{each['pictures']:,}", _figure(each["accuracy"]), _figure(each["macro_f1"])) for each in evaluations]
    return page.section(
        "Result",
        page.headlines(headline),
        *(page.warning(note) for note in facts.get("notes", ())),
        page.confusion(list(own["labels"]), own["confusion"]),
        *([page.table(("measured on", "crops", "accuracy", "macro F1"), rows, "All data")] if len(rows) > 1 else []),
        page.heading("Worst mistakes"),
        *_mistakes(part, temperature),
    )


def _evaluation(part: Answers, evaluation: Mapping[str, Any], drawn: Mapping[str, bytes], mistakes: Sequence[str]) -> str:
    calibration, unsure = evaluation["calibration"], evaluation["unsure"]
    columns = ("precision", "recall", "f1", "roc_auc", "average_precision")
    labels = [
        (label, figures["count"], *(_figure(figures[column]) for column in columns))
        for label, figures in evaluation["labels"].items()
    ]
    whole = [
        ("accuracy", _figure(evaluation["accuracy"])),
        ("macro F1", _figure(evaluation["macro_f1"])),
        ("calibration error before and after the temperature", f"{calibration['ece_before']:.4f}, {calibration['ece_after']:.4f}"),
        ("negative log-likelihood before and after", f"{calibration['nll_before']:.4f}, {calibration['nll_after']:.4f}"),
        (f"share of unsure answers (below {unsure['below']:g})", _figure(unsure["share_unsure"])),
        ("accuracy of the sure answers", _figure(unsure["accuracy_of_the_sure"])),
    ]
    if two_way := evaluation.get("two_way"):
        whole += [
            ("mask or not: accuracy, any label may be the answer", _figure(two_way["strict"])),
            ("mask or not: accuracy, the likelier of the two", _figure(two_way["two_labels"])),
        ]
    captions = {
        "confusion": "Confusion: crops, and their share of the row",
        "roc": "ROC, one label against the rest",
        "precision_recall": "Precision and recall, one label against the rest",
        "reliability": "Reliability before and after the temperature",
    }
    return page.section(
        f"{part.name}: {evaluation['pictures']} crops",
        page.table(("figure", "value"), whole),
        page.table(("label", "crops", "precision", "recall", "F1", "ROC AUC", "average precision"), labels, "By label"),
        page.charts(page.figure(page.png(drawn[kind]), caption) for kind, caption in captions.items()),
        *mistakes,
    )


def _mistakes(part: Answers, temperature: float) -> list[str]:
    """Show the wrong answers, the most confident first."""
    chances = probabilities(part.logits, temperature)
    said, top = chances.argmax(axis=1), chances.max(axis=1)
    wrong = np.flatnonzero(said != part.targets)
    worst = wrong[np.argsort(-top[wrong], kind="stable")][:MISTAKES].tolist()
    if not worst:
        return [page.paragraph("No answer is wrong.")]
    figures = [
        page.figure(
            page.picture(part.crops[row]),
            f"{part.files[row]}: {part.labels[part.targets[row]]} → {part.labels[said[row]]}, {top[row]:.1%}",
        )
        for row in worst
    ]
    which = f"the {len(worst)} most confident" if len(worst) < len(wrong) else "the most confident first"
    words = f"{len(wrong)} answers are wrong; {which}, with truth → answer and the probability of the answer:"
    return [page.paragraph(words), page.gallery(figures)]


def _comparison(comparison: Mapping[str, Any]) -> str:
    rows = []
    for by in ("random", "group"):
        split = comparison.get(by, {})
        accuracy = split.get("accuracy", [])
        span = (np.mean(accuracy), min(accuracy), max(accuracy)) if accuracy else (None,) * 3
        rows.append((by, len(accuracy), *map(_figure, span), _figure(split.get("separated"))))
    head = ("split", "seeds", "mean accuracy", "lowest", "highest", "share of test pictures with a relative in another part")
    words = (
        "The random split draws each picture alone, so near-copies of training pictures and other pictures of the same people come "
        "into its test part, and remembering them counts as an answer. The group split keeps related pictures in one part, so only "
        "its accuracy tells what to expect of pictures that the net has never seen the like of."
    )
    return page.section("Random split and group split", page.table(head, rows), page.paragraph(words))
