"""Addresses with a name and a password: where these end, and how they are masked."""
