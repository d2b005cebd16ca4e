"""Cameras read over HTTP."""
