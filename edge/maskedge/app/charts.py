"""The charts of the page, as Vega-Lite. Every line, point and cell also has words or a form of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .words import colour_of, in_order, name_of, symbol_of

_DASHES = [[1, 0], [7, 3], [2, 2], [7, 3, 2, 3]]


def timeline_chart(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw the faces of each second: rows of `second`, `label`, `faces`."""
    labels = in_order(row["label"] for row in rows)
    names = [f"{symbol_of(label)} {name_of(label)}" for label in labels]
    values = [{**row, "answer": f"{symbol_of(row['label'])} {name_of(row['label'])}"} for row in rows]
    return {
        "data": {"values": values},
        "height": 220,
        "mark": {"type": "line", "point": True, "strokeWidth": 2.5, "interpolate": "monotone"},
        "encoding": {
            "x": {"field": "second", "type": "quantitative", "title": "second of the video", "axis": {"tickMinStep": 1}},
            "y": {"field": "faces", "type": "quantitative", "title": "faces at a time"},
            "color": {
                "field": "answer",
                "type": "nominal",
                "scale": {"domain": names, "range": [colour_of(label) for label in labels]},
                "legend": {"orient": "top", "title": None},
            },
            "strokeDash": {"field": "answer", "type": "nominal", "scale": {"domain": names, "range": _DASHES}, "legend": None},
            "tooltip": [{"field": "second"}, {"field": "answer"}, {"field": "faces"}],
        },
    }
