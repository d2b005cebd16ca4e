"""Cascades in OpenCV's file format, evaluated as OpenCV does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskedge.types import Image

from .boosting import MARGIN, Stage
from .features import KINDS, WINDOW, Haar, Integrals, Weak


@dataclass(frozen=True)
class Cascade:
    """A trained cascade.

    Attributes:
        kind: `haar` or `lbp`.
        features: Features of the cascade, see `features.Haar` and `features.Lbp`.
        stages: Stages of the cascade, in order.
    """

    kind: str
    features: tuple[tuple[int, ...], ...]
    stages: tuple[Stage, ...]

    def cut(self, stages: int) -> Cascade:
        """Return the cascade of the first `stages` stages.

        It finds more faces and more false positives.
        """
        kept = self.stages[:stages]
        return Cascade(self.kind, self.features[: sum(len(stage.weaks) for stage in kept)], kept)

    def stages_passed(self, windows: Image) -> npt.NDArray[np.int64]:
        """Count the stages that each window passes, as OpenCV does.

        Args:
            windows: uint8 `[N, 24, 24]`, grey.

        Returns:
            int64 `[N]`; -1 for windows without enough contrast for Haar features.
        """
        integrals = Integrals.of(windows)
        alive = integrals.contrast > 0 if self.kind == "haar" else np.ones(len(windows), np.bool_)
        passed = np.where(alive, 0, -1)
        for stage in self.stages:
            rows = np.flatnonzero(alive)
            own = Integrals(integrals.sums[:, :, rows], integrals.contrast[rows])
            alive[rows] = self._sums(own, stage) >= stage.threshold - MARGIN
            passed[rows] += alive[rows]
        return passed

    def last_sums(self, windows: Image) -> npt.NDArray[np.float64]:
        """Return the sum of the last stage for windows, uint8 `[N, 24, 24]` grey: float64 `[N]`."""
        return self._sums(Integrals.of(windows), self.stages[-1])

    def _sums(self, integrals: Integrals, stage: Stage) -> npt.NDArray[np.float64]:
        kind = KINDS[self.kind]()
        sums = np.zeros(len(integrals.contrast))
        for weak in stage.weaks:
            sums += np.where(kind.goes_left(integrals, self.features[weak.feature], weak), weak.left, weak.right)
        return sums

    def to_xml(self) -> str:
        """Return the cascade in the format of OpenCV 4."""
        lines = ['<?xml version="1.0"?>', "<opencv_storage>", '<cascade type_id="opencv-cascade-classifier">']
        lines += ["<stageType>BOOST</stageType>", f"<featureType>{self.kind.upper()}</featureType>"]
        lines += [f"<height>{WINDOW}</height>", f"<width>{WINDOW}</width>"]
        most = max((len(stage.weaks) for stage in self.stages), default=0)
        lines += ["<stageParams><boostType>GAB</boostType><minHitRate>0.99</minHitRate><maxFalseAlarm>0.4</maxFalseAlarm>"]
        lines += [f"<weightTrimRate>0.95</weightTrimRate><maxDepth>1</maxDepth><maxWeakCount>{most}</maxWeakCount></stageParams>"]
        codes, mode = (256, "") if self.kind == "lbp" else (0, "<mode>BASIC</mode>")
        lines += [f"<featureParams><maxCatCount>{codes}</maxCatCount><featSize>1</featSize>{mode}</featureParams>"]
        lines += [f"<stageNum>{len(self.stages)}</stageNum>", "<stages>"]
        for stage in self.stages:
            lines.append(
                f"<_><maxWeakCount>{len(stage.weaks)}</maxWeakCount><stageThreshold>{stage.threshold:.9g}</stageThreshold>"
            )
            lines.append("<weakClassifiers>")
            for weak in stage.weaks:
                lines.append(f"<_><internalNodes>0 -1 {weak.feature} {_decision(weak)}</internalNodes>")
                lines.append(f"<leafValues>{weak.left:.9g} {weak.right:.9g}</leafValues></_>")
            lines.append("</weakClassifiers></_>")
        lines += ["</stages>", "<features>", *map(self._feature, self.features), "</features>", "</cascade>", "</opencv_storage>"]
        return "\n".join(lines) + "\n"

    def _feature(self, feature: tuple[int, ...]) -> str:
        if self.kind == "lbp":
            return f"<_><rect>{' '.join(map(str, feature))}</rect></_>"
        rects = "".join(f"<_>{' '.join(map(str, rect))} {weight:g}</_>" for rect, weight in Haar.rects(feature))
        return f"<_><rects>{rects}</rects><tilted>0</tilted></_>"


def _decision(weak: Weak) -> str:
    """Return a stump's decision as text: a threshold, or 256 bits in eight signed numbers."""
    if not weak.subset:
        return f"{weak.threshold:.9g}"
    bits = np.packbits(np.array(weak.subset, np.bool_), bitorder="little").view("<i4")
    return " ".join(map(str, bits.tolist()))


def from_json(content: dict[str, object]) -> Cascade:
    """Build a cascade from the result of `to_json`.

    Raises:
        KeyError, TypeError, ValueError: The content is not a cascade.
    """
    stages: Sequence[dict[str, object]] = content["stages"]  # type: ignore[assignment]
    features: Sequence[Sequence[int]] = content["features"]  # type: ignore[assignment]
    return Cascade(
        str(content["kind"]),
        tuple(tuple(map(int, feature)) for feature in features),
        tuple(
            Stage(
                tuple(
                    Weak(int(w["feature"]), w["left"], w["right"], w["threshold"], tuple(bool(bit) for bit in w["subset"]))
                    for w in stage["weaks"]  # type: ignore[attr-defined]
                ),
                float(stage["threshold"]),  # type: ignore[arg-type]
            )
            for stage in stages
        ),
    )


def to_json(cascade: Cascade) -> dict[str, object]:
    """Return a cascade as JSON types, without loss."""
    stages = [
        {
            "threshold": stage.threshold,
            "weaks": [{**vars(weak), "subset": [int(bit) for bit in weak.subset]} for weak in stage.weaks],
        }
        for stage in cascade.stages
    ]
    return {"kind": cascade.kind, "features": [list(feature) for feature in cascade.features], "stages": stages}
