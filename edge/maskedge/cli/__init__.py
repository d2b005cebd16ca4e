"""The commands of the device: edge-run, edge-doctor."""
