"""Alerts of the fleet, and notifications."""
