"""The summary of a run, printed at the end of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from maskedge.counts import count_labels
from maskedge.types import Face


@dataclass
class Summary:
    """Counts and timing of a run.

    Attributes:
        source: Display name of the source.
        video: True for a video. Its frames are tracked so that people can be counted.
        frames: Number of processed frames.
        dropped: Number of frames of a live source that were replaced by newer frames.
        skipped: Number of pictures that could not be read.
        reconnects: Number of times a live source was opened again after a loss.
        seconds: Wall time of the loop.
        faces: Number of faces, by label.
        people: Number of distinct people by their last label, in the order of the model's labels.
        camera: Name of the camera; empty if it has none.
        latency: p50 and p95 in milliseconds, by stage.
    """

    source: str
    video: bool
    frames: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnects: int = 0
    seconds: float = 0.0
    faces: Counter[str] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    camera: str = ""
    latency: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, faces: Sequence[Face]) -> None:
        """Count the faces of a frame."""
        self.frames += 1
        self.faces.update(count_labels(faces))

    def following(self, earlier: Summary) -> Summary:
        """Return the counts of an earlier run of the camera and of this one together, with the timing of this one."""
        together = replace(self, faces=self.faces.copy(), people=self.people.copy())
        # `update` keeps labels that nobody has, and the addition of counters does not.
        together.faces.update(earlier.faces)
        together.people.update(earlier.people)
        for name in ("frames", "dropped", "skipped", "reconnects", "seconds"):
            setattr(together, name, getattr(self, name) + getattr(earlier, name))
        return together

    def lines(self) -> list[str]:
        """Return the summary as lines for a terminal."""
        what = "frame" if self.video else "picture"
        rate = self.frames / self.seconds if self.seconds else 0.0
        name = f"{self.camera} ({self.source})" if self.camera else self.source
        head = f"{name}: {_count(self.frames, what)} in {self.seconds:.1f} s, {rate:.1f} {what}s/s"
        if self.dropped:
            head += f", {self.dropped} dropped (replaced by newer frames)"
        if self.reconnects:
            head += f", lost and opened again {self.reconnects} x"
        if self.skipped:
            head += f", {self.skipped} skipped"
        lines = [head]
        faces = _count(sum(self.faces.values()), "face")
        if self.video:
            lines.append(f"faces: {sum(self.faces.values())} in all; distinct people: {_by_label(self.people)}")
        else:
            lines.append(f"{faces}: {_by_label(dict(sorted(self.faces.items())))}")
        if self.latency:
            lines.append(f"{'milliseconds':14}{'p50':>8}{'p95':>8}")
            lines += [f"  {stage:12}{p50:8.2f}{p95:8.2f}" for stage, (p50, p95) in self.latency.items()]
        return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _by_label(counts: Mapping[str, int]) -> str:
    if not counts:
        return "none"
    return ", ".join(f"{number} {label}" for label, number in counts.items()) + f" ({sum(counts.values())} in all)"
