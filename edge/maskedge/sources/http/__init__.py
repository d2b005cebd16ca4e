"""Cameras that speak HTTP."""
