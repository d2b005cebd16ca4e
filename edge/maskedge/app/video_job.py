"""A video from the first frame to the last: annotated file, events, people, and what the page shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from maskedge.errors import SourceError
from maskedge.events import FACE_APPEARED
from maskedge.results import FrameResult
from maskedge.runtime.context import RunContext, StopRequest
from maskedge.runtime.loop import run
from maskedge.runtime.summary import Summary
from maskedge.sinks.base import Sink
from maskedge.sinks.events import EventSink
from maskedge.sinks.video import VideoSink
from maskedge.sources import DemoSource, Source, VideoFileSource
from maskedge.vision.pipeline import MaskDetector

from .results import Choice, as_jpeg
from .uploads import private_file

MAX_FRAMES = 9_000
"""Frames of a video that are answered: five minutes at 30 frames a second."""
MAX_STILLS = 150
"""Pictures of the video that the page keeps for its player."""
_STILL_SIDE = 640


@dataclass
class Stills(Sink):
    """A sink that keeps small pictures of a video, spread evenly over it, however long it gets.

    Attributes:
        pictures: JPEG files.
        indices: The frame of each.
        moments: The time of each in the film, in seconds.
    """

    name: str = "stills"
    pictures: list[bytes] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    stride: int = 1

    def write(self, answer: FrameResult) -> bool:
        """Keep the frame, when its turn has come."""
        if answer.frame.index % self.stride == 0:
            self.pictures.append(as_jpeg(answer.picture, _STILL_SIDE, 80))
            self.indices.append(answer.frame.index)
            self.moments.append(answer.frame.moment)
            if len(self.pictures) > MAX_STILLS:
                self.stride *= 2
                self.pictures, self.indices, self.moments = self.pictures[::2], self.indices[::2], self.moments[::2]
        return True

    def close(self) -> None:
        """Nothing is left to complete."""


@dataclass
class VideoStatistics(Sink):
    """A sink that counts: the people by their last label, and the faces of every second.

    Attributes:
        seconds: For each second of the video, faces by label (summed over its frames), and under `""` its frames.
        last: The time of the newest frame, in seconds.
        tracks: For each track its last label.
        persons: The tracks that count as people.
    """

    name: str = "tally"
    seconds: dict[int, Counter[str]] = field(default_factory=dict)
    last: float = 0.0
    tracks: dict[int, str] = field(default_factory=dict)
    persons: set[int] = field(default_factory=set)

    def write(self, answer: FrameResult) -> bool:
        """Count the faces of a frame."""
        moment = answer.frame.moment
        # A little later: a time in the film is rounded.
        second = self.seconds.setdefault(int(moment + 1e-6), Counter())
        second[""] += 1
        self.last = moment
        for face in answer.located:
            second[face.label] += 1
            if face.track is not None:
                self.tracks[face.track] = face.label
        self.persons |= {event.details["track"] for event in answer.events if event.kind == FACE_APPEARED}
        return True

    def close(self) -> None:
        """Nothing is left to complete."""

    def people(self) -> Counter[str]:
        """Count distinct people by their last label."""
        return Counter(label for track, label in self.tracks.items() if track in self.persons)

    def timeline(self) -> list[dict[str, float | str]]:
        """Give the mean number of faces of each label in each second."""
        labels = sorted({label for counts in self.seconds.values() for label in counts if label})
        return [
            {"second": second, "label": label, "faces": round(counts[label] / counts[""], 2)}
            for second, counts in sorted(self.seconds.items())
            for label in labels
        ]


@dataclass
class _Chosen(Sink):
    """Gives other sinks the answers as the user wants them."""

    choice: Choice
    sinks: tuple[Sink, ...]
    name: str = "outputs"

    def write(self, answer: FrameResult) -> bool:
        adjusted = self.choice.adjust(answer)
        go_on = True
        for sink in self.sinks:
            go_on &= sink.write(adjusted)
        return go_on

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()


@dataclass(frozen=True)
class AnnotatedVideo:
    """A video that was answered.

    Attributes:
        name: What the user's file is called.
        summary: What the run did.
        people: Distinct people by label.
        timeline: See `VideoStatistics.timeline`.
        length: Seconds from its beginning to its last frame.
        stills: JPEG pictures for the player, and the time of each in the film, in seconds.
        video: The annotated video, an MP4 file.
        events: JSON Lines (docs/contracts.md).
        notes: What the user should know, a sentence each.
    """

    name: str
    summary: Summary
    length: float
    people: Counter[str]
    timeline: list[dict[str, float | str]]
    stills: tuple[list[bytes], list[float]]
    video: bytes
    events: bytes
    notes: list[str]


def annotate_video(
    name: str,
    content: bytes | None,
    detector: MaskDetector,
    choice: Choice,
    *,
    stop: StopRequest | None = None,
    progress: Callable[[Summary, int | None, Stills], None] = lambda *_: None,
) -> AnnotatedVideo:
    """Answer every frame of a video. What needs a file lies in a private folder that is gone when this returns, however it ends.

    Args:
        name: What the user's file is called.
        content: The file; None for the built-in clip.
        detector: Gives the answers; it follows faces from here on.
        choice: What the user chose.
        stop: Ends the work after the current frame when its signal is set.
        progress: Called after each frame with the counts so far, the number of frames, and the pictures so far.

    Raises:
        SourceError: It is no video that can be read.
        OutputError: The annotated video cannot be written.
    """
    with private_file(name, content or b"") as path:
        source: Source = DemoSource() if content is None else _open(path, name)
        detector.start_tracking()
        length = min(source.length, MAX_FRAMES) if source.length is not None else None
        video, events = path.with_name("annotated.mp4"), path.with_name("events.jsonl")
        stills, tally = Stills(), VideoStatistics()
        try:
            outputs = _Chosen(choice, (VideoSink(video, source.fps), EventSink(str(events)), stills, tally))
        except BaseException:
            source.close()
            raise
        outcome = run(
            source,
            detector,
            [outputs],
            max_frames=MAX_FRAMES,
            stop=stop,
            context=RunContext(anonymize=choice.hide),
            progress=lambda summary: progress(summary, length, stills),
        )
        if outcome.failure is not None:
            raise outcome.failure
        notes = list(source.warnings)
        if outcome.summary.frames == MAX_FRAMES and source.length != MAX_FRAMES:
            notes.append(
                f"The first {MAX_FRAMES:,} frames were looked at, the most that this page does; edge-run has no such bound."
            )
        if stop is not None and stop.signal is not None:
            notes.append(f"Stopped after {outcome.summary.frames:,} frames: what was done until then is here.")
        return AnnotatedVideo(
            name,
            outcome.summary,
            tally.last,
            tally.people(),
            tally.timeline(),
            (stills.pictures, stills.moments),
            video.read_bytes(),
            events.read_bytes(),
            notes,
        )


def _open(path: Path, name: str) -> VideoFileSource:
    try:
        source = VideoFileSource(path)
    except SourceError as error:
        # The private file is gone when this is read: it is called what the user calls it.
        raise SourceError(str(error).replace(str(path), name)) from error
    source.name = name
    return source
