"""Cold start of `edge-run`, and the start of each pipeline in a process of its own."""
