"""Code that tests share: brokers, streams, servers, models."""
