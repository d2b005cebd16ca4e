"""Simulated devices that publish through the output of a real device."""
