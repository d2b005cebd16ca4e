"""A server with the page of a fleet, over a filled database."""
