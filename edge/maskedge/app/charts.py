"""The charts of the page, as Vega-Lite. Every line, point and cell also has words or a form of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from maskedge.rendering.theme import LABELS, LIGHT, label_look

from .results import in_order, spoken

_EFFICIENT = ["unbeaten", "beaten"]
# One shade that can be read on light and on dark paper.
_ACCENT, _WORDS, _SECOND = "#3d8fe0", "#808b95", "#c4632a"


def timeline_chart(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw the faces of each second: rows of `second`, `label`, `faces`."""
    labels = in_order(row["label"] for row in rows)
    looks = [label_look(label) for label in labels]
    names = [spoken(label) for label in labels]
    dashes = [[int(part) for part in look.dash.split()] or [1, 0] for look in looks]
    values = [{**row, "answer": spoken(str(row["label"]))} for row in rows]
    return {
        "data": {"values": values},
        "height": 300,
        "mark": {"type": "line", "point": True, "strokeWidth": 2.5, "interpolate": "monotone"},
        "encoding": {
            "x": {"field": "second", "type": "quantitative", "title": "second of the video", "axis": {"tickMinStep": 1}},
            "y": {"field": "faces", "type": "quantitative", "title": "faces at a time", "axis": {"tickMinStep": 1}},
            "color": {
                "field": "answer",
                "type": "nominal",
                "scale": {"domain": names, "range": [look.picture for look in looks]},
                "legend": {"orient": "top", "title": None},
            },
            "strokeDash": {"field": "answer", "type": "nominal", "scale": {"domain": names, "range": dashes}, "legend": None},
            "tooltip": [{"field": "second"}, {"field": "answer"}, {"field": "faces"}],
        },
    }


def confusion_chart(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Draw which label was answered (columns) for which truth (rows): counts, and shares of a row as the shade."""
    rows = []
    for truth, counts in zip(labels, confusion, strict=True):
        total = sum(counts)
        if not total:
            continue
        for answer, count in zip(labels, counts, strict=True):
            share = count / total
            rows.append(
                {
                    "truth": label_look(truth).name,
                    "answer": label_look(answer).name,
                    "count": count,
                    "share": share,
                    "words": f"{share:.0%}",
                }
            )
    names = [label_look(label).name for label in labels]
    # Signs fit across a phone, and the rows say what they mean; a label without a sign of its own keeps its name.
    signs = json.dumps({label_look(label).name: label_look(label).symbol for label in labels if label in LABELS})
    rows_say = json.dumps({label_look(label).name: spoken(label) for label in labels})
    across = {
        "field": "answer",
        "type": "nominal",
        "sort": names,
        "title": "the model's answer",
        "axis": {"labelAngle": 0, "labelFontSize": 13, "labelExpr": f"{signs}[datum.label] || split(datum.label, ' ')"},
    }
    down = {
        "field": "truth",
        "type": "nominal",
        "sort": names,
        "title": "the truth",
        "axis": {"labelExpr": f"{rows_say}[datum.label]", "labelLimit": 200},
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
                        {"field": "truth"},
                        {"field": "answer"},
                        {"field": "count", "title": "faces"},
                        {"field": "words", "title": "share"},
                    ],
                },
            },
            {
                "mark": {"type": "text", "fontSize": 14, "fontWeight": 600, "dy": -8},
                "encoding": {"text": {"field": "count"}, "color": {"condition": dark, "value": LIGHT["ink"]}},
            },
            {
                "mark": {"type": "text", "fontSize": 12, "dy": 9},
                "encoding": {"text": {"field": "words"}, "color": {"condition": dark, "value": LIGHT["ink"]}},
            },
        ],
    }


def calibration_chart(bins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw how often answers of each certainty are right, beside the line on which they would be as right as they claim."""
    values = [{**part, "words": f"{part['count']} faces"} for part in bins if part["count"]]
    percent = {"format": "%"}
    return {
        "height": 320,
        "layer": [
            {
                "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
                "mark": {"type": "line", "strokeDash": [5, 4], "color": _WORDS},
                "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
            },
            {
                "data": {"values": [{"x": 0.3, "y": 0.36, "words": "as right as it claims"}]},
                "mark": {"type": "text", "align": "right", "color": _WORDS, "fontSize": 12},
                "encoding": {
                    "x": {"field": "x", "type": "quantitative"},
                    "y": {"field": "y", "type": "quantitative"},
                    "text": {"field": "words"},
                },
            },
            {
                "data": {"values": values},
                "mark": {"type": "line", "point": {"filled": True, "size": 70}, "strokeWidth": 2.5, "color": _ACCENT},
                "encoding": {
                    "x": {
                        "field": "confidence",
                        "type": "quantitative",
                        "title": "how sure the model says it is",
                        "scale": {"domain": [0, 1]},
                        "axis": percent,
                    },
                    "y": {
                        "field": "accuracy",
                        "type": "quantitative",
                        "title": "how often it is right",
                        "scale": {"domain": [0, 1]},
                        "axis": percent,
                    },
                    "tooltip": [
                        {"field": "confidence", "format": ".1%"},
                        {"field": "accuracy", "format": ".1%"},
                        {"field": "words", "title": "of"},
                    ],
                },
            },
        ],
    }


def frontier(points: Sequence[tuple[float, float]]) -> set[int]:
    """Give the indices of the points (milliseconds, F1) that no other beats in both."""
    return {
        index
        for index, (time, f1) in enumerate(points)
        if not any((t <= time and f > f1) or (t < time and f >= f1) for t, f in points)
    }


def frontier_chart(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw F1 against milliseconds: rows of `report`, `name`, `milliseconds`, `f1`.

    What nothing of the same report beats in both is joined by a line: other machines and pictures have other times. A label for
    which there is no room is left out; the table and the tooltip have them all.
    """
    best: set[int] = set()
    for report in {point["report"] for point in points}:
        own = [index for index, point in enumerate(points) if point["report"] == report]
        best |= {own[index] for index in frontier([(points[index]["milliseconds"], points[index]["f1"]) for index in own])}
    places = _label_places(points)
    values = [
        {
            **point,
            "kind": _EFFICIENT[0 if index in best else 1],
            "short": str(point["name"]).split(" (")[0],
            "place": places[index],
        }
        for index, point in enumerate(points)
    ]
    x = {
        "field": "milliseconds",
        "type": "quantitative",
        "title": "milliseconds a picture (left is faster)",
        "scale": {"domainMin": 0, "nice": True},
    }
    y = {
        "field": "f1",
        "type": "quantitative",
        "title": "F1: found and told apart (up is better)",
        "scale": {"zero": False, "nice": True, "padding": 30},
    }
    return {
        "data": {"values": values},
        "height": 320,
        "layer": [
            {
                "transform": [{"filter": f"datum.kind == '{_EFFICIENT[0]}'"}],
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
                        "scale": {"domain": _EFFICIENT, "range": ["circle", "cross"]},
                        "legend": {"orient": "top", "title": None},
                    },
                    "color": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": _EFFICIENT, "range": [_ACCENT, _SECOND]},
                    },
                    "tooltip": [{"field": "name"}, {"field": "f1"}, {"field": "milliseconds"}, {"field": "report"}],
                },
            },
            *(
                {
                    "transform": [{"filter": f"datum.place == '{align} {side}'"}],
                    "mark": {"type": "text", "align": align, "dy": dy, "fontSize": 13, "fontWeight": 600, "color": _WORDS},
                    "encoding": {"x": x, "y": y, "text": {"field": "short"}},
                }
                for align in ("left", "center", "right")
                for side, dy in _SIDES.items()
            ),
        ],
    }


_SIDES = {"above": -16, "below": 18}
"""Where a label stands, and by how many pixels."""


def _label_places(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tell where the label of each point stands, as in `left above`, so that none covers another; empty for nowhere.

    Sizes are those on a phone, where a label of twelve letters takes a third of the width.
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
    """Draw frames a second with their ranges: rows of `report`, `name`, `rate`, `low`, `high`. Names stand above their bars."""
    values = [
        {**row, "bar": f"{number}", "start": 0, "words": f"{str(row['name']).split(' (')[0]}, {row['report']}: {row['rate']:.1f}"}
        for number, row in enumerate(rows)
    ]
    y = {"field": "bar", "type": "nominal", "sort": None, "axis": None}
    x = {"field": "rate", "type": "quantitative", "title": "frames a second (more is faster)"}
    return {
        "data": {"values": values},
        "height": {"step": 52},
        "layer": [
            {
                "mark": {"type": "bar", "height": 20, "yOffset": 8, "cornerRadiusEnd": 3, "color": _ACCENT},
                "encoding": {
                    "x": x,
                    "y": y,
                    "tooltip": [{"field": "name"}, {"field": "rate"}, {"field": "low"}, {"field": "high"}],
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2, "yOffset": 8, "color": _SECOND},
                "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}, "y": y},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 2, "dy": -13, "fontSize": 13, "fontWeight": 600, "color": _WORDS},
                "encoding": {"x": {"field": "start", "type": "quantitative"}, "y": y, "text": {"field": "words"}},
            },
        ],
    }
