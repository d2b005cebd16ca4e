"""An annotated video."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from maskedge.errors import OutputError
from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.sinks.recording.writer import CODECS, open_film
from maskedge.support.files import is_folder

from .base import Sink, check_writable
from .images import ImageSink

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def open_picture_output(target: str, *, video: bool, fps: float, length: int | None, sources: Iterable[Path] = ()) -> Sink:
    """Choose the sink for `--save`.

    Args:
        target: A video file; for picture sources also a folder that exists, or a picture file when there is one picture.
        video: True when the source is a video.
        fps: Frames a second of the source.
        length: Frames of the source, None when not known.
        sources: The pictures of the source, which give the files in a folder their names.

    Raises:
        OutputError: It cannot be written.
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


class VideoSink:
    """Writes frames with the overlay to a video file, each at its time (`Frame.moment`).

    See `maskedge.sinks.recording.writer.open_film`.

    Args:
        path: The file; its suffix chooses the container.
        fps: About how many frames come in a second.

    Raises:
        OutputError: The file cannot be written.
    """

    name = "save"

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise OutputError(f"{path} is no video that can be written: use one of {', '.join(CODECS)}.")
        check_writable(path)
        self._film = open_film(path, fps)

    def write(self, answer: FrameResult) -> bool:
        """Write one frame."""
        self._film.write(answer.picture, answer.frame.moment)
        return True

    def handle_event(self, event: Event) -> None:
        """Nothing: a video shows frames."""

    def close(self) -> None:
        """Complete the file."""
        self._film.close()
