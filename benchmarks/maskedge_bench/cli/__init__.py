"""`edge-bench`: the commands of the benchmarks."""
