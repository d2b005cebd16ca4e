"""The server of a fleet of devices: it collects what they publish, and updates them."""
