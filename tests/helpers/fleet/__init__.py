"""The server of a fleet in tests: rows of its database, and its API over a socket."""
