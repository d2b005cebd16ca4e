"""The charts of a training report, as PNG files.

Colour is never the only signal: every line and cell has a label or a dash pattern.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torchmetrics.functional.classification import binary_precision_recall_curve, binary_roc

from maskedge.rendering.draw import COLOURS, OTHER_COLOUR
from maskedge.rendering.theme import LIGHT
from maskedge_train.classifier.metrics import BINS, Predictions, calibration_bins, calibration_error, probabilities

_Line: TypeAlias = npt.NDArray[np.float32]
_INK, _SOFT, _GRID, _ACCENT = LIGHT["ink"], LIGHT["soft"], LIGHT["line"], LIGHT["accent"]
_MORE = (_ACCENT, "#b3541e", "#6a51a3", "#1b7f5c")
_Dashes: TypeAlias = str | tuple[float, tuple[float, ...]]
_DASHES: tuple[_Dashes, ...] = ("-", (0, (6, 2)), (0, (6, 2, 1.5, 2)), (0, (1.5, 1.5)))
_WIDTH = 6.4
"""Width of a panel in inches. At 120 dots per inch it fills half of the page."""


def confusion_chart(figures: Mapping[str, Any]) -> bytes:
    """Draw the confusion matrix of `metrics.measure`: crops and their share of the row."""
    labels = [_label_text(label) for label in figures["labels"]]
    counts = np.array(figures["confusion"], np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(_WIDTH, 1.6 + 0.95 * len(labels))
    axes = _axes(figure, f"Confusion matrix: {figures['name']}", "Prediction", "Truth")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for edge in np.arange(1, len(labels)) - 0.5:
        axes.axhline(edge, color="white", linewidth=2)
        axes.axvline(edge, color="white", linewidth=2)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), [f"{label}\n({count})" for label, count in zip(labels, counts.sum(axis=1), strict=True)])
    axes.tick_params(length=0)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        ink = "white" if share > 0.55 else _INK if count else _SOFT
        words = f"{count}\n{_percent(share)}" if count else "0"
        weight = "bold" if row == column and count else "normal"
        axes.text(column, row, words, ha="center", va="center", color=ink, fontsize=11, fontweight=weight, linespacing=1.3)
    return _png(figure)


def roc_chart(predictions: Predictions, temperature: float) -> bytes:
    """Draw the ROC curve of each label against the rest, and an enlarged corner.

    Labels that all crops or no crop has are left out.
    """

    def curve(scores: torch.Tensor, truth: torch.Tensor) -> tuple[_Line, _Line]:
        false_positives, true_positives, _ = binary_roc(scores, truth)
        return false_positives.numpy(), true_positives.numpy()

    figure, whole, close = _curves_figure(
        f"ROC: {predictions.name}", "False positive rate", "True positive rate (recall)", (0, 0.9)
    )
    whole.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=(0, (2, 3)))
    whole.text(0.53, 0.5, "Chance", va="top", color=_SOFT, fontsize=9)
    _draw_curves(figure, (whole, close), _one_against_rest(predictions, temperature, curve), "default")
    return _png(figure)


def precision_recall_chart(predictions: Predictions, temperature: float) -> bytes:
    """Draw the precision-recall curve of each label against the rest, and an enlarged corner.

    Labels that all crops or no crop has are left out.
    """

    def curve(scores: torch.Tensor, truth: torch.Tensor) -> tuple[_Line, _Line]:
        precision, recall, _ = binary_precision_recall_curve(scores, truth)
        return recall.numpy(), precision.numpy()

    figure, *panels = _curves_figure(f"Precision and recall: {predictions.name}", "Recall", "Precision", (0.9, 0.9))
    # Draw steps. Between two measured recalls, only the precision of the lower recall is reached.
    # The curve runs from high recall to low recall.
    _draw_curves(figure, panels, _one_against_rest(predictions, temperature, curve), "steps-post")
    return _png(figure)


def reliability_chart(predictions: Predictions, temperature: float) -> bytes:
    """Draw accuracy by confidence before and after the temperature, above a histogram."""
    figure = _figure(2 * _WIDTH - 1.6, 5.6)
    figure.suptitle(f"Calibration: {predictions.name}", fontsize=13, color=_INK, x=0.01, ha="left")
    panels = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    parts = (("Before", 1.0, _SOFT), (f"After, temperature {temperature:.2f}", temperature, _ACCENT))
    for column, (words, divisor, colour) in enumerate(parts):
        probs = probabilities(predictions.logits, divisor)
        bins = calibration_bins(probs, predictions.targets)
        upper, lower = panels[0, column], panels[1, column]
        title = f"{words}: calibration error {calibration_error(probs, predictions.targets):.3f}"
        _style_axes(upper, title, "", "" if column else "Accuracy")
        _style_axes(lower, "", "Confidence (top probability)", "" if column else "Predictions")
        left, filled = np.arange(BINS) / BINS, [index for index, part in enumerate(bins) if part["count"]]
        upper.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle=(0, (4, 3)))
        upper.text(0.04, 0.1, "Perfect", rotation=34, color=_INK, fontsize=9)
        confidence, accuracy = ([bins[index][key] for index in filled] for key in ("confidence", "accuracy"))
        upper.bar(left[filled], accuracy, 0.92 / BINS, align="edge", color=colour, alpha=0.35)
        upper.plot(confidence, accuracy, marker="o", markersize=4.5, linewidth=1.4, color=colour, clip_on=False)
        lower.bar(left, [part["count"] for part in bins], 0.92 / BINS, align="edge", color=colour, alpha=0.6)
        upper.set(xlim=(0, 1), ylim=(0, 1.02))
        # Nearly all predictions of a good network are in the last bin. A linear scale would hide
        # the other bins.
        lower.set_yscale("symlog", linthresh=1)
        lower.yaxis.set_major_formatter("{x:g}")
    return _png(figure)


def learning_curves(history: Sequence[Mapping[str, float]]) -> bytes:
    """Draw losses and validation metrics by epoch.

    Args:
        history: For each epoch, `epoch` and any of `train_loss`, `val_loss`, `val_macro_f1` and
            other `val_` metrics from 0 to 1. Missing and non-finite values are left out.
    """
    names = list(dict.fromkeys(name for row in history for name in row if name.startswith(("train_", "val_"))))
    panels = [[name for name in names if "loss" in name], [name for name in names if "loss" not in name]]
    figure = _figure(2 * _WIDTH - 1.6, 4.4)
    for axes, own, title in zip(figure.subplots(1, 2), panels, ("Loss", "Validation metrics"), strict=True):
        _style_axes(axes, title, "Epoch", "")
        for index, name in enumerate(own):
            colour = _SOFT if name.startswith("train_") else _MORE[index % len(_MORE)]
            _learning_curve(axes, history, name, colour, _DASHES[index % len(_DASHES)])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if axes.lines:
            axes.legend(loc="best", frameon=False, fontsize=10, handlelength=3.2, labelcolor=_INK)
        else:
            axes.text(0.5, 0.5, "Not recorded", ha="center", va="center", transform=axes.transAxes, color=_SOFT)
    return _png(figure)


def _learning_curve(axes: Axes, history: Sequence[Mapping[str, float]], name: str, colour: str, dashes: _Dashes) -> None:
    points = [(row.get("epoch", index), row[name]) for index, row in enumerate(history) if math.isfinite(row.get(name, math.nan))]
    if points:
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, color=colour, linestyle=dashes, linewidth=1.8, marker="o", markersize=3, label=_label_text(name))


def _one_against_rest(
    predictions: Predictions, temperature: float, curve: Callable[[torch.Tensor, torch.Tensor], tuple[_Line, _Line]]
) -> dict[str, tuple[_Line, _Line]]:
    probs = torch.from_numpy(probabilities(predictions.logits, temperature))
    truth = torch.from_numpy(predictions.targets)
    counts = [int((truth == index).sum()) for index in range(len(predictions.labels))]
    return {
        label: curve(probs[:, index], (truth == index).long())
        for index, label in enumerate(predictions.labels)
        if 0 < counts[index] < len(truth)
    }


def _curves_figure(title: str, across: str, up: str, corner: tuple[float, float]) -> tuple[Figure, Axes, Axes]:
    """Return a figure with a panel of whole curves and one of the tenth that starts at `corner`.

    The curves of good networks crowd in this corner.
    """
    figure = _figure(2 * _WIDTH - 1.6, 5.6)
    figure.suptitle(title, fontsize=13, color=_INK, x=0.01, ha="left")
    whole, close = figure.subplots(1, 2)
    _style_axes(whole, "Whole range", across, up)
    _style_axes(close, "Best corner, enlarged tenfold", across, up)
    whole.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    close.set(xlim=(corner[0] - 0.001, corner[0] + 0.101), ylim=(corner[1] - 0.001, corner[1] + 0.101))
    return figure, whole, close


def _draw_curves(
    figure: Figure,
    panels: Sequence[Axes],
    lines: Mapping[str, tuple[_Line, _Line]],
    steps: Literal["default", "steps-post"],
) -> None:
    """Draw one labelled line per label in each of `panels`."""
    for panel in panels:
        for index, (label, (across, up)) in enumerate(lines.items()):
            colour, dashes = label_colour(label), _DASHES[index % len(_DASHES)]
            panel.plot(across, up, color=colour, linestyle=dashes, linewidth=2.2, drawstyle=steps, label=_label_text(label))
        if not lines:
            panel.text(0.05, 0.9, "No curve: all crops have one label", transform=panel.transAxes, color=_SOFT)
    if lines:
        handles, names = panels[0].get_legend_handles_labels()
        legend = figure.legend(handles, names, loc="outside lower center", ncols=len(names), handlelength=4, frameon=False)
        for words in legend.get_texts():
            words.set(color=_INK, fontsize=11)


def label_colour(label: str) -> tuple[float, float, float]:
    """Return the overlay's colour of `label` as red, green and blue from 0 to 1."""
    blue, green, red = COLOURS.get(label, OTHER_COLOUR)
    return red / 255, green / 255, blue / 255


def _label_text(name: str) -> str:
    return name.replace("_", " ")


def _percent(share: float) -> str:
    """Return a share in percent. Only shares of exactly 0 and 1 become 0 % and 100 %."""
    return f"{100 * share:.{0 if share in (0, 1) else 1}f} %"


def _figure(width: float, height: float) -> Figure:
    """Return a white figure of `width` x `height` inches, without global state."""
    figure = Figure((width, height), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, title: str, across: str, up: str) -> Axes:
    axes = figure.subplots()
    _style_axes(axes, title, across, up)
    return axes


def _style_axes(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=12, color=_INK, loc="left")
    axes.set_xlabel(across, fontsize=11, color=_INK)
    axes.set_ylabel(up, fontsize=11, color=_INK)
    axes.tick_params(colors=_INK, labelsize=10)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_SOFT)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    # Without the version of matplotlib, the same figures give the same file.
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
