"""Cameras and network streams: what a live source reads from."""
