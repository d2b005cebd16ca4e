"""Declaration of a kind of source: the URIs of the kind, and the function that opens one.

Each kind is declared in the module that implements it, and listed in `LIVE_KINDS` or
`RECORDED_KINDS` of `maskedge.sources`. To add one, write such a module, list the kind, and describe
its URIs in docs/sources.md:

    def _opener(uri: str, config: SourceConfig) -> Opener:
        return partial(NdiDevice, uri, config)

    KIND = LiveKind(("ndi://",), lambda uri, config: has_scheme(uri, "ndi"), _opener)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .base import Source
from .config import SourceConfig
from .devices.capture import Opener


@dataclass(frozen=True, slots=True)
class LiveKind:
    """A kind of camera or stream. Its newest frame is used, and a lost device is opened again.

    Attributes:
        forms: Forms of its URIs, such as `rtsp://`. Messages list them.
        matches: Returns True for a URI of this kind, without opening the device.
        opener: Checks a URI of this kind and returns the function that opens its device. Raises
            `UsageError` for an invalid URI, and `SourceError` if this host cannot read the kind.
    """

    forms: tuple[str, ...]
    matches: Callable[[str, SourceConfig], bool]
    opener: Callable[[str, SourceConfig], Opener]


@dataclass(frozen=True, slots=True)
class RecordedKind:
    """A kind of source that has an end and yields every frame: a file, a folder, the demo clip.

    Attributes:
        matches: Returns True for a path of this kind (or for `demo`). Raises `SourceError` for a
            path that cannot be accessed.
        open: Opens it. Raises `SourceError` when that fails.
        video: True if it can be played live and in a loop.
    """

    matches: Callable[[str], bool]
    open: Callable[[str], Source]
    video: bool = True
