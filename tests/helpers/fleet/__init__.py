"""Helpers of the tests of the fleet."""
