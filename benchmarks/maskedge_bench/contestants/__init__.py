"""The pipelines and packages that benchmarks compare."""
