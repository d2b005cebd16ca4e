"""int8 files: quantisation, the rewritten first convolution, and the gates of exported models."""
