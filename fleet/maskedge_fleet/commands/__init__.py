"""Signed commands to devices, and their answers."""
