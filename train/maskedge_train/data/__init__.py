"""Training data: pictures and labels, duplicates, splits without leaks, crops, negatives."""
