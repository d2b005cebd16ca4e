"""The MQTT output: topics, the connection to the broker, the spool on disk, Home Assistant discovery."""
