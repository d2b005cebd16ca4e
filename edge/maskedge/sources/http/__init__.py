"""Cameras that are read over HTTP."""
