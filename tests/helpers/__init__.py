"""What tests share: brokers, streams, servers, models."""
