"""Tracks: one identity a face over many frames, the label vote, and the events that follow from both."""
