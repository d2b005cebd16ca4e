"""Speed, latency, start-up time and memory."""
