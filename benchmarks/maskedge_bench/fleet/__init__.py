"""Benchmark of the fleet: broker, database, ingest and simulated devices on this machine."""
