"""Annotate a whole video as an MP4 file, events, people, and pictures for the player."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from maskedge.errors import OutputError, SourceError
from maskedge.events import FACE_APPEARED
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.runtime.context import RunContext, StopRequest
from maskedge.runtime.loop import run
from maskedge.runtime.summary import Summary
from maskedge.sinks.base import Sink
from maskedge.sinks.events import EventSink
from maskedge.sinks.video import VideoSink
from maskedge.sources import DemoSource, Source, VideoFileSource
from maskedge.vision.pipeline import MaskDetector

from .results import DisplayOptions
from .uploads import private_file, storage_error

MAX_FRAMES = 9_000
"""Maximum number of processed frames of a video: five minutes at 30 frames/s."""
MAX_STILLS = 150
"""Maximum number of pictures of a video for the player."""
_STILL_SIDE = 640


@dataclass
class Stills(Sink):
    """A sink that keeps a bounded number of small pictures, spread evenly over the video.

    Attributes:
        pictures: JPEG files.
        indices: Frame index of each picture.
        moments: Time of each picture in the video, in seconds.
    """

    name: str = "stills"
    pictures: list[bytes] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    stride: int = 1

    def write(self, result: FrameResult) -> bool:
        """Keep every `stride`-th frame; drop every second picture when there are too many."""
        if result.frame.index % self.stride == 0:
            self.pictures.append(encode_jpeg(result.picture, 80, longest_side=_STILL_SIDE))
            self.indices.append(result.frame.index)
            self.moments.append(result.frame.moment)
            if len(self.pictures) > MAX_STILLS:
                self.stride *= 2
                self.pictures, self.indices, self.moments = self.pictures[::2], self.indices[::2], self.moments[::2]
        return True

    def close(self) -> None:
        """Do nothing."""


@dataclass
class VideoStatistics(Sink):
    """A sink that counts people by their latest label and faces by second.

    Attributes:
        seconds: For each second of the video, faces by label summed over its frames, and under `""`
            the number of frames.
        last: Time of the latest frame in seconds.
        tracks: Latest label of each track.
        persons: Tracks that count as people.
    """

    name: str = "statistics"
    seconds: dict[int, Counter[str]] = field(default_factory=dict)
    last: float = 0.0
    tracks: dict[int, str] = field(default_factory=dict)
    persons: set[int] = field(default_factory=set)

    def write(self, result: FrameResult) -> bool:
        """Count the faces of a frame."""
        moment = result.frame.moment
        # The small offset compensates for rounded timestamps.
        second = self.seconds.setdefault(int(moment + 1e-6), Counter())
        second[""] += 1
        self.last = moment
        for face in result.located:
            second[face.label] += 1
            if face.track is not None:
                self.tracks[face.track] = face.label
        self.persons |= {event.details["track"] for event in result.events if event.kind == FACE_APPEARED}
        return True

    def close(self) -> None:
        """Do nothing."""

    def people(self) -> Counter[str]:
        """Return the number of distinct people by latest label."""
        return Counter(label for track, label in self.tracks.items() if track in self.persons)

    def timeline(self) -> list[dict[str, float | str]]:
        """Return the mean number of faces of each label in each second."""
        labels = sorted({label for counts in self.seconds.values() for label in counts if label})
        return [
            {"second": second, "label": label, "faces": round(counts[label] / counts[""], 2)}
            for second, counts in sorted(self.seconds.items())
            for label in labels
        ]


@dataclass
class _WithOptions(Sink):
    """A sink that passes results to other sinks with the display options applied."""

    options: DisplayOptions
    sinks: tuple[Sink, ...]
    name: str = "outputs"

    def write(self, result: FrameResult) -> bool:
        adjusted = self.options.apply(result)
        go_on = True
        for sink in self.sinks:
            go_on &= sink.write(adjusted)
        return go_on

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()


@dataclass(frozen=True)
class AnnotatedVideo:
    """An annotated video.

    Attributes:
        name: Name of the user's file.
        summary: The figures of the run.
        people: Distinct people by label.
        timeline: See `VideoStatistics.timeline`.
        length: Seconds from the beginning of the video to its last frame.
        stills: JPEG pictures for the player, and the time of each picture in the video, in seconds.
        content: The annotated video, an MP4 file.
        events: JSON Lines (docs/contracts.md).
        notes: Notes for the user, a sentence each.
    """

    name: str
    summary: Summary
    length: float
    people: Counter[str]
    timeline: list[dict[str, float | str]]
    stills: tuple[list[bytes], list[float]]
    content: bytes
    events: bytes
    notes: list[str]


def annotate_video(
    name: str,
    content: bytes | None,
    detector: MaskDetector,
    options: DisplayOptions,
    *,
    stop: StopRequest | None = None,
    progress: Callable[[Summary, int | None, Stills], None] = lambda *_: None,
) -> AnnotatedVideo:
    """Annotate every frame of a video.

    Temporary files lie in a private folder that is removed when this returns or raises.

    Args:
        name: Name of the user's file.
        content: The file; None for the built-in clip.
        detector: The detector to use; tracking is started on it.
        options: The visitor's display options.
        stop: Ends the run after the current frame once its signal is set.
        progress: Called after each frame with the summary so far, the number of frames (None if
            unknown), and the stills.

    Raises:
        SourceError: The video cannot be read.
        OutputError: The annotated video cannot be written.
    """
    with private_file(name, content or b"") as path:
        source: Source = DemoSource() if content is None else _open(path, name)
        detector.start_tracking()
        frames = min(source.length, MAX_FRAMES) if source.length is not None else None
        video, events = path.with_name("annotated.mp4"), path.with_name("events.jsonl")
        stills, statistics = Stills(), VideoStatistics()
        try:
            outputs = _WithOptions(options, (VideoSink(video, source.fps), EventSink(str(events)), stills, statistics))
        except BaseException:
            source.close()
            raise
        run_result = run(
            source,
            detector,
            [outputs],
            max_frames=MAX_FRAMES,
            stop=stop,
            context=RunContext(anonymize=options.hide_faces),
            progress=lambda summary: progress(summary, frames, stills),
        )
        if isinstance(run_result.failure, OutputError):
            # Nothing is kept, and the visitor chooses no output: the remedies of the message do not apply.
            cause = run_result.failure.__cause__
            reason = str(cause.strerror) if isinstance(cause, OSError) else "the file is incomplete"
            raise storage_error(f"The annotated video of {name}", reason) from run_result.failure
        if run_result.failure is not None:
            raise run_result.failure
        notes = [*source.warnings, *([detector.notice] if detector.notice else [])]
        if run_result.summary.frames == MAX_FRAMES and source.length != MAX_FRAMES:
            notes.append(
                f"Only the first {MAX_FRAMES:,} frames were processed, the limit of this page. Use edge-run for longer videos."
            )
        if stop is not None and stop.signal is not None:
            notes.append(f"Stopped after {run_result.summary.frames:,} frames; the results up to there are shown.")
        return AnnotatedVideo(
            name,
            run_result.summary,
            statistics.last,
            statistics.people(),
            statistics.timeline(),
            (stills.pictures, stills.moments),
            video.read_bytes(),
            events.read_bytes(),
            notes,
        )


def _open(path: Path, name: str) -> VideoFileSource:
    try:
        source = VideoFileSource(path)
    except SourceError as error:
        # The message names the user's file, not the private copy.
        raise SourceError(str(error).replace(str(path), name)) from error
    source.name = name
    return source
