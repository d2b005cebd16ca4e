"""The commands edge-run, edge-doctor and edge-app."""
