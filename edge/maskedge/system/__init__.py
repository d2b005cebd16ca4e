"""The host: its facts, its health, rate limits, and the integration with systemd."""
