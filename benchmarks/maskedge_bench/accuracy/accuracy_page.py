"""The accuracy report as one self-contained HTML page with charts and error galleries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskedge.rendering.html import charts, gallery, paragraph, section, table, write_page
from maskedge.rendering.theme import label_title
from maskedge.support.text import counted
from maskedge_bench.markdown import UNKNOWN, known
from maskedge_bench.svg_charts import STYLE, Series, plot

from .detection_counts import THREE
from .gallery import MOST, Gallery
from .tables import describe_rotation


def write_accuracy_page(path: Path, report: dict[str, Any], galleries: Sequence[Gallery]) -> None:
    """Write the page. It contains pictures of people from the data, so keep it private.

    Raises:
        OutputError: The file cannot be written.
    """
    rows, facts = report["pipelines"], report["facts"]
    lead = (
        f"{counted(report['pictures'], 'picture')} of {report['scenes']}{describe_rotation(report) or ','} "
        f"{report['backgrounds']} without people. {facts['machine']}, OpenCV {facts['opencv']}, "
        f"onnxruntime {facts['onnxruntime']}, {report['time'][:16].replace('T', ' ')}."
    )
    sections = [
        STYLE,
        section(
            "Side by side",
            table(
                (
                    "Pipeline",
                    "F1",
                    "Precision",
                    "Recall",
                    "F1, two labels",
                    "F1, unlabelled faces ignored",
                    "Three-class F1",
                    "False alarms per background",
                    "Candidates per picture",
                    "ms per picture",
                    "Cost",
                ),
                [
                    (
                        row["name"],
                        *(f"{row['together'][key]:.3f}" for key in ("f1", "precision", "recall")),
                        f"{row['two_labels']['f1']:.3f}",
                        known(row["unlabelled_ignored"] and row["unlabelled_ignored"]["f1"]),
                        f"{row['three_class']['together']['f1']:.3f}",
                        known(row["false_alarms_a_background"]),
                        f"{row['candidates_a_picture']:.1f}",
                        f"{row['milliseconds_p50']:.1f}",
                        f"{row['cost_ratio']:.2f}",
                    )
                    for row in rows
                ],
            ),
            paragraph(
                "F1, precision and recall cover masked and unmasked faces; three-class F1 adds incorrectly worn masks. "
                "Two labels: with edge-run --labels with_mask,without_mask. Unlabelled faces: faces listed in "
                "--unlabelled. Candidates: boxes that the detector passes to the classifier. "
                "Milliseconds: median of detection and classification. Cost: time relative "
                "to the first row, median over the pictures."
            ),
        ),
        section("Precision and recall by face threshold", charts([_curves(rows)]), _bounds(rows)),
        section("By label, three classes", *(_labels(row) for row in rows)),
        section("By size of face", paragraph("In pixels of the picture scaled to at most 640."), *(_sizes(row) for row in rows)),
    ]
    for row, own in zip(rows, galleries, strict=True):
        for title, kept in (("missed", own.missed), ("false alarms", own.false), ("wrong label", own.wrong)):
            more = f" (the first {MOST})" if len(kept) == MOST else ""
            sections.append(section(f"{row['name']}: {title}{more}", gallery(kept) if kept else paragraph("None.")))
    write_page(path, "Accuracy of detection and classification", lead, sections)


def _share(figures: dict[str, Any], key: str) -> str:
    """Return a figure of a label, or a dash if the data has no face of that label."""
    return f"{figures[key]:.3f}" if figures["labelled"] else UNKNOWN


def _labels(row: dict[str, Any]) -> str:
    figures = row["three_class"]["labels"]
    return table(
        ("Label", "Faces", "Found", "Precision", "Recall", "F1"),
        [
            (label_title(label), own["labelled"], *(_share(own, key) for key in ("found", "precision", "recall", "f1")))
            for label, own in figures.items()
        ],
        row["name"],
    )


def _sizes(row: dict[str, Any]) -> str:
    head = ["Size"]
    for label in THREE:
        head += [label_title(label), "Found", "Correct"]
    rows = []
    for size in row["sizes"]:
        cells: list[object] = [f"{size['from']} and more" if size["below"] is None else f"{size['from']} to {size['below']}"]
        for label in THREE:
            own = size["labels"][label]
            cells += [own["labelled"], *(f"{own[key]:.2f}" if own["labelled"] else UNKNOWN for key in ("found", "right"))]
        rows.append(cells)
    return table(head, rows, row["name"])


def _bounds(rows: Sequence[dict[str, Any]]) -> str:
    return table(
        ("Face threshold", *(row["name"] for row in rows)),
        [
            (
                f"{points[0]['least_face']:g}",
                *(
                    f"{point['precision']:.3f} / {point['recall']:.3f} / {known(point['false_alarms_a_background'])}"
                    for point in points
                ),
            )
            for points in zip(*(row["curve"] for row in rows), strict=True)
        ],
        "Precision / recall / false alarms per background",
    )


def _curves(rows: Sequence[dict[str, Any]]) -> str:
    """Return the precision-recall curves, one line per pipeline."""
    series = [Series(row["name"], [(point["recall"], point["precision"]) for point in row["curve"]], dots=True) for row in rows]
    return plot(series, "Recall", "Precision")
