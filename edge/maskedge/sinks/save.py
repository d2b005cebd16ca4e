"""The output of `--save`: an annotated video or annotated pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from maskedge.errors import OutputError
from maskedge.sources import Source
from maskedge.support.files import is_folder
from maskedge.support.outputs import is_taken, put_aside
from maskedge.support.text import displayable

from .base import Sink, SinkContext, check_writable
from .images import ImageSink
from .output_settings import OutputConfig
from .video import VideoSink

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class SaveSink(Sink):
    """The output of `[output] save`. `open` returns a `VideoSink` or an `ImageSink`."""

    name = "save"
    section = "output"
    settings_class = OutputConfig

    @classmethod
    def is_wanted(cls, settings: OutputConfig) -> bool:
        """Return True if `save` is set."""
        return bool(settings.save)

    @classmethod
    def open(cls, settings: OutputConfig, context: SinkContext) -> Sink | None:
        """Open the output that matches the source and the name."""
        source, target = context.source, settings.save or ""
        if source.live and not settings.overwrite:
            kept = keep_earlier_video(target)
            if kept is not None:
                context.warnings.append(kept)
        return open_picture_output(target, video=source.video, fps=source.fps, length=source.length, sources=source_paths(source))


def source_paths(source: Source) -> list[Path]:
    """Return the files of a source of pictures, or an empty list for another source."""
    return list(getattr(source, "paths", []))


def keep_earlier_video(target: str) -> str | None:
    """Rename the video of an earlier run, so that a restart of a service does not overwrite it.

    Returns:
        A message for the user if a file was renamed.

    Raises:
        OutputError: The file cannot be renamed.
    """
    path = Path(target).expanduser()
    if not is_taken(path):
        return None
    try:
        return f"{displayable(path)} exists already and is kept as {displayable(put_aside(path).name)} (--overwrite replaces it)."
    except OSError as error:
        raise OutputError(f"{displayable(path)} exists already and cannot be put aside ({error.strerror}).") from error


def open_picture_output(target: str, *, video: bool, fps: float, length: int | None, sources: Iterable[Path] = ()) -> Sink:
    """Open the sink for `--save`.

    Args:
        target: A video file. For sources of pictures, also an existing folder, or a picture file if
            there is exactly one picture.
        video: True if the source is a video.
        fps: Frames per second of the source.
        length: Number of frames of the source; None if unknown.
        sources: The pictures of the source. The files in a folder are named after them.

    Raises:
        OutputError: The output cannot be written.
    """
    path = Path(target).expanduser()
    if not video and is_folder(path):
        check_writable(path / ".maskedge")
        return ImageSink(path, single=False, sources=sources)
    suffix = path.suffix.lower()
    if suffix in _PICTURES and not video:
        if length != 1:
            raise OutputError(
                f"{path} is one picture and the source has {length}: give a folder that exists, or a video file (.mp4)."
            )
        check_writable(path)
        return ImageSink(path, single=True)
    if not video and (not suffix or target.endswith("/")):
        raise OutputError(f"the folder {path} does not exist: create it (mkdir -p {path}), or name a video file (.mp4).")
    return VideoSink(path, fps)
