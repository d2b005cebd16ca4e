"""Devices of live sources: cameras and network streams."""
