"""Alerts: rules, their conditions, and the actions that follow (docs/alerts.md)."""
