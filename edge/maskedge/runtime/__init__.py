"""A run of `edge-run`: its parts, its loop, its state and its summary."""
