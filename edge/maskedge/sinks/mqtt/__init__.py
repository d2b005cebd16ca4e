"""The MQTT output: topics, connection, spool on disk, Home Assistant discovery."""
