"""Vega-Lite charts of the app.

Colour is never the only signal: lines, points and cells also differ in form or have text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from maskedge.rendering.theme import LABELS, LIGHT, label_style, label_title

from .results import label_text, sort_labels

_KINDS = ["Pareto-optimal", "Dominated"]
# Shades that are readable on light and on dark backgrounds.
_ACCENT, _TEXT, _SECOND = "#3d8fe0", "#808b95", "#c4632a"


def timeline_chart(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw the faces in each second, from rows of `second`, `label`, `faces`."""
    labels = sort_labels(row["label"] for row in rows)
    styles = [label_style(label) for label in labels]
    names = [label_text(label) for label in labels]
    dashes = [[int(part) for part in style.dash.split()] or [1, 0] for style in styles]
    values = [{**row, "name": label_text(str(row["label"]))} for row in rows]
    return {
        "data": {"values": values},
        "height": 300,
        "mark": {"type": "line", "point": True, "strokeWidth": 2.5, "interpolate": "monotone"},
        "encoding": {
            "x": {"field": "second", "type": "quantitative", "title": "Time (s)", "axis": {"tickMinStep": 1}},
            "y": {"field": "faces", "type": "quantitative", "title": "Faces in view (mean)", "axis": {"tickMinStep": 1}},
            "color": {
                "field": "name",
                "type": "nominal",
                "scale": {"domain": names, "range": [style.picture for style in styles]},
                "legend": {"orient": "top", "title": None},
            },
            "strokeDash": {"field": "name", "type": "nominal", "scale": {"domain": names, "range": dashes}, "legend": None},
            "tooltip": [
                {"field": "second", "title": "Second"},
                {"field": "name", "title": "Label"},
                {"field": "faces", "title": "Faces"},
            ],
        },
    }


def confusion_chart(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Draw a confusion matrix.

    Rows are true labels, columns predictions. Cells show counts, shaded by share of the row.
    """
    rows = []
    for truth, counts in zip(labels, confusion, strict=True):
        total = sum(counts)
        if not total:
            continue
        for predicted, count in zip(labels, counts, strict=True):
            share = count / total
            rows.append(
                {
                    "truth": label_title(truth),
                    "predicted": label_title(predicted),
                    "count": count,
                    "share": share,
                    "percent": f"{share:.0%}",
                }
            )
    names = [label_title(label) for label in labels]
    # Columns show symbols, which fit the width of a phone. Rows show symbol and name. A label
    # without a symbol keeps its name.
    symbols = json.dumps({label_title(label): label_style(label).symbol for label in labels if label in LABELS})
    row_names = json.dumps({label_title(label): label_text(label) for label in labels})
    across = {
        "field": "predicted",
        "type": "nominal",
        "sort": names,
        "title": "Predicted",
        "axis": {"labelAngle": 0, "labelFontSize": 13, "labelExpr": f"{symbols}[datum.label] || split(datum.label, ' ')"},
    }
    down = {
        "field": "truth",
        "type": "nominal",
        "sort": names,
        "title": "True",
        "axis": {"labelExpr": f"{row_names}[datum.label]", "labelLimit": 200},
    }
    dark = {"test": "datum.share > 0.5", "value": "white"}
    return {
        "data": {"values": rows},
        "height": {"step": 58},
        "encoding": {"x": across, "y": down},
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "#8884", "cornerRadius": 3},
                "encoding": {
                    "color": {
                        "field": "share",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "range": ["#e8f1fb", "#0b4f96"]},
                        "legend": None,
                    },
                    "tooltip": [
                        {"field": "truth", "title": "True"},
                        {"field": "predicted", "title": "Predicted"},
                        {"field": "count", "title": "Faces"},
                        {"field": "percent", "title": "Share of the row"},
                    ],
                },
            },
            {
                "mark": {"type": "text", "fontSize": 14, "fontWeight": 600, "dy": -8},
                "encoding": {"text": {"field": "count"}, "color": {"condition": dark, "value": LIGHT["ink"]}},
            },
            {
                "mark": {"type": "text", "fontSize": 12, "dy": 9},
                "encoding": {"text": {"field": "percent"}, "color": {"condition": dark, "value": LIGHT["ink"]}},
            },
        ],
    }


def calibration_chart(bins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw accuracy by confidence, and the diagonal of perfect calibration."""
    values = [{**part, "faces": f"{part['count']} faces"} for part in bins if part["count"]]
    percent = {"format": "%"}
    return {
        "height": 320,
        "layer": [
            {
                "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
                "mark": {"type": "line", "strokeDash": [5, 4], "color": _TEXT},
                "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
            },
            {
                "data": {"values": [{"x": 0.03, "y": 0.95, "text": "- - Perfect calibration"}]},
                "mark": {"type": "text", "align": "left", "color": _TEXT, "fontSize": 12},
                "encoding": {
                    "x": {"field": "x", "type": "quantitative"},
                    "y": {"field": "y", "type": "quantitative"},
                    "text": {"field": "text"},
                },
            },
            {
                "data": {"values": values},
                "mark": {"type": "line", "point": {"filled": True, "size": 70}, "strokeWidth": 2.5, "color": _ACCENT},
                "encoding": {
                    "x": {
                        "field": "confidence",
                        "type": "quantitative",
                        "title": "Confidence",
                        "scale": {"domain": [0, 1]},
                        "axis": percent,
                    },
                    "y": {
                        "field": "accuracy",
                        "type": "quantitative",
                        "title": "Accuracy",
                        "scale": {"domain": [0, 1]},
                        "axis": percent,
                    },
                    "tooltip": [
                        {"field": "confidence", "title": "Confidence", "format": ".1%"},
                        {"field": "accuracy", "title": "Accuracy", "format": ".1%"},
                        {"field": "faces", "title": "Measured on"},
                    ],
                },
            },
        ],
    }


def frontier(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return the indices of the Pareto-optimal points (milliseconds, F1)."""
    return {
        index
        for index, (time, f1) in enumerate(points)
        if not any((t <= time and f > f1) or (t < time and f >= f1) for t, f in points)
    }


def frontier_chart(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw F1 against latency, from rows of `report`, `name`, `milliseconds`, `f1`.

    A line joins the Pareto-optimal points of each report, since reports differ in machine and
    pictures. A point label without room is left out; the table and the tooltip have all names.
    """
    best: set[int] = set()
    for report in {point["report"] for point in points}:
        own = [index for index, point in enumerate(points) if point["report"] == report]
        best |= {own[index] for index in frontier([(points[index]["milliseconds"], points[index]["f1"]) for index in own])}
    places = _label_places(points)
    values = [
        {
            **point,
            "kind": _KINDS[0 if index in best else 1],
            "short": str(point["name"]).split(" (")[0],
            "place": places[index],
        }
        for index, point in enumerate(points)
    ]
    x = {
        "field": "milliseconds",
        "type": "quantitative",
        "title": "Milliseconds per picture (left is faster)",
        "scale": {"domainMin": 0, "nice": True},
    }
    y = {
        "field": "f1",
        "type": "quantitative",
        "title": "F1 (up is better)",
        "scale": {"zero": False, "nice": True, "padding": 30},
    }
    return {
        "data": {"values": values},
        "height": 320,
        "layer": [
            {
                "transform": [{"filter": f"datum.kind == '{_KINDS[0]}'"}],
                "mark": {"type": "line", "strokeDash": [6, 4], "color": _ACCENT, "interpolate": "step-after"},
                "encoding": {"x": x, "y": y, "order": {"field": "milliseconds"}, "detail": {"field": "report"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 160, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "shape": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": _KINDS, "range": ["circle", "cross"]},
                        "legend": {"orient": "top", "title": None},
                    },
                    "color": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": _KINDS, "range": [_ACCENT, _SECOND]},
                    },
                    "tooltip": [
                        {"field": "name", "title": "Pipeline"},
                        {"field": "f1", "title": "F1"},
                        {"field": "milliseconds", "title": "Milliseconds"},
                        {"field": "report", "title": "Report"},
                    ],
                },
            },
            *(
                {
                    "transform": [{"filter": f"datum.place == '{align} {side}'"}],
                    "mark": {"type": "text", "align": align, "dy": dy, "fontSize": 13, "fontWeight": 600, "color": _TEXT},
                    "encoding": {"x": x, "y": y, "text": {"field": "short"}},
                }
                for align in ("left", "center", "right")
                for side, dy in _SIDES.items()
            ),
        ],
    }


_SIDES = {"above": -16, "below": 18}
"""Label positions and their vertical offsets in pixels."""


def _label_places(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a position for each point label, such as `left above`, so that no two overlap.

    A label without room gets an empty position. Sizes are for a phone: a label of twelve letters
    takes a third of the width.
    """
    most = max((point["milliseconds"] for point in points), default=0.0) or 1.0
    low, high = min((point["f1"] for point in points), default=0.0), max((point["f1"] for point in points), default=1.0)
    span = max(high - low, 1e-6)
    taken: list[tuple[float, float, float]] = []
    places = [""] * len(points)
    for index in sorted(range(len(points)), key=lambda index: (points[index]["milliseconds"], index)):
        at, up = points[index]["milliseconds"] / most, (points[index]["f1"] - low) / span
        wide = min(len(str(points[index]["name"]).split(" (")[0]), 30) / 36
        align = "left" if at < wide / 2 else "right" if at > 1 - wide / 2 else "center"
        start = at - {"left": 0.0, "center": wide / 2, "right": wide}[align]
        for side, shift in (("above", 0.07), ("below", -0.07)):
            box = start, start + wide, up + shift
            if all(box[1] < left or right < box[0] or abs(box[2] - height) > 0.1 for left, right, height in taken):
                taken.append(box)
                places[index] = f"{align} {side}"
                break
    return places


def speed_chart(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw frames per second with ranges, from rows of `report`, `name`, `rate`, `low`, `high`.

    The names are above the bars.
    """
    values = [
        {**row, "bar": f"{number}", "start": 0, "text": f"{str(row['name']).split(' (')[0]} ({row['report']}): {row['rate']:.1f}"}
        for number, row in enumerate(rows)
    ]
    y = {"field": "bar", "type": "nominal", "sort": None, "axis": None}
    x = {"field": "rate", "type": "quantitative", "title": "Frames per second (more is faster)"}
    return {
        "data": {"values": values},
        "height": {"step": 52},
        "layer": [
            {
                "mark": {"type": "bar", "height": 20, "yOffset": 8, "cornerRadiusEnd": 3, "color": _ACCENT},
                "encoding": {
                    "x": x,
                    "y": y,
                    "tooltip": [
                        {"field": "name", "title": "Pipeline"},
                        {"field": "rate", "title": "Frames/s"},
                        {"field": "low", "title": "Slowest round"},
                        {"field": "high", "title": "Fastest round"},
                    ],
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2, "yOffset": 8, "color": _SECOND},
                "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}, "y": y},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 2, "dy": -13, "fontSize": 13, "fontWeight": 600, "color": _TEXT},
                "encoding": {"x": {"field": "start", "type": "quantitative"}, "y": y, "text": {"field": "text"}},
            },
        ],
    }
