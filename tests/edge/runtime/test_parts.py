"""The three parts of the loop by themselves: frames, events out, closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from maskedge import Face, Frame, MaskDetector
from maskedge.alerts.actions import Actions
from maskedge.alerts.engine import AlertEngine
from maskedge.alerts.registry import rule_class
from maskedge.errors import OutputError
from maskedge.events import ALERT, HEALTH, SOURCE_LOST, Event
from maskedge.results import FrameResult
from maskedge.runtime.context import RunContext
from maskedge.runtime.event_log import describe_event
from maskedge.runtime.event_publisher import EventPublisher
from maskedge.runtime.frame_processor import FrameProcessor
from maskedge.runtime.shutdown import close_run
from maskedge.runtime.state import RunState
from maskedge.sinks.base import Sink
from maskedge.sources import DemoSource
from maskedge.support.timing import StageClock
from maskedge.zones import Zones

PERSONAL = {"box", "track", "tracks"}


class Keeper(Sink):
    name = "keeper"

    def __init__(self) -> None:
        self.results: list[FrameResult] = []
        self.events: list[Event] = []
        self.threads: list[threading.Thread] = []

    def write(self, result: FrameResult) -> bool:
        self.results.append(result)
        return len(self.results) < 3

    def handle_event(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.threads.append(threading.current_thread())


class LiveDemo(DemoSource):
    def __init__(self) -> None:
        super().__init__()
        self.live = True


def result(second: float, *events: Event) -> FrameResult:
    face = Face((10, 10, 20, 20), "without_mask", 0.9, "without_mask", 0.9, track=7)
    frame = Frame(np.zeros((40, 60, 3), np.uint8), int(second), 1e9 + second, second, "demo", second)
    return FrameResult(frame, [face], {"total": 1.0}, events=events)


@pytest.fixture
def source() -> Iterator[DemoSource]:
    opened = LiveDemo()
    yield opened
    opened.close()


def test_frames_become_results_and_counts() -> None:
    source, detector, state = DemoSource(), MaskDetector(), RunState("demo", labels=("with_mask", "without_mask"))
    detector.start_tracking()
    context = RunContext(zones=Zones.parse(["all=0,0 1,0 1,1 0,1"]), anonymize=True)
    processor = FrameProcessor(source, detector, context, state)
    results = [processor.process(frame) for frame, _ in zip(source.frames(), range(40), strict=False)]
    last = results[-1]
    assert last.located
    assert last.hidden, "every face is hidden"
    assert last.film_s == pytest.approx(last.frame.moment)
    assert processor.summary.frames == 40
    assert sum(processor.summary.faces.values()) == sum(len(one.faces) for one in results)
    snapshot = state.snapshot()
    assert snapshot["counters"]["processed"] == 40
    assert sum(snapshot["zones"]["all"].values()) == sum(snapshot["faces"].values()) == len(last.faces)
    assert sum(snapshot["people"].values()) == sum(processor.people().values()) > 0


def test_nothing_leaves_the_publisher_with_a_position_or_an_identity(source: DemoSource) -> None:
    keeper, state = Keeper(), RunState("demo")
    rule = rule_class()(name="bare", when="person_without_mask", seconds=1.0)
    context = RunContext(alerts=AlertEngine([rule], Zones(), "demo"), actions=Actions([rule], "demo"), stats_only=True, state=state)
    publisher = EventPublisher(source, [keeper], context, state, StageClock())
    appeared = Event("face_appeared", 1e9, "demo", {"track": 7, "label": "without_mask"})
    for second in range(3):
        publisher.publish_result(result(second, appeared))
    context.event_queue.put(Event("output_back", 1e9, "demo", {"output": "events", "box": [1, 2, 3, 4]}))
    publisher.tick(waiting=False)
    events = [event for one in keeper.results for event in one.events] + keeper.events
    assert {"face_appeared", "output_back", ALERT} <= {event.kind for event in events}
    assert not any(PERSONAL & event.details.keys() for event in events)
    assert all(one.located == [] and len(one.faces) == 1 for one in keeper.results)
    (alert,) = state.snapshot()["alerts"]
    assert not PERSONAL & alert["details"].keys()
    context.actions.close()


def test_everything_that_is_published_names_camera_and_device(source: DemoSource) -> None:
    keeper, state = Keeper(), RunState("demo")
    rule = rule_class()(name="bare", when="person_without_mask", seconds=1.0)
    context = RunContext(alerts=AlertEngine([rule], Zones(), "demo"), state=state, camera="door", device="pi")
    publisher = EventPublisher(source, [keeper], context, state, StageClock())
    for second in range(3):
        publisher.publish_result(result(second, Event("face_appeared", 1e9, "demo", {"track": 7, "label": "without_mask"})))
    context.event_queue.put(Event("output_back", 1e9, "demo", {"output": "events"}))
    publisher.tick(waiting=False)
    publisher.publish_event(Event(SOURCE_LOST, 1e9, "demo", {"error": "the cable."}))
    events = [event for one in keeper.results for event in one.events] + keeper.events
    assert {"face_appeared", "output_back", ALERT, SOURCE_LOST} <= {event.kind for event in events}
    assert {(event.to_json()["camera"], event.to_json()["device"]) for event in events} == {("door", "pi")}
    assert {(one.camera, one.device) for one in keeper.results} == {("door", "pi")}


def test_the_publisher_passes_on_what_sinks_ask_for(source: DemoSource) -> None:
    keeper, state = Keeper(), RunState("demo")
    publisher = EventPublisher(source, [keeper], RunContext(), state, StageClock())
    assert publisher.show_still("no picture"), "nothing to show yet"
    assert [publisher.publish_result(result(second)) for second in range(3)] == [True, True, False]
    publisher.publish_event(Event(SOURCE_LOST, 1e9, "demo", {"error": "the cable."}))
    assert [event.kind for event in keeper.events] == [SOURCE_LOST]
    assert state.snapshot()["sinks"]["keeper"] == {"written": 3, "dropped": 0, "state": "ok", "error": None}


class Monitor(Keeper):
    name = "monitor"
    queue_capacity = None

    def __init__(self) -> None:
        super().__init__()
        self.banners: list[str | None] = []

    def still(self, result: FrameResult) -> bool:
        self.banners.append(result.overlay.banner)
        if len(self.banners) == 3:
            raise RuntimeError("the display is gone")
        return True


def test_a_still_picture_has_a_banner_and_a_failure_of_it_ends_nothing(source: DemoSource) -> None:
    monitor, keeper, state = Monitor(), Keeper(), RunState("demo")
    context = RunContext()
    publisher = EventPublisher(source, [monitor, keeper], context, state, StageClock())
    publisher.publish_result(result(0))
    assert [publisher.show_still(banner) for banner in ("", "no picture since noon", "later", "later")] == [True] * 4
    assert monitor.banners[1:] == ["no picture since noon"] * 2
    assert context.event_queue.get().details["output"] == "monitor"
    assert publisher.publish_result(result(1))
    assert len(keeper.results) == 2
    assert len(monitor.results) == 1


def test_still_pictures_need_an_output_without_a_queue() -> None:
    with pytest.raises(TypeError, match="queue_capacity"):
        type("Queued", (Monitor,), {"queue_capacity": 8})


class Stuck(Keeper):
    name = "stuck"

    def close(self) -> None:
        time.sleep(30)


class Failing(Keeper):
    name = "failing"

    def close(self) -> None:
        raise OutputError("it is full.")


class OnMainThread(Keeper):
    queue_capacity = None
    main_thread = True


def test_closing_is_bounded_and_complete(source: DemoSource) -> None:
    keeper, window = Keeper(), OnMainThread()
    started = time.monotonic()
    failures = close_run(source, [Stuck(), Failing(), keeper, window], seconds=0.3)
    assert time.monotonic() - started < 25
    assert [str(failure) for failure in failures] == ["it is full."]
    assert keeper.threads != [threading.current_thread()]
    assert window.threads == [threading.current_thread()]


def test_everything_is_closed_though_no_further_thread_can_be_started(source: DemoSource, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper()

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert [str(failure) for failure in close_run(source, [Failing(), keeper])] == ["it is full."]
    assert keeper.threads == [threading.current_thread()]


def test_outputs_of_a_file_are_closed_by_the_loop_itself() -> None:
    keeper = Keeper()
    assert close_run(DemoSource(), [keeper]) == []
    assert keeper.threads == [threading.current_thread()]


def test_a_host_without_a_temperature_is_not_none_degrees_warm() -> None:
    health = Event(HEALTH, 0.0, "0", {"temperature_c": None, "temperature_band": None, "throttled": ["under_voltage"]})
    assert describe_event(health) == "health: under_voltage"
    warm = Event(HEALTH, 0.0, "0", {"temperature_c": 71.0, "temperature_band": "warm", "throttled": []})
    assert describe_event(warm) == "health: 71.0 degrees Celsius (warm), not throttled"
