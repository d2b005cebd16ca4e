"""A run of `edge-run`: parts, loop, state and summary."""
