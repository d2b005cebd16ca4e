"""Alerts: rules with conditions, and the actions that follow when a condition is met (docs/alerts.md)."""
