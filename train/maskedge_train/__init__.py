"""Training of maskedge's models (workstation only)."""
