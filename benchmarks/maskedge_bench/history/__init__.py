"""Benchmark of the history: size of the file, time of queries, CPU time of counting."""
