"""Recorded augmentation: drawn once, replayed at any size."""
