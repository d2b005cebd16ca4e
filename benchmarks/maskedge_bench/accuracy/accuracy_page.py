"""The report of `edge-bench accuracy` as one self-contained HTML page with charts and error galleries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskedge.rendering.html import charts, gallery, paragraph, section, table, text, write_page
from maskedge.rendering.theme import label_style
from maskedge_bench.markdown import UNKNOWN, known

from .detection_counts import THREE
from .gallery import MOST, Gallery
from .tables import describe_rotation

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 520, 360, 52, 44, 12
_COLOURS = ("--accent", "--label-with-mask", "--label-without-mask", "--label-incorrect-mask", "--label-unsure", "--soft")
_DASHES = ("", "7 3", "2 3", "7 3 2 3", "12 4", "1 2")


def write_accuracy_page(path: Path, report: dict[str, Any], galleries: Sequence[Gallery]) -> None:
    """Write the page. It contains pictures of people from the data, so keep it private.

    Raises:
        OutputError: The file cannot be written.
    """
    rows, facts = report["pipelines"], report["facts"]
    lead = (
        f"{report['pictures']} pictures of {report['scenes']}{describe_rotation(report) or ','} "
        f"{report['backgrounds']} without people. {facts['machine']}, OpenCV {facts['opencv']}, "
        f"onnxruntime {facts['onnxruntime']}, {report['time']}."
    )
    sections = [
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
                "Two labels: with edge-run --labels with_mask,without_mask. Unlabelled faces: those listed in "
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


def _labels(row: dict[str, Any]) -> str:
    figures = row["three_class"]["labels"]
    return table(
        ("Label", "Faces", "Found", "Precision", "Recall", "F1"),
        [
            (label_style(label).name, own["labelled"], *(f"{own[key]:.3f}" for key in ("found", "precision", "recall", "f1")))
            for label, own in figures.items()
        ],
        row["name"],
    )


def _sizes(row: dict[str, Any]) -> str:
    head = ["Size"]
    for label in THREE:
        head += [label_style(label).name, "Found", "Correct"]
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
    """Return a chart with one line per pipeline, distinguished by colour and dashes."""
    wide, high = _WIDTH - _LEFT - 12, _HEIGHT - _BOTTOM - _TOP

    def place(recall: float, precision: float) -> tuple[float, float]:
        return round(_LEFT + recall * wide, 1), round(_TOP + (1 - precision) * high, 1)

    parts = []
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        (x, _), (_, y) = place(tick, 0), place(0, tick)
        parts += [
            f'<path d="M{x} {_TOP}V{_TOP + high}M{_LEFT} {y}H{_LEFT + wide}" stroke="var(--line)" fill="none"/>',
            f'<text x="{x}" y="{_TOP + high + 16}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>',
        ]
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 6}" text-anchor="middle">Recall</text>')
    parts.append(
        f'<text x="14" y="{_TOP + high / 2}" text-anchor="middle" transform="rotate(-90 14 {_TOP + high / 2})">Precision</text>'
    )
    names = []
    for index, row in enumerate(rows):
        line = (
            f'stroke="var({_COLOURS[index % len(_COLOURS)]})" stroke-width="2" stroke-dasharray="{_DASHES[index % len(_DASHES)]}"'
        )
        points = [place(point["recall"], point["precision"]) for point in row["curve"]]
        parts.append(f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" fill="none" {line}/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="var({_COLOURS[index % len(_COLOURS)]})"/>' for x, y in points]
        names.append(f'<svg width="40" height="10"><path d="M0 5H40" {line}/></svg> {text(row["name"])}<br>')
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" font-size="12" fill="var(--ink)" '
        f'style="max-width:100%" aria-label="Precision over recall, one line per pipeline. The table below has the figures.">'
        f"{''.join(parts)}</svg><figcaption>{''.join(names)}</figcaption></figure>"
    )
