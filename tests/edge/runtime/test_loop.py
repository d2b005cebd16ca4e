"""The loop by itself: what it hides, whom it tells, and what survives."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator

import numpy as np
import pytest

from maskedge import MaskDetector
from maskedge.alerts.engine import AlertEngine
from maskedge.alerts.rules import AlertRule
from maskedge.errors import OutputError
from maskedge.events import OUTPUT_LOST, SOURCE_BACK, SOURCE_LOST, Event
from maskedge.rendering.draw import pixelate
from maskedge.results import FrameResult
from maskedge.runtime.context import RunContext
from maskedge.runtime.loop import run
from maskedge.runtime.state import RunState
from maskedge.sinks.base import Sink
from maskedge.sinks.events import to_event
from maskedge.sources import DemoSource, demo
from maskedge.sources.base import LOST, OPEN
from maskedge.types import Frame, Image
from maskedge.zones import Zones


class Keeper(Sink):
    """Keeps what it is given."""

    name = "keeper"
    queue_capacity = None

    def __init__(self, *, broken: bool = False) -> None:
        self.results: list[FrameResult] = []
        self.events: list[Event] = []
        self.stills: list[Image] = []
        self.broken = broken
        self.closed = False
        self.state: RunState | None = None
        self.counters: list[dict[str, int]] = []

    def write(self, result: FrameResult) -> bool:
        if self.broken:
            raise OutputError("it is broken.")
        if self.state is not None:
            self.counters.append(self.state.snapshot()["counters"])
        self.results.append(result)
        return True

    def handle_event(self, event: Event) -> None:
        self.events.append(event)

    def still(self, result: FrameResult) -> bool:
        self.stills.append(result.picture)
        return True

    def close(self) -> None:
        self.closed = True


class Interrupted(DemoSource):
    """The built-in clip as a live source that is lost once and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.live = True

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            if frame.index == 40:
                self.state = LOST
                self.on_state(LOST, "the cable.", 0)
                for _ in range(5):
                    time.sleep(0.05)
                    self.on_wait()
                self.state = OPEN
                self.reconnects += 1
                self.on_state(OPEN, "", 0)
            yield frame


@pytest.fixture(scope="module")
def detector() -> MaskDetector:
    return MaskDetector()


def start(detector: MaskDetector) -> MaskDetector:
    detector.start_tracking()
    detector.clock.reset()
    return detector


def test_no_face_leaves_the_program(detector: MaskDetector) -> None:
    keeper = Keeper()
    zones = Zones.parse(["corner=0,0 0.05,0 0,0.05"])
    context = RunContext(anonymize=True, zones=zones)
    run(DemoSource(), start(detector), [keeper], max_frames=150, context=context)
    last = keeper.results[-1]
    assert last.faces == [], "they do not count"
    hidden = last.hidden
    assert hidden is not None
    assert len(hidden) >= 3, "and are hidden all the same"
    assert (last.plain == pixelate(last.frame.image, hidden)).all()
    for x1, y1, x2, y2 in hidden:
        x, y = round((x1 + x2) / 2), round((y1 + y2) / 2)
        for picture in (last.plain, last.with_banner("no camera").plain):
            part = picture[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3)
            assert len(np.unique(part, axis=0)) <= 4, "squares alone"
    assert (last.frame.image == demo.draw(last.frame.index)).all(), "the frame itself is left as it is"


@pytest.mark.slow
def test_a_face_that_is_missed_for_a_moment_stays_hidden(detector: MaskDetector) -> None:
    keeper = Keeper()
    run(DemoSource(), start(detector), [keeper], context=RunContext(anonymize=True))
    # Each live face twice, as a face and as a track: what is more is waited for.
    assert any(len(result.hidden or ()) > 2 * len(result.faces) for result in keeper.results)


def test_statistics_contain_neither_positions_nor_identities(detector: MaskDetector) -> None:
    keeper, state = Keeper(), RunState("demo")
    rule = AlertRule(name="bare", when="person_without_mask", seconds=0.5)
    engine = AlertEngine([rule], Zones(), "demo", live=False)
    context = RunContext(stats_only=True, alerts=engine, state=state)
    run(DemoSource(), start(detector), [keeper], max_frames=90, context=context)
    events = [event for result in keeper.results for event in result.events]
    assert {"face_appeared", "alert"} <= {event.kind for event in events}
    assert not any({"track", "tracks", "box"} & event.details.keys() for event in events)
    (alert,) = state.snapshot()["alerts"]
    assert "tracks" not in alert["details"]


class Slowed(DemoSource):
    """The built-in clip as a file of a few frames a second."""

    def frames(self) -> Iterator[Frame]:
        return (frame for frame in super().frames() if frame.index % 10 == 0)


def test_times_of_a_video_file_are_those_of_its_frames(detector: MaskDetector) -> None:
    """However long the work takes, and however many frames a second there are."""
    keeper = Keeper()
    engine = AlertEngine([AlertRule(name="bare", when="person_without_mask", seconds=2)], Zones(), "demo", live=False)
    run(Slowed(), start(detector), [keeper], context=RunContext(alerts=engine))
    assert [result.film_s for result in keeper.results] == [pytest.approx(number / 3) for number in range(30)]
    events = [(result, event) for result in keeper.results for event in result.events]
    assert all(event.film_s == result.film_s for result, event in events)
    (alert, *_) = [event for _, event in events if event.kind == "alert"]
    assert 2 <= (alert.film_s or 0) <= 3
    assert alert.details["longest_s"] == pytest.approx(2, abs=0.4)
    assert to_event(keeper.results[9])["film_s"] == 3


def test_frames_of_a_camera_have_no_time_in_a_video(detector: MaskDetector) -> None:
    keeper = Keeper()
    run(Interrupted(), start(detector), [keeper], max_frames=45)
    assert all(result.film_s is None and "film_s" not in to_event(result) for result in keeper.results)
    assert all(event.film_s is None for result in keeper.results for event in result.events)


def test_loss_and_return_of_the_source_are_published_and_shown(detector: MaskDetector) -> None:
    keeper = Keeper()
    ended = run(Interrupted(), start(detector), [keeper], max_frames=60)
    assert [event.kind for event in keeper.events] == [SOURCE_LOST, SOURCE_BACK]
    assert keeper.events[0].details["error"] == "the cable."
    assert ended.summary.reconnects == 1
    assert keeper.stills, "the last picture stands"
    assert (keeper.stills[-1][2, 5] != keeper.results[-1].picture[2, 5]).any(), "with a banner across"
    assert keeper.results[-1].overlay.banner == "", "which goes with the next frame"
    assert keeper.closed


def test_a_live_loop_goes_on_without_a_broken_sink(detector: MaskDetector) -> None:
    broken, keeper, state = Keeper(broken=True), Keeper(), RunState("demo")
    broken.name = "broken"
    keeper.state = state
    ended = run(Interrupted(), start(detector), [broken, keeper], max_frames=50, context=RunContext(state=state))
    assert ended.failure is None
    assert len(keeper.results) == 50
    assert [counters["processed"] for counters in keeper.counters] == list(range(1, 51))
    assert all(counters["captured"] >= counters["processed"] for counters in keeper.counters)
    assert [event.details["output"] for event in keeper.events if event.kind == OUTPUT_LOST] == ["broken"]
    assert state.snapshot()["sinks"]["broken"]["state"] == "lost"
    assert broken.closed


def test_a_file_ends_with_a_broken_sink(detector: MaskDetector) -> None:
    keeper = Keeper()
    ended = run(DemoSource(), start(detector), [Keeper(broken=True), keeper], max_frames=50)
    assert isinstance(ended.failure, OutputError)
    assert keeper.results == []
    assert keeper.closed


def test_events_of_other_threads_reach_every_sink(detector: MaskDetector) -> None:
    event_queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
    event_queue.put(Event("health", 1.0, "demo", {"temperature_c": 82.0, "temperature_band": "hot", "throttled": ["throttled"]}))
    keeper = Keeper()
    run(DemoSource(), start(detector), [keeper], max_frames=5, context=RunContext(event_queue=event_queue))
    assert [event.kind for event in keeper.events] == ["health"]
