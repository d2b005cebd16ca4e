"""Detectors: graph with non-maximum suppression, parity check, export."""
