"""A simulated device: simulated people, published through the MQTT output of a real device."""

from __future__ import annotations

import time
from collections import Counter
from hashlib import sha256
from typing import Any

import numpy as np

from maskedge.errors import OutputError
from maskedge.events import UNNAMED
from maskedge.modelfile.signature import load_public_keys
from maskedge.remote.control import RemoteControl
from maskedge.results import FrameResult
from maskedge.sinks.mqtt.fleet import FleetMode
from maskedge.sinks.mqtt.sink import MqttConfig, MqttSink
from maskedge.support.text import utc
from maskedge.system.state_folder import instance_id
from maskedge.types import Frame
from maskedge.version import VERSION

from .control import COMMANDS, SimulatedView, open_control
from .plan import Plan
from .scene import LABELS, LINE, RULE, ZONE, Scene

_IMAGE = np.full((120, 160, 3), 127, np.uint8)
_FRAMES_PER_SECOND = 10.0
_MASKED = (0.35, 0.97)
"""Range of the shares of masked people, by site."""


class SimulatedDevice:
    """A device with one camera, people in front of it, and a real `MqttSink`.

    Args:
        plan: The simulation.
        index: Number of the device, from 0.

    Attributes:
        name: Name of the device.
        handed: Number of events that the output has taken, by kind.
        people: New people that the output has taken, by label.
        refused: Number of steps that the output has refused because its spool was full.

    Raises:
        UsageError: The address of the broker is invalid.
        OutputError: The spool cannot be opened.
    """

    def __init__(self, plan: Plan, index: int) -> None:
        self.name = plan.name_of(index)
        self.handed: Counter[str] = Counter()
        self.people: Counter[str] = Counter()
        self.refused = 0
        share = int(sha256(plan.site_of(index).encode()).hexdigest(), 16) % 1000 / 1000
        masked = _MASKED[0] + (_MASKED[1] - _MASKED[0]) * share
        self._scene = Scene(self.name, plan.events_per_s / plan.devices, masked, f"{plan.seed}/{index}")
        self._started, self._started_at = time.monotonic(), time.time()
        self._frames = 0
        self._moment = self._scene.step(self._started_at)
        self._is_open, self._since = True, self._started_at
        self._copy_lines()
        self._models: dict[str, dict[str, Any]] = {
            kind: {"name": f"{name}.onnx", "sha256": sha256(name.encode()).hexdigest(), "release": 1}
            for kind, name in (("model", "edgenet"), ("detector_model", "edgeface"))
        }
        self._models["model"]["labels"] = list(LABELS)
        folder = plan.folder / self.name
        config = MqttConfig(
            url=plan.broker,
            topic=f"{plan.root}/{self.name}",
            username=plan.username,
            password=plan.password,
            ca_file=plan.ca_file,
            interval=plan.interval,
            spool=folder,
        )
        self.sink = MqttSink(
            config,
            source="simulated",
            snapshot=self._snapshot,
            labels=LABELS,
            alerts=(RULE,),
            zones=(ZONE,),
            lines=(LINE,),
            device=self.name,
            fleet=FleetMode(instance_id(folder), COMMANDS if plan.command_key else ()),
        )
        self._view = SimulatedView()
        self._control: RemoteControl | None = None
        if plan.command_key:
            self._control = open_control(config, self.name, folder, self._view, load_public_keys((plan.command_key,)))

    def step(self) -> None:
        """Publish the people and events since the last step."""
        now = time.time()
        moment = self._scene.step(now)
        if moment.is_open != self._is_open:
            self._is_open, self._since = moment.is_open, now
        try:
            if moment.is_open:
                self._frames = round(_FRAMES_PER_SECOND * (time.monotonic() - self._started))
                arrival = time.perf_counter()
                frame = Frame(_IMAGE, self._frames, now, arrival, "simulated", arrival)
                result = FrameResult(
                    frame,
                    moment.faces,
                    {},
                    events=moment.events,
                    zones=moment.zones,
                    people=moment.people,
                    device=self.name,
                )
                self.sink.write(result)
                self._view.newest = result
            else:
                for event in moment.events:
                    self.sink.handle_event(event)
        except OutputError:
            self.refused += 1
            return
        self._moment = moment
        self._copy_lines()
        self.handed.update(event.kind for event in moment.events)
        self.people.update(moment.people.get("", {}))

    def close(self) -> None:
        """Add the last statistics, and disconnect."""
        if self._control is not None:
            self._control.close()
        self.sink.close()

    def _copy_lines(self) -> None:
        """Copy the counts of the lines, because another thread reads them."""
        self._lines = {
            line: {direction: dict(counts) for direction, counts in directions.items()}
            for line, directions in self._scene.lines.items()
        }

    def _snapshot(self) -> dict[str, Any]:
        """Return the state of the run (docs/contracts.md). It is called on the thread of the output."""
        scene, moment = self._scene, self._moment
        faces = Counter(dict.fromkeys(LABELS, 0))
        faces.update(face.label for face in moment.faces)
        state = "open" if self._is_open else "lost"
        return {
            "version": VERSION,
            "camera": UNNAMED,
            "device": self.name,
            "source": {"name": "simulated", "state": state, "since": utc(self._since), "retries": 0, "size": [640, 480]},
            "started": utc(self._started_at),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "counters": {
                "captured": self._frames,
                "dropped": 0,
                "skipped": 0,
                "processed": self._frames,
                "reconnects": scene.reconnects,
            },
            "rate": {"frames_per_second": _FRAMES_PER_SECOND if self._is_open else 0.0, "latency_ms": {}},
            "faces": dict(faces),
            "people": dict(scene.totals),
            "zones": moment.zones,
            "lines": self._lines,
            "alerts": [{"rule": RULE, "since": utc(scene.alert)}] if scene.alert is not None else [],
            "health": {
                "temperature_c": round(scene.temperature_c, 1),
                "temperature_band": "warm",
                "throttled": False,
                "memory_mb": 120.0,
                "load": 0.4,
            },
            **self._models,
        }
