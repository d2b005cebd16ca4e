"""The face detector: network, samples, loss, training and evaluation."""
