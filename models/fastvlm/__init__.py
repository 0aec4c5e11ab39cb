"""FastVLM (arXiv 2412.13303): FastViTHD → projector → a causal language model."""
