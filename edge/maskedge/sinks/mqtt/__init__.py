"""The MQTT sink: topics, the broker connection, the spool on disk, Home Assistant's discovery."""
