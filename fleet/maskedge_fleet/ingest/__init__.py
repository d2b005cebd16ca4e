"""Subscribes to the broker and writes messages of devices to the database."""
