"""Settings of a source. They form the section `[source]` of edge.toml."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from maskedge.errors import UsageError
from maskedge.settings import Range, check_settings
from maskedge.support.files import MAX_SECRET_BYTES, read_regular

_LONGEST = 4096
"""Maximum length of an address in a file, in characters."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """The URI of a source, the requested mode of a camera, and the handling of a loss.

    Times are in seconds.

    Raises:
        UsageError: A value is invalid.
    """

    uri: str | None = field(
        default=None,
        metadata={
            "help": "demo, file, folder, glob, camera number, rtsp:// http:// tcp:// udp:// csi://0 picamera2://0 gst:PIPELINE",
            "free": True,
        },
    )
    uri_file: Path | None = field(
        default=None, metadata={"help": "file whose first line is the uri, which keeps a password out of the process list"}
    )
    camera: str | None = field(default=None, metadata={"help": "camera to use instead of uri: its number or device (/dev/video0)"})
    width: int | None = field(
        default=None, metadata={"help": "width to request from the camera, in pixels", "range": Range(1, 16384)}
    )
    height: int | None = field(
        default=None, metadata={"help": "height to request from the camera, in pixels", "range": Range(1, 16384)}
    )
    fps: float | None = field(
        default=None,
        metadata={"help": "frame rate to request from the camera, or to play a file at (live)", "range": Range(0.01, 1000)},
    )
    fourcc: str | None = field(default=None, metadata={"help": "pixel format to request from the camera: MJPG, YUYV"})
    stall_timeout: float = field(
        default=5.0,
        metadata={
            "help": "seconds without a frame after which the source is lost; "
            "with 0, a network stream or a V4L2 camera is lost after about 30 seconds without data",
            "range": Range(0, 86400),
        },
    )
    frozen_timeout: float | None = field(
        default=None,
        metadata={
            "help": "seconds with an unchanged picture after which the source is lost; 0 for no limit (default: stall_timeout)",
            "range": Range(0, 86400),
        },
    )
    open_timeout: float = field(
        default=10.0, metadata={"help": "seconds to wait while a source is opened", "range": Range(0.01, 3600)}
    )
    max_retries: int | None = field(
        default=None,
        metadata={
            "help": "consecutive failed attempts after which a lost source is given up (default: never)",
            "range": Range(0, 1_000_000),
        },
    )
    backoff_min: float = field(
        default=0.5,
        metadata={"help": "seconds before the first attempt to open a lost source again", "range": Range(0.001, 3600)},
    )
    backoff_max: float = field(
        default=30.0,
        metadata={
            "help": "maximum wait in seconds between two attempts; the wait doubles until then",
            "range": Range(0.001, 86400),
        },
    )
    wait: bool = field(default=False, metadata={"help": "wait for a camera or stream that is not available at the start"})
    live: bool = field(default=False, metadata={"help": "play a video file or the demo at its own speed, as a camera would"})
    loop: bool = field(default=False, metadata={"help": "start a video file or the demo again at its end"})

    def __post_init__(self) -> None:
        check_settings(self, "source")
        if (self.width is None) != (self.height is None):
            raise UsageError("a size needs both width and height: give the other one too.")
        if self.backoff_max < self.backoff_min:
            raise UsageError("source.backoff_max is less than source.backoff_min: make it at least as large.")
        if self.fourcc is not None and not (len(self.fourcc) == 4 and self.fourcc.isascii()):
            raise UsageError(f"{self.fourcc!r} is not a pixel format: give its four letters, as in MJPG or YUYV.")

    @property
    def address(self) -> str:
        """The address of the source: `uri`, the first line of `uri_file`, or `camera`.

        Raises:
            UsageError: None or several of them are set, or the file cannot be read.
        """
        given = [value for value in (self.uri, self.uri_file, self.camera) if value is not None]
        if len(given) != 1:
            raise UsageError("give exactly one source: --camera 0, --source FILE or --source demo (see edge-run --help).")
        address = str(given[0]) if self.uri_file is None else _first_line(self.uri_file)
        if not address.strip():
            raise UsageError("the source address is empty: give one, as in --camera 0 or --source demo.")
        return address

    @property
    def frozen_limit(self) -> float:
        """Seconds for which the picture may stay unchanged; 0 for no limit."""
        return self.stall_timeout if self.frozen_timeout is None else self.frozen_timeout


def _first_line(file: Path) -> str:
    path = file.expanduser()
    try:
        line = read_regular(path, MAX_SECRET_BYTES).split(b"\n", 1)[0].decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path} cannot be read ({reason}): write the source address into its first line.") from error
    if not line or len(line) > _LONGEST:
        raise UsageError(f"{path} contains no address: write it into the first line, as in rtsp://NAME:PASSWORD@camera/1.")
    return line
