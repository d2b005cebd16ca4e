"""The mask classifier: networks, training, calibration and evaluation."""
