"""Training data: pictures, labels, audit, near-duplicates, leak-free splits, crops, negatives."""
