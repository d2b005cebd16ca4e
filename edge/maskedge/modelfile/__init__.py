"""Model files: their contract, their checks before anything runs, the crop rule and the model card."""
