"""MobileCLIP (arXiv 2311.17049) and MobileCLIP2 (arXiv 2508.20691)."""
