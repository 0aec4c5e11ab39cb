"""Training over a sequence of time steps (TiC-CLIP, arXiv 2310.16226)."""
