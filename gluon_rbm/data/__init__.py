"""Data sets, downloads, image files, batches and transforms."""
