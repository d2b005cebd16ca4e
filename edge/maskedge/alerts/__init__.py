"""Alerts: rules on what is seen, and the actions that follow."""
