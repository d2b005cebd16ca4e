"""Helpers that several tests share: brokers, streams, servers, models."""
