"""The host: facts about it, its health, rate limits, and the integration with systemd."""
