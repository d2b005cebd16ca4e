"""The actions that publish an alert through outputs of the run: `event` and `mqtt`."""

from __future__ import annotations

from collections.abc import Sequence

from maskedge.events import ALERT, Event
from maskedge.results import FrameResult
from maskedge.sinks.mqtt.sink import MqttSink

from .action import Action, ActionContext
from .rules import AlertRule


class EventAction(Action):
    """Publishes the alert as an event."""

    name = "event"

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Return the event for the outputs."""
        return [event]


class MqttAction(Action):
    """Publishes the state of an alert over MQTT, on a topic of its rule."""

    name = "mqtt"

    def __init__(self, rules: Sequence[AlertRule], context: ActionContext) -> None:
        super().__init__(rules, context)
        self._sink: MqttSink = context.sink("mqtt", "url", self.name, rules[0])

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Publish `ON` or `OFF`."""
        self._sink.set_alert(rule.name, on=event.kind == ALERT)
        return []
