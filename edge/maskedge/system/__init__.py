"""The host: its facts and its health, rate limits, and the link to systemd."""
