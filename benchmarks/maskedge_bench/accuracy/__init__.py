"""Accuracy on labelled pictures and over time in videos."""
