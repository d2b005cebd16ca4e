"""Reports of a training run: figures, charts, previews."""
