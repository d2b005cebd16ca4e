"""Recorded sources: video files, animations and pictures."""
