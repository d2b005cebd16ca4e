"""Code that the trainings of the classifier and the detector share."""
