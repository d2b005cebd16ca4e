"""General helpers: files, text, logs, timing and threads."""
