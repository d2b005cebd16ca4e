"""Requests over HTTP with limits that the standard library lacks."""
