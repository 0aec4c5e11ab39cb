"""Subsets of a data set, chosen from its stored embeddings."""
