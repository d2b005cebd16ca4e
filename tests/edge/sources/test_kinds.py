"""A new kind of source needs one declaration."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from maskedge import UsageError, open_source, sources
from maskedge.sources import BaseSource, LiveKind, LiveSource, RecordedKind, SourceConfig, is_live
from maskedge.sources.address import has_scheme
from maskedge.sources.base import stamp
from maskedge.sources.devices.capture import Opener
from maskedge.types import Frame, Image


class NoiseDevice:
    """A camera that shows noise."""

    fps, finite, skipped, damaged = 30.0, False, 0, 0

    def __init__(self, seed: int) -> None:
        self.warnings: list[str] = []
        self._random = np.random.default_rng(seed)

    def read(self) -> Image:
        return self._random.integers(0, 256, (48, 64, 3), np.uint8)

    def close(self) -> None:
        pass


def noise_opener(uri: str, config: SourceConfig) -> Opener:
    return partial(NoiseDevice, int(uri.removeprefix("noise://")))


class GreySource(BaseSource):
    """Three grey frames."""

    def __init__(self) -> None:
        super().__init__("grey", video=True, length=3)

    def frames(self) -> Iterator[Frame]:
        for index in range(3):
            self.captured += 1
            yield stamp(np.full((48, 64, 3), 128, np.uint8), index, self.name, index / self.fps)


def test_a_live_kind_is_declared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = LiveKind(("noise://",), lambda uri, config: has_scheme(uri, "noise"), noise_opener)
    monkeypatch.setattr(sources, "LIVE_KINDS", (*sources.LIVE_KINDS, noise))
    assert is_live(SourceConfig(uri="noise://7"))
    source = open_source("noise://7")
    assert isinstance(source, LiveSource)
    assert next(source.frames()).image.shape == (48, 64, 3)
    source.close()
    with pytest.raises(UsageError, match=r"has an unknown scheme: use .*, noise://"):
        open_source("silence://7")


def test_a_recorded_kind_is_declared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = RecordedKind(lambda uri: uri == "grey", lambda uri: GreySource())
    monkeypatch.setattr(sources, "RECORDED_KINDS", (grey, *sources.RECORDED_KINDS))
    assert len(list(open_source("grey").frames())) == 3
    looped = open_source(SourceConfig(uri="grey", loop=True)).frames()
    assert [next(looped).index for _ in range(7)] == list(range(7))
    assert len(list(open_source(SourceConfig(uri="grey", live=True)).frames())) >= 1
