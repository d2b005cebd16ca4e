"""Training of a tiny one-stage face detector for masked, unmasked and badly masked faces."""
