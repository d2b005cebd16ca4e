"""The MQTT output.

- `sink`: `MqttSink`, the output and its section `[mqtt]`.
- `connection`: `BrokerLink`, the connection to the broker.
- `spool`: `Spool`, a queue on disk for events that wait for the broker.
- `homeassistant`: discovery messages for Home Assistant.
- `topics`: names of the topics.
"""
