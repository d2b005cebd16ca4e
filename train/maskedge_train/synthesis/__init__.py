"""Training pictures made from labelled ones: faces turned aside, bent down, or covered at the eyes and the forehead."""
