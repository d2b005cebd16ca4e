"""An annotated video file."""

from __future__ import annotations

from pathlib import Path

from maskedge.errors import OutputError
from maskedge.results import FrameResult
from maskedge.sinks.recording.writer import CODECS, open_video_file

from .base import Sink, check_writable


class VideoSink(Sink):
    """Writes frames with overlay to a video file, each at its time (`Frame.moment`).

    See `maskedge.sinks.recording.writer.open_video_file`.

    Args:
        path: The file. Its suffix selects the container.
        fps: Approximate number of frames per second.

    Raises:
        OutputError: The file cannot be written.
    """

    name = "save"

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise OutputError(f"{path} does not name a video that can be written: use one of {', '.join(CODECS)}.")
        check_writable(path)
        self._file = open_video_file(path, fps)

    def write(self, result: FrameResult) -> bool:
        """Write one frame."""
        self._file.write(result.picture, result.frame.moment)
        return True

    def close(self) -> None:
        """Complete the file."""
        self._file.close()
