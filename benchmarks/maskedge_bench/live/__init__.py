"""Live measurement: a paced source with real threads, and the age of each frame at its result."""
