"""Helpers that know nothing of masks: files, text, logs, timing, threads."""
