"""Markdown tables of the accuracy and tracking reports, for documents, pages and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maskedge.support.text import counted
from maskedge_bench.markdown import UNKNOWN, Report, known, markdown_table

from .detection_counts import CONFIDENT, DRAWS, TWO


def accuracy_table(report: Report) -> str:
    """Return an accuracy report as a table."""
    head = (
        "pipeline",
        "F1",
        "F1, two labels",
        "F1, unlabelled faces ignored",
        "masked found",
        "unmasked found",
        "precision",
        "false alarms per background",
        "three-class F1",
        "cost",
    )
    rows = []
    for row in report["pipelines"]:
        # Older reports have two labels, no cost ratio and no interval.
        three, two, ignoring = row.get("three_class"), row.get("two_labels"), row.get("unlabelled_ignored")
        rows.append(
            [
                row["name"],
                _f1(row["together"]["f1"], row.get("f1_interval")),
                _f1(two and two["f1"], two and two.get("f1_interval")),
                _f1(ignoring and ignoring["f1"], ignoring and ignoring.get("f1_interval")),
                *(f"{row['labels'][label]['found']:.3f}" for label in TWO),
                f"{row['together']['precision']:.3f}",
                known(row["false_alarms_a_background"]),
                known(three and three["together"]["f1"]),
                known(row.get("cost_ratio"), ".2f"),
            ]
        )
    labelled = {label: report["pipelines"][0]["labels"][label]["labelled"] for label in TWO}
    note = (
        f"{counted(report['pictures'], 'picture')} of `{report['scenes']}`{_on_relabelled(report)}{describe_rotation(report)} with "
        f"{labelled['with_mask']} masked and {labelled['without_mask']} unmasked faces of 32 px and more; "
        f"{counted(report['backgrounds'], 'picture')} without people. "
        f"{_on_two_labels(report)}{_on_unlabelled(report)}{_on_interval(report)}Cost: time per picture, relative to the first row "
        "of the same run."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def describe_rotation(report: Report) -> str:
    """Return a phrase with the rotation of the pictures, or an empty string without rotation."""
    return f", rotated by {report['degrees']:g} degrees," if report.get("degrees") else ""


def _on_relabelled(report: Report) -> str:
    return f" with the labels of `{report['relabelled']}`" if report.get("relabelled") else ""


def _on_two_labels(report: Report) -> str:
    if "two_labels" not in report["pipelines"][0]:
        return ""
    return (
        "F1 covers masked and unmasked faces, and the prediction `incorrect_mask` counts as wrong. Two labels: with "
        "`edge-run --labels with_mask,without_mask`. "
    )


def _on_unlabelled(report: Report) -> str:
    count = report.get("unlabelled")
    return f"Unlabelled: {count} faces without a label, listed in --unlabelled. " if count else ""


def _on_interval(report: Report) -> str:
    has_interval = "f1_interval" in report["pipelines"][0]
    return f"In brackets: 95 % bootstrap interval over pictures, {DRAWS:,} draws. " if has_interval else ""


def _f1(value: float | None, interval: Sequence[float] | None) -> str:
    return known(value) + (f" ({interval[0]:.3f} - {interval[1]:.3f})" if interval else "")


def tracking_table(report: Report) -> str:
    """Return a tracking report as a table."""
    head = (
        "video",
        "frames",
        "detections",
        "ms per frame, detecting each",
        "ms per frame, tracking",
        "ratio",
        "longest loss",
        "people",
        "label changes per person",
    )
    rows = []
    for row in report["sources"]:
        cost = row["milliseconds_a_frame"]
        changes = ", ".join(str(person["label_changes"]) for person in row["people"])
        rows.append(
            [
                f"`{row['source']}`",
                str(row["frames"]),
                str(row["detections"]),
                f"{cost['detecting_every_frame']:.2f}",
                f"{cost['tracking']:.2f}",
                f"{row['cost_ratio']:.2f}",
                counted(max(row["longest_loss"], row["longest_wait"]), "frame"),
                str(len(row["people"])),
                changes or UNKNOWN,
            ]
        )
    facts = report["facts"]
    note = (
        f"Detector {report['detector']}, `--detect-every {report['detect_every']}`, {counted(report['threads'], 'thread')}. Both "
        "runs process the same frames, interleaved. Longest loss: consecutive frames in which detection in each frame finds a "
        "face and tracking has none, including the wait for the first detection. "
        f"{facts['machine']}, Python {facts['python']}, OpenCV {facts['opencv']}, onnxruntime {facts['onnxruntime']}."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def rates_table(reports: Sequence[Report]) -> str:
    """Return the frame rates of tracking reports as a table."""
    head = (
        "video",
        "detector",
        "frames/s",
        "detections/s",
        "contradicted",
        "longest contradiction",
        "people",
        "label changes per person",
    )
    rows = []
    for report in reports:
        for source in report["sources"]:
            for row in source.get("rates", ()):
                share = row["contradicted"]
                rows.append(
                    [
                        f"`{source['source']}`",
                        report["detector"],
                        f"{row['rate']:g}",
                        f"{row['detections'] / row['frames'] * row['rate']:.1f}",
                        UNKNOWN if share is None else f"{share:.1%} of {row['compared']}",
                        f"{row['longest_contradiction_s']:.2f} s",
                        str(row["people"]),
                        ", ".join(map(str, row["label_changes"])) or UNKNOWN,
                    ]
                )
    note = (
        "Contradicted: share of published faces whose label differs from the label of that frame alone, where the latter has a "
        f"confidence of at least {CONFIDENT:g}. A contradiction ends when the two agree or the published label changes. Lower "
        f"rates drop frames, higher rates repeat them. `--detect-every {reports[0]['detect_every']}`."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def thresholds_table(report: Report) -> str:
    """Return the operating points of a report of thresholds as a table."""
    head = ("detector", "domain", "point", "face threshold", "F1", "precision", "recall", "false alarms per background")
    rows = []
    for row in report["rows"]:
        curve = {point["face_threshold"]: point for point in row["curve"]}
        for name, threshold in row["points"].items():
            own = curve[threshold]
            rows.append(
                [
                    row["detector"],
                    row["domain"],
                    name,
                    f"{threshold:g}",
                    *(f"{own[key]:.3f}" for key in ("f1", "precision", "recall")),
                    known(own["false_alarms_a_background"]),
                ]
            )
    domains = {row["domain"]: row for row in report["rows"]}
    notes = [
        f"{name}: {counted(row['pictures'], 'picture')} with {row['faces']:,} faces ("
        + ", ".join(f"{source} {count:,}" for source, count in row["sources"].items())
        + "), weights by the start of the file name "
        + ", ".join(f"`{pattern}` {weight:g}" for pattern, weight in row["weights"].items())
        + "."
        for name, row in domains.items()
    ]
    held = "Held-out pictures, two" if report["held_out"] else "Two"
    note = f"{held} labels; {counted(report['backgrounds'], 'picture')} without people. {' '.join(notes)}"
    return f"{markdown_table(head, rows)}\n\n{note}"


def attributes_table(report: Report) -> str:
    """Return the figures of each group of faces as a table."""
    rows, detectors = report["rows"], [row["detector"] for row in report["rows"]]
    head = ["attribute", "group", "faces"]
    head += [f"`{detector}`, {kind}" for detector in detectors for kind in ("F1", "three-label F1", "found")]
    groups: dict[tuple[str, str], dict[str, Report]] = {}
    for row in rows:
        for own in row["groups"]:
            groups.setdefault((own["attribute"], own["group"]), {})[row["detector"]] = own
    lines = [
        ["all", "", str(rows[0]["whole"]["three_labels"]["faces"]), *_of_group({row["detector"]: row["whole"] for row in rows})]
    ]
    for (attribute, group), by_detector in groups.items():
        own = {detector: by_detector.get(detector) for detector in detectors}
        faces = next(iter(by_detector.values()))["three_labels"]["faces"]
        lines.append([attribute, group, str(faces), *_of_group(own)])
    weak = [f"{own['attribute']} {own['group']} ({row['detector']})" for row in rows for own in row["groups"] if own["weak"]]
    note = (
        f"{counted(report['pictures'], 'picture')}. F1 with two labels and, in the next column, with three; in brackets its 95 % "
        f"bootstrap interval over pictures. Bold: a group of {report['least_faces']} faces or more whose F1, with two "
        f"labels or three, is more than {report['most_below']:g} below that of all faces: {', '.join(weak) or 'none'}."
    )
    return f"{markdown_table(head, lines)}\n\n{note}"


def _of_group(by_detector: Mapping[str, Report | None]) -> list[str]:
    """Return the cells of a group."""
    cells = []
    for own in by_detector.values():
        if own is None:
            cells += [UNKNOWN] * 3
            continue
        two, three, mark = own["two_labels"], own["three_labels"], "**" if own.get("weak") else ""
        first = f"{mark}{_f1(two['f1'], two['f1_interval'])}{mark}" if two["faces"] else UNKNOWN
        cells += [first, f"{mark}{three['f1']:.3f}{mark}", f"{three['found']:.3f}"]
    return cells
