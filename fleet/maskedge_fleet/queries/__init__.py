"""Queries of the database, for the API, alerts and roll-outs."""
