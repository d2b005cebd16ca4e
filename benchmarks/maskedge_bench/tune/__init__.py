"""`edge-bench tune`: the fastest settings of the bundled models on this machine."""
