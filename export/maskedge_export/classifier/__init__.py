"""Classifiers: graph, parity check, quantisation, and adoption of third-party files."""
