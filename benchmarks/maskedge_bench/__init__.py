"""Benchmarks: what a frame costs, beside the original pipeline, in the same run."""
