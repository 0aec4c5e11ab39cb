"""Task-oriented knowledge transfer to a small tower (arXiv 2311.18237)."""
