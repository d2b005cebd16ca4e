"""Helpers without knowledge of masks: files, text, logs, timing, threads."""
