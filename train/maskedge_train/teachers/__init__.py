"""Teachers: larger networks, and the targets that a small network learns from them."""
