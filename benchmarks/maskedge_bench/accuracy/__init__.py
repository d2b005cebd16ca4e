"""Accuracy on whole pictures and over time."""
