"""The history: counts by minute and events in one SQLite file on the device (docs/history.md)."""
