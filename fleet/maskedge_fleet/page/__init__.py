"""The page of the fleet: HTML, style and scripts."""
