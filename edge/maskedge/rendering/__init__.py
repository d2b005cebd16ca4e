"""Everything drawn for people to read: overlays, colours, HTML pages."""
