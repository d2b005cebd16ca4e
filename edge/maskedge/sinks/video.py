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

    Attributes:
        failed: True if the newest frame could not be written, or the file could not be completed.

    Raises:
        OutputError: The file cannot be written.
    """

    name = "save"

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise OutputError(f"{path} does not name a video that can be written: use one of {', '.join(CODECS)}.")
        check_writable(path)
        self.failed = False
        self._file = open_video_file(path, fps)

    @property
    def kept(self) -> int:
        """Number of frames that are in the file."""
        return self._file.kept

    def write(self, result: FrameResult) -> bool:
        """Write one frame."""
        self.failed = True
        self._file.write(result.picture, result.frame.moment)
        self.failed = False
        return True

    def close(self) -> None:
        """Complete the file."""
        try:
            self._file.close()
        except OutputError:
            self.failed = True
            raise
