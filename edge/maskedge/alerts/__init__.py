"""Alerts: rules with conditions and actions (docs/alerts.md)."""
