"""Staged roll-outs of models."""
